#include "gateways/persistent_queue/service_lease.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "gateways/persistent_queue/identity.hpp"
#include "gateways/persistent_queue/jobs.hpp"
#include "gateways/persistent_queue/rows.hpp"
#include "gateways/persistent_queue/tables.hpp"

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

// ---- One service

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
    // Said before the row is free: who takes it reads it then.
    if (keeper_.epoch() != 0) end_term_cleanly(row.db(), row.name(), row.owner());
    keeper_.release();
  } catch (const std::exception& error) {
    log_.warning("the lease could not be released; it runs out by itself", {{"error", error.what()}});
  }
}

// ---- Several queues

namespace {

std::string database_of(const SqlHandle& db) { return text_of(db.query("SELECT DATABASE()").at(0), 0); }

/// Whether both speak to one server, whatever it is called on the way there: a name that one of them locks is
/// locked for the other.
bool same_database(const SqlHandle& a, const SqlHandle& b) {
  if (a == b) return true;
  if (database_of(a) != database_of(b)) return false;
  const SqlValue name{"tidemill:" + to_string(make_uuid())};
  a.query("SELECT GET_LOCK(?, 0)", {&name, 1});
  const bool same = b.query("SELECT IS_USED_LOCK(?)", {&name, 1}).at(0).at(0).has_value();
  a.query("SELECT RELEASE_LOCK(?)", {&name, 1});
  return same;
}

bool same_lease(const TableOptions& a, const TableOptions& b) {
  return a.lease == b.lease && a.renew_interval == b.renew_interval && a.safety_margin == b.safety_margin &&
         a.contest_interval == b.contest_interval && a.lease_min == b.lease_min;
}

/// Of two queues in one database. Throws Error{invalid}.
void check_together(const TableOptions& a, const TableOptions& b) {
  const auto refuse = [](std::string what) { throw Error{ErrorKind::invalid, std::move(what)}; };
  const bool same_service = a.service_name == b.service_name;
  if (a.job_type == b.job_type && same_service) {
    refuse(fmt::format("job type {} of service \"{}\" is configured twice", a.job_type, a.service_name));
  } else if (a.job_type == b.job_type) {
    refuse(
        fmt::format("job type {} is configured for two services, \"{}\" and \"{}\": each would have a "
                    "leader, and every job would run on both",
                    a.job_type, a.service_name, b.service_name));
  } else if (same_service && !same_lease(a, b)) {
    refuse(
        fmt::format("the queues of service \"{}\" share one lease, so its settings must be the same: they "
                    "differ between job types {} and {}",
                    a.service_name, a.job_type, b.job_type));
  }
}

/// For each queue the first one that has its lease.
std::vector<std::size_t> lease_owners(std::span<const TableOptions> queues) {
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    owners.push_back(i);
    for (std::size_t k = 0; k < i; ++k) {
      const bool same_service = queues[k].service_name == queues[i].service_name;
      if (!same_service && queues[k].job_type != queues[i].job_type) continue;
      if (!same_database(queues[k].db, queues[i].db)) continue;
      check_together(queues[k], queues[i]);
      owners[i] = std::min(owners[i], k);
    }
  }
  return owners;
}

}  // namespace

std::vector<std::shared_ptr<ServiceLease>> share_leases(std::span<const TableOptions> queues) {
  const std::vector<std::size_t> owners = lease_owners(queues);
  for (const TableOptions& each : queues)
    prepare_tables(each.db, each.create_tables, each.create_index, each.log);
  std::vector<std::shared_ptr<ServiceLease>> leases;
  for (std::size_t i = 0; i < queues.size(); ++i)
    leases.push_back(owners[i] == i ? std::make_shared<ServiceLease>(queues[i]) : leases[owners[i]]);
  return leases;
}

}  // namespace tidemill::persistent_queue
