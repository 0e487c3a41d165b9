#include "gateways/persistent_queue/tables_store.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "gateways/persistent_queue/check.hpp"
#include "gateways/persistent_queue/tables.hpp"

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

constexpr Duration day = std::chrono::hours{24};
constexpr Duration grace_least = 30s;

Steady steady_now() { return std::chrono::steady_clock::now(); }

Capabilities make_capabilities() {
  const auto absent = [](const char* text) { return Limit{true, text}; };
  Capabilities result;
  result.limits = {
      {Feature::list,
       {false,
        "jobs of one queue; at most 100,000 of a state are counted, as there are no counters; no workers, "
        "attempts or statistics, and of a job's error the last one, until a week after its end; only its "
        "payload can be edited, and only a job that runs in this process be stopped"}},
      {Feature::search, {false, "row by row"}},
      {Feature::order,
       {false,
        "claimed by due time, and jobs without one by when they were created; listed by their end, then by "
        "start_time and id; no priorities"}},
      {Feature::delay, {false, "a new job's due time is in whole seconds, and cut off to the next one"}},
      {Feature::unique, absent("async_job_tab has no unique keys; make one of your own in your transaction")},
      {Feature::priority,
       absent("async_job_tab has no priority; what is urgent may have a job type of its own")},
      {Feature::groups, absent("async_job_tab has no groups")},
      {Feature::schedules, absent("PersistentQueue has no schedules; keep them in another store")},
      {Feature::hold, absent("async_job_tab has no state for a job that is held")},
      {Feature::crashes,
       {true,
        "a dead node's jobs run again, and no crash is counted: a job that kills its "
        "node does so again"}},
      {Feature::inside, {false, "in an SqlTransaction, whose connection is the caller's"}},
      {Feature::locks, absent("use persistent_queue::ShedLock for shedlock_tab")},
      {Feature::documents, absent("PersistentQueue's tables hold no documents")},
  };
  result.batch_max = 500;
  result.task_bytes_max = 4 * 4096;
  return result;
}

}  // namespace

std::string queue_name(const TableOptions& options) {
  return fmt::format("{}/{}", options.service_name, options.job_type);
}
std::string kind_name(std::int32_t job_type) { return std::to_string(job_type); }

/// The worker may count on a lease for as long as the lease of the service surely lasts between two renewals.
WorkerLease worker_lease(const TableOptions& options) {
  check(options);
  const Duration surely =
      Duration{options.lease} - Duration{1s} - options.safety_margin - options.renew_interval;
  const Duration hold = surely * 3 / 4;
  return {.lease = hold + hold / 6, .beat = hold / 3, .margin = hold / 6};
}

TablesStore::TablesStore(TableOptions options, std::shared_ptr<ServiceLease> lease)
    : options_(std::move(options)),
      queue_(queue_name(options_)),
      worker_lease_(worker_lease(options_)),
      capabilities_(make_capabilities()),
      indexed_(has_index(options_.db)),
      jobs_(options_.db, options_.job_type, options_.claim_mode),
      catalog_(
          options_, [this](std::uint64_t id, Signal signal) { return tell(id, signal); },
          [this] {
            const std::lock_guard lock{mutex_};
            rung_ = changed_ = true;
            bell_.notify_all();
          }),
      first_look_(jobs_.look()),
      lease_(std::move(lease)) {
  lease_->join(this, [this] {
    {
      const std::lock_guard lock{mutex_};
      rung_ = true;
    }
    bell_.notify_all();
  });
}

TablesStore::~TablesStore() { leave(); }

// ---- Terms

/// Requires looking_. What was known is of another term, and others may have changed it.
void TablesStore::begin_epoch(const LeaseKeeper::Term& term) {
  const Jobs::Look look = jobs_.look();
  Horizon horizon{.since = look.now / 1'000'000, .after_id = look.id_max};
  if (options_.first_pull_days.is_unlimited()) horizon = {};
  if (options_.first_pull_days.is_none()) horizon = {first_look_.now / 1'000'000, first_look_.id_max};
  if (options_.first_pull_days.days() >= 0)
    horizon.since -= options_.first_pull_days.days() * (day / Duration{1s});
  const Duration grace = options_.takeover_grace.value_or(std::max(options_.handler_timeout, grace_least));
  {
    const std::lock_guard lock{mutex_};
    line_.clear();
    epoch_ = term.epoch;
    horizon_ = horizon;
    held_up_to_ = term.after_loss ? look.id_max : 0;
    held_until_ = term.after_loss ? term.began + grace : Steady{};
  }
  if (term.after_loss) {
    options_.log.info("the last holder of the lease did not release it: older jobs wait for what he may run",
                      {{"seconds", std::to_string(grace / Duration{1s})}});
  }
  complete_ = false;
  next_load_ = next_look_ = next_reap_ = {};
}

/// Requires mutex_.
std::uint64_t TablesStore::held_up_to() const { return steady_now() < held_until_ ? held_up_to_ : 0; }

