#include "gateways/persistent_queue/service_lease.hpp"

#include <utility>

#include "gateways/persistent_queue/identity.hpp"
#include "gateways/persistent_queue/jobs.hpp"

namespace tidemill::persistent_queue {

namespace {

LeaseRow row_of(const TableOptions& options) {
  return {options.lease_db ? options.lease_db : options.db, lock_name(options.service_name),
          make_owner(options.service_name), options.lease};
}

LeaseKeeper::Options keeper_options(const TableOptions& options) {
  return {.length = options.lease,
          .renew = options.renew_interval,
          .margin = options.safety_margin,
          .contest = options.contest_interval,
          .least = options.lease_min,
          .log = options.log};
}

}  // namespace

ServiceLease::ServiceLease(const TableOptions& options)
    : log_(options.log),
      keeper_(
          row_of(options), keeper_options(options),
          [this](const std::optional<LeaseRow::State>& before) { return begin(before); },
          [this] { tell(); }) {}

ServiceLease::~ServiceLease() { release(); }

void ServiceLease::join(const void* who, std::function<void()> told) {
  const std::lock_guard lock{mutex_};
  members_.push_back({who, std::move(told)});
}

void ServiceLease::leave(const void* who) noexcept {
  {
    const std::lock_guard lock{mutex_};
    const bool was_in = std::erase_if(members_, [&](const Member& each) { return each.who == who; }) > 0;
    if (!was_in || !members_.empty()) return;
  }
  release();
}

LeaseKeeper::Term ServiceLease::begin(const std::optional<LeaseRow::State>& before) {
  const LeaseRow& row = keeper_.row();
  bool clean = false;
  const std::string last = before ? before->owner : row.owner();
  const std::uint64_t epoch = begin_term(row.db(), row.name(), row.owner(), last, clean);
  return {.epoch = epoch, .after_loss = !clean && last != row.owner()};
}

void ServiceLease::tell() {
  const std::lock_guard lock{mutex_};
  for (const Member& member : members_) member.told();
}

void ServiceLease::release() noexcept {
  keeper_.stop();
  const LeaseRow& row = keeper_.row();
  try {
    if (keeper_.release()) end_term_cleanly(row.db(), row.name(), row.owner());
  } catch (const std::exception& error) {
    log_.warning("the lease could not be released; it runs out by itself", {{"error", error.what()}});
  }
}

}  // namespace tidemill::persistent_queue
