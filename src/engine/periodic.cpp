#include <tidemill/periodic.hpp>

#include <utility>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>

#include "core/schedule_rule.hpp"

namespace tidemill {

struct PeriodicTaskManager::Impl {
  Impl(Store& s, PeriodicTaskManagerOptions o)
      : options(std::move(o)),
        inspector(s),
        scheduler(s, {.source = [this] { return wanted(); },
                      .owner = options.owner,
                      .sync_interval = options.sync_interval,
                      .poll = options.poll,
                      .log = options.log}) {}

  std::vector<Schedule> wanted() const {
    std::vector<Schedule> schedules = options.provider();
    for (Schedule& each : schedules) {
      if (each.id.empty()) each.id = made_id(each);
    }
    return schedules;
  }

  const PeriodicTaskManagerOptions options;
  Inspector inspector;
  Scheduler scheduler;
};

PeriodicTaskManager::PeriodicTaskManager(Store& store, PeriodicTaskManagerOptions options) {
  if (!options.provider) throw Error{ErrorKind::invalid, "periodic tasks: the provider is missing"};
  impl_ = std::make_unique<Impl>(store, std::move(options));
}

PeriodicTaskManager::~PeriodicTaskManager() { stop(); }

void PeriodicTaskManager::start() {
  impl_->inspector.sync_schedules(impl_->options.owner, impl_->wanted());
  impl_->scheduler.start();
}

void PeriodicTaskManager::stop() { impl_->scheduler.stop(); }

std::size_t PeriodicTaskManager::sync() { return impl_->scheduler.sync(); }

}  // namespace tidemill
