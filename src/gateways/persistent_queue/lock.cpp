// The lock by itself.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/persistent_queue.hpp>

#include "gateways/persistent_queue/identity.hpp"
#include "gateways/persistent_queue/jobs.hpp"
#include "gateways/persistent_queue/lease_keeper.hpp"
#include "gateways/persistent_queue/tables.hpp"

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

constexpr Duration usual_pause = 5s;
constexpr Duration renew_most = 8s;

/// 5 s of 30 s, so that it counts as lost before a release of Go's, which leaves it 25 s, can end it.
Duration margin_of(const LockConfig& config) {
  return std::min<Duration>(Duration{config.lock_seconds} / 6, 5s);
}

LockConfig checked(LockConfig config) {
  const auto require = [](bool condition, const char* what) {
    if (!condition) throw Error{ErrorKind::invalid, fmt::format("ShedLock: {}", what)};
  };
  require(static_cast<bool>(config.db), "bad session");
  try {
    config.db.ping();
  } catch (const Error& error) {
    throw Error{ErrorKind::invalid, fmt::format("ShedLock: bad session: {}", error.what())};
  }
  require(!config.service_name.empty(), "empty service name");
  require(config.lock_seconds > 1s, "lock second less than 1");
  if (!config.min_lock_seconds)
    config.min_lock_seconds = config.lock_seconds - (config.lock_seconds <= 5s ? 1s : 5s);
  require(*config.min_lock_seconds >= 0s && *config.min_lock_seconds <= config.lock_seconds,
          "min_lock_seconds must be zero or more, and no more than lock_seconds");
  if (!config.renew_interval)
    config.renew_interval = std::min<Duration>(Duration{config.lock_seconds} / 4, renew_most);
  require(*config.renew_interval > Duration::zero() &&
              *config.renew_interval + Duration{1s} + margin_of(config) < Duration{config.lock_seconds},
          "renew_interval must be more than zero, and shorter than the lock by a second and its sixth");
  return config;
}

}  // namespace

struct ShedLock::Impl {
  explicit Impl(LockConfig its)
      : config(checked(std::move(its))),
        keeper(
            LeaseRow{config.db, lock_name(config.service_name), make_owner(config.service_name),
                     config.lock_seconds},
            {.length = config.lock_seconds,
             .renew = *config.renew_interval,
             .margin = margin_of(config),
             .least = *config.min_lock_seconds,
             .log = config.log},
            [this](const std::optional<LeaseRow::State>&) { return LeaseKeeper::Term{.epoch = ++terms}; },
            [] {}) {}

  bool lock_until(Steady end, Duration pause, const std::stop_token& stop) {
    if (pause <= Duration::zero()) pause = usual_pause;
    std::mutex mutex;
    std::condition_variable_any wakes;
    while (!stop.stop_requested() && std::chrono::steady_clock::now() < end) {
      try {
        if (keeper.try_acquire()) return true;
      } catch (const Error& error) {
        config.log.warning("a lock can't be asked for; tries again", {{"error", error.what()}});
      }
      const Steady next = std::min<Steady>(end, std::chrono::steady_clock::now() + pause);
      std::unique_lock waiting{mutex};
      wakes.wait_until(waiting, stop, next, [] { return false; });
    }
    return false;
  }

  const LockConfig config;
  std::atomic<std::uint64_t> terms{0};
  LeaseKeeper keeper;
};

ShedLock::ShedLock(LockConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {
  prepare_lock_table(impl_->config.db);
}

ShedLock::~ShedLock() {
  try {
    unlock();
  } catch (const std::exception& error) {
    impl_->config.log.warning("a lock could not be released; it runs out by itself",
                              {{"error", error.what()}});
  }
}

bool ShedLock::try_lock() { return impl_->keeper.try_acquire(); }

bool ShedLock::lock(Duration pause, std::stop_token stop) {
  return impl_->lock_until(Steady::max(), pause, stop);
}

bool ShedLock::lock_with_timeout(Duration pause, Duration timeout) {
  return impl_->lock_until(std::chrono::steady_clock::now() + timeout, pause, {});
}

std::stop_token ShedLock::extend_failed() const { return impl_->keeper.lost(); }
bool ShedLock::held() const { return impl_->keeper.term().has_value(); }

void ShedLock::unlock(bool close_handle) {
  impl_->keeper.release();
  if (close_handle) impl_->config.db.close();
}

}  // namespace tidemill::persistent_queue