// ---- Time

/// Requires mutex_. The database's time as of its last answer, counted on: never ahead.
std::int64_t TablesStore::estimate() const {
  return clock_offset_ + std::chrono::duration_cast<Duration>(steady_now().time_since_epoch()).count();
}

TimePoint TablesStore::now() { return TimePoint{Duration{jobs_.look().now}}; }

// ---- Producers

namespace {

std::string why_not(const Task& task, std::int32_t job_type, NewJob& job, const Call& call) {
  if (task.kind != kind_name(job_type))
    return fmt::format("the kind is \"{}\"; this queue has jobs of kind \"{}\"", task.kind, job_type);
  const bool plain = task.priority == 0 && task.headers.empty() && !task.deadline && !task.expires_at &&
                     task.retention == Duration::zero();
  if (!plain)
    return "async_job_tab has no column for a priority, headers, a deadline, an expiry or a retention";
  job.job_type = job_type;
  job.params = task.payload;
  std::optional<TimePoint> due = task.run_at;
  if (!due && task.delay > Duration::zero()) due = call.now + task.delay;
  if (due) job.start_time = std::chrono::ceil<std::chrono::seconds>(*due).time_since_epoch().count();
  return fault_of(job);
}

}  // namespace

std::vector<Enqueued> TablesStore::enqueue(std::span<const Task> tasks, const Call& call,
                                           Transaction* inside) {
  const SqlHandle* db = &options_.db;
  if (inside != nullptr) {
    const auto* transaction = dynamic_cast<const SqlTransaction*>(inside);
    if (transaction == nullptr)
      throw Error{ErrorKind::invalid, "the transaction is another store's; this one takes an SqlTransaction"};
    db = &transaction->handle();
  }
  std::vector<Enqueued> answers(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    NewJob job;
    if (std::string why = why_not(tasks[i], options_.job_type, job, call); !why.empty()) {
      answers[i] = {.put = Put::invalid, .why = std::move(why)};
      continue;
    }
    try {
      answers[i].id = std::to_string(insert_job(*db, job));
    } catch (const Error& error) {
      // A repeat could insert it twice: the row has no place for an id of ours.
      const bool doubt = error.kind() == ErrorKind::unknown_outcome;
      answers[i] = {.put = Put::failed,
                    .why = doubt ? fmt::format("it may have been inserted or not: {}", error.what())
                                 : std::string{error.what()}};
    }
  }
  if (inside == nullptr) {
    const std::lock_guard lock{mutex_};
    rung_ = true;
    bell_.notify_all();
  }
  return answers;
}

// ---- Waiting

Wake TablesStore::wait(std::string_view, std::span<const std::string_view> queues, Duration timeout,
                       std::stop_token stop) {
  const std::stop_callback wake{stop, [this] {
                                  const std::lock_guard lock{mutex_};
                                  bell_.notify_all();
                                }};
  std::unique_lock lock{mutex_};
  bell_.wait_for(lock, queues.empty() ? timeout : std::min(timeout, options_.poll_interval),
                 [&] { return stop.stop_requested() || signalled_ || (!queues.empty() && rung_); });
  if (stop.stop_requested()) return Wake::stopped;
  if (std::exchange(signalled_, false)) return Wake::signals;
  if (queues.empty()) return Wake::timeout;
  return std::exchange(rung_, false) ? Wake::tasks : Wake::timeout;
}

bool TablesStore::tell(std::uint64_t id, Signal signal) {
  const std::lock_guard lock{mutex_};
  Line::Flight* const flight = line_.flight(id);
  if (flight == nullptr) return false;
  flight->signal = signal;
  signalled_ = true;
  bell_.notify_all();
  return true;
}

// ---- For the handlers of this gateway

void TablesStore::entered(std::uint64_t id) {
  const std::lock_guard lock{mutex_};
  if (Line::Flight* const flight = line_.flight(id)) ++flight->running;
}

void TablesStore::left(std::uint64_t id) {
  const std::lock_guard lock{mutex_};
  Line::Flight* const flight = line_.flight(id);
  if (flight == nullptr) return;
  --flight->running;
  flight->heard = steady_now();
}

std::unique_ptr<Store> open_tables(TableOptions options) {
  std::vector<TableOptions> one;
  one.push_back(std::move(options));
  return std::move(open_tables(std::move(one)).front());
}

std::vector<std::unique_ptr<Store>> open_tables(std::vector<TableOptions> queues) {
  for (const TableOptions& each : queues) check(each);
  std::vector<std::shared_ptr<ServiceLease>> leases = share_leases(queues);
  std::vector<std::unique_ptr<Store>> stores;
  for (std::size_t i = 0; i < queues.size(); ++i)
    stores.push_back(std::make_unique<TablesStore>(std::move(queues[i]), std::move(leases[i])));
  return stores;
}

}  // namespace tidemill::persistent_queue
