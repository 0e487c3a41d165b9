#include "stores/sqlite/sqlite_store.hpp"

#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/sqlite/claim.hpp"
#include "stores/sqlite/enqueue.hpp"
#include "stores/sqlite/groups.hpp"
#include "stores/sqlite/renew.hpp"
#include "stores/sqlite/report.hpp"
#include "stores/sqlite/schema.hpp"
#include "stores/sqlite/store_impl.hpp"

namespace tidemill {

namespace {

/// A connection to a file whose schema is as this program needs it, and what was done to make it so.
struct Prepared {
  std::unique_ptr<sqlite::Connection> db;
  Migration migration;
};

Prepared prepare(const SqliteOptions& options) {
  if (options.path.empty() || options.path == ":memory:" || options.path.starts_with("file:")) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("\"{}\" is no path of a file: give one, such as jobs.db; the store without a file is "
                    "memory:",
                    options.path)};
  }
  auto db = sqlite_store::open_connection(options.path,
                                          {.create = options.migrate, .busy_timeout = options.busy_timeout});
  try {
    if (options.migrate) {
      const Migration migration = sqlite_store::migrate_schema(*db, options.path);
      return {std::move(db), migration};
    }
    sqlite_store::check_schema(*db, options.path);
    return {std::move(db), {sqlite_store::schema_version(), sqlite_store::schema_version()}};
  } catch (const sqlite::Failure& failure) {
    throw sqlite_store::to_error(failure, options.path);
  }
}

}  // namespace

std::unique_ptr<Store> open_sqlite(const SqliteOptions& options) {
  // Stays open until the store has its own: the last to close would move the log into the file and delete it.
  const Prepared prepared = prepare(options);
  return std::make_unique<sqlite_store::SqliteStore>(options);
}

Migration migrate_sqlite(const SqliteOptions& options) {
  SqliteOptions migrating = options;
  migrating.migrate = true;
  return prepare(migrating).migration;
}

namespace sqlite_store {

namespace {

/// How often to look for other processes' writes: a wake-up may take 10 ms, and each look wakes a thread of
/// an idle process.
constexpr auto look_interval = std::chrono::milliseconds{10};

}  // namespace

SqliteStore::SqliteStore(SqliteOptions options)
    : options_(std::move(options)),
      hub_([this] {
        lane_.look();
        return look_interval;
      }),
      lane_({.path = options_.path, .full_sync = options_.full_sync, .busy_timeout = options_.busy_timeout},
            names_, hub_),
      readers_(options_.path, options_.busy_timeout, names_) {}

std::vector<Enqueued> SqliteStore::enqueue(std::span<const Task> tasks, const Call& call,
                                           Transaction* inside) {
  if (tasks.empty()) return {};
  if (inside != nullptr) return enqueue_inside(tasks, call.now, *inside);
  std::vector<Enqueued> answers;
  lane_.run(
      {.apply =
           [&](Write& write) { answers = enqueue_all(write, tasks, call.now, capabilities_.task_bytes_max); },
       .tasks = tasks.size(),
       .bytes = bytes_of(tasks),
       .deadline = call.deadline});
  return answers;
}

Claimed SqliteStore::claim(const Claim& claim, const Call& call) {
  ClaimAnswer answer;
  Hub::Sequence seen = 0;
  lane_.run({.apply =
                 [&](Write& write) {
                   seen = hub_.sequence();
                   answer = claim_tasks(write, claim, call.now);
                 },
             .read =
                 [&](Scope& scope) {
                   seen = hub_.sequence();
                   return claim_nothing(scope, claim, call.now, answer);
                 },
             .tasks = claim.count_max,
             .sync = false,
             .deadline = call.deadline});
  hub_.claimed(claim.worker, seen, answer.dues);
  answer.claimed.now = now();
  return std::move(answer.claimed);
}

std::vector<Reported> SqliteStore::report(std::span<const Report> reports, const Call& call) {
  if (reports.empty()) return {};
  std::vector<Reported> answers;
  std::size_t bytes = 0;
  for (const Report& report : reports)
    bytes += report.result.size() + report.error.size() + bytes_of(report.then);
  lane_.run({.apply =
                 [&](Write& write) {
                   answers = report_all(write, reports, call.now, capabilities_.task_bytes_max);
                 },
             .tasks = reports.size(),
             .bytes = bytes,
             .deadline = call.deadline});
  return answers;
}

Renewed SqliteStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                           std::span<const Stat> stats, const Call& call) {
  Renewed answer;
  bool marks = false;
  for (const Beat& beat : beats) marks = marks || beat.started;
  // It counts as no task, so that it fits into any transaction: to be late would cost leases.
  lane_.run(
      {.apply = [&](Write& write) { answer = renew_leases(write, worker, beats, lease, stats, call.now); },
       .tasks = 0,
       .sync = marks,
       .urgent = true,
       .deadline = call.deadline});
  if (worker.state == "gone") hub_.forget(worker.id);
  answer.now = now();
  return answer;
}

Swept SqliteStore::sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) {
  Swept answer;
  lane_.run({.apply = [&](Write& write) { answer = sweep_all(write, worker, lease, limit, call.now); },
             .read =
                 [&](Scope& scope) {
                   answer = {};
                   return sweep_nothing(scope, call.now);
                 },
             .tasks = limit,
             .sync = false,
             .deadline = call.deadline});
  return answer;
}

Gathered SqliteStore::gather(const Gather& gather, const Call& call) {
  Gathered answer;
  lane_.run({.apply = [&](Write& write) { answer = gather_sets(write, gather, call.now); },
             .read = [&](Scope& scope) { return gather_nothing(scope, gather, call.now, answer); },
             .tasks = gather.count_max * gather.rule.size_max,
             .sync = false,
             .deadline = call.deadline});
  answer.now = now();
  return answer;
}

std::vector<Reported> SqliteStore::settle(std::span<const Settle> ends, const Call& call) {
  if (ends.empty()) return {};
  std::vector<Reported> answers;
  std::size_t tasks = 0;
  for (const Settle& end : ends) tasks += end.set == nullptr ? 0 : end.set->tasks.size();
  lane_.run(
      {.apply =
           [&](Write& write) { answers = settle_all(write, ends, call.now, capabilities_.task_bytes_max); },
       .tasks = tasks,
       .deadline = call.deadline});
  return answers;
}

Wake SqliteStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                       std::stop_token stop) {
  return hub_.wait(worker, queues, timeout, std::move(stop));
}

}  // namespace sqlite_store
}  // namespace tidemill
