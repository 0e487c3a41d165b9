#include "stores/postgres/postgres_store.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "stores/postgres/claim.hpp"
#include "stores/postgres/enqueue.hpp"
#include "stores/postgres/errors.hpp"
#include "stores/postgres/groups.hpp"
#include "stores/postgres/inside.hpp"
#include "stores/postgres/renew.hpp"
#include "stores/postgres/report.hpp"
#include "stores/postgres/schema.hpp"
#include "stores/postgres/store_impl.hpp"

namespace tidemill {

namespace {

constexpr int version_least = 130000;

postgres::Options read_url(std::string_view url) {
  try {
    postgres::Options options = postgres::parse_url(url);
    if (options.schema.find('\'') == options.schema.npos) return options;
    throw Error{
        ErrorKind::invalid,
        fmt::format("store URL: the schema is \"{}\"; its name can't have an apostrophe", options.schema)};
  } catch (const postgres::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

/// Makes sure that the schema is as this program needs it, and says what was done for that.
Migration prepare(const postgres::Options& server, const std::string& where, bool migrate) {
  try {
    postgres::Connection db{server};
    if (db.server_version() < version_least) {
      throw Error{ErrorKind::unavailable,
                  fmt::format("{} is PostgreSQL {}, which is too old; 13 or later is needed", where,
                              db.server_version() / 10000)};
    }
    if (migrate) return postgres_store::migrate_schema(db, where);
    postgres_store::check_schema(db, where);
    return {postgres_store::schema_version(), postgres_store::schema_version()};
  } catch (const postgres::Failure& failure) {
    throw postgres_store::to_error(failure, where);
  }
}

}  // namespace

void check_postgres_url(std::string_view url) { (void)read_url(url); }

std::unique_ptr<Store> open_postgres(std::string_view url, const Clock* clock, bool migrate) {
  postgres::Options server = read_url(url);
  std::string where = postgres::shown(server);
  prepare(server, where, migrate);
  return std::make_unique<postgres_store::PostgresStore>(std::move(server), std::move(where), clock);
}

Migration migrate_postgres(std::string_view url) {
  const postgres::Options server = read_url(url);
  return prepare(server, postgres::shown(server), true);
}

namespace postgres_store {

namespace {

/// Counters that are written beside each other, so that their writers don't wait for each other.
constexpr std::uint64_t counter_lanes = 64;
/// How long a claim waits for the locks of others, from the first try to the last.
constexpr auto locked_least = std::chrono::microseconds{500};
constexpr auto locked_most = std::chrono::milliseconds{16};

}  // namespace

PostgresStore::PostgresStore(postgres::Options server, std::string where, const Clock* clock)
    : server_(std::move(server)),
      where_(std::move(where)),
      clock_(clock),
      naming_(server_),
      hub_([this] { return bell_.look(); }),
      janitor_(server_),
      bell_(server_, channel_of(postgres::quoted(server_.schema)), naming_, hub_),
      puts_(lane_options(), naming_, publish()),
      more_puts_(lane_options(), naming_, publish()),
      keyed_(lane_options(true), naming_, publish()),
      claims_(lane_options(), naming_, publish()),
      reports_(lane_options(), naming_, publish()),
      renewals_(lane_options(), naming_, publish()),
      rest_(lane_options(), naming_, publish()),
      readers_(server_, where_, naming_) {}

Lane::Options PostgresStore::lane_options(bool waits_for_keys) const {
  return {.server = server_,
          .where = where_,
          .number = static_cast<std::int64_t>(random_bits() % counter_lanes),
          .waits_for_keys = waits_for_keys};
}

Lane::Publish PostgresStore::publish() {
  return [this](News news, std::int64_t died) {
    janitor_.died(died);
    hub_.publish(news);
    bell_.tell(std::move(news));
  };
}

std::vector<Enqueued> PostgresStore::enqueue(std::span<const Task> tasks, const Call& call,
                                             Transaction* inside) {
  if (tasks.empty()) return {};
  if (inside != nullptr) {
    const Place place{.schema = server_.schema, .where = where_, .identity = identity(call)};
    return enqueue_inside(*inside, place, naming_, tasks, call.now, capabilities_.task_bytes_max);
  }
  if (!std::all_of(tasks.begin(), tasks.end(), plain)) return enqueue_keyed(tasks, call);
  return enqueue_on(call.session % 2 == 0 ? puts_ : more_puts_, tasks, call);
}

std::int64_t PostgresStore::identity(const Call& call) {
  if (identity_ == 0) identity_ = readers_.read(call, [](Scope& scope) { return identity_of(scope); });
  return identity_;
}

std::vector<Enqueued> PostgresStore::enqueue_on(Lane& lane, std::span<const Task> tasks, const Call& call) {
  Enqueuing enqueuing{tasks, call.now, capabilities_.task_bytes_max};
  return lane.run(
      call, {.tasks = tasks.size(), .bytes = bytes_of(tasks)},
      [&](Write& write) { return enqueuing.put(write); }, nullptr,
      [&](Write& write) { enqueuing.gather(write); });
}

std::vector<Enqueued> PostgresStore::enqueue_keyed(std::span<const Task> tasks, const Call& call) {
  try {
    return enqueue_on(keyed_, tasks, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timed_out || tasks.size() == 1) throw;
  }
  // Somebody's open transaction may hold one of the keys, which is no trouble of the others.
  // What is remembered of a call in doubt is the answer to all of it, so these are calls of no session.
  Call alone = call;
  alone.session = 0;
  std::vector<Enqueued> answers;
  for (const Task& task : tasks) {
    try {
      answers.push_back(std::move(enqueue_on(keyed_, {&task, 1}, alone).front()));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timed_out) throw;
      answers.push_back({Put::failed, {}, error.what()});
    }
  }
  return answers;
}

Claimed PostgresStore::claim(const Claim& claim, const Call& call) {
  Hub::Sequence seen = 0;
  ClaimAnswer answer;
  // A claim that a crash of the server undoes leaves its tasks pending, which is what a lost worker leads to.
  for (auto pause = locked_least;; pause *= 2) {
    ClaimAnswer looked;
    answer = claims_.run(
        call, {.tasks = claim.count_max, .sync = false},
        [&](Write& write) { return claim_tasks(write, claim, fronts_, std::exchange(looked, {}), call.now); },
        [&](Scope& scope, ClaimAnswer& found) {
          seen = hub_.sequence();
          const bool nothing = claim_nothing(scope, claim, fronts_, call.now, found);
          if (!nothing) looked = found;
          return nothing;
        });
    // All that there is is locked: by another claim, or by an operator who may leave it as it is.
    if (!answer.found_locked || pause > locked_most) break;
    std::this_thread::sleep_for(pause);
  }
  hub_.claimed(claim.worker, seen, answer.dues);
  answer.claimed.now = clock_ != nullptr ? clock_->now() : answer.time;
  return std::move(answer.claimed);
}

std::vector<Reported> PostgresStore::report(std::span<const Report> reports, const Call& call) {
  if (reports.empty()) return {};
  std::size_t bytes = 0;
  for (const Report& report : reports)
    bytes += report.result.size() + report.error.size() + bytes_of(report.then);
  return reports_.run(call, {.tasks = reports.size(), .bytes = bytes}, [&](Write& write) {
    return report_all(write, reports, call.now, capabilities_.task_bytes_max);
  });
}

Renewed PostgresStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                             std::span<const Stat> stats, const Call& call) {
  bool marks = false;
  for (const Beat& beat : beats) marks = marks || beat.started;
  // It counts as no task, so that it fits into any transaction: to be late would cost leases.
  Renewed answer = renewals_.run(call, {.tasks = 0, .urgent = true, .sync = marks}, [&](Write& write) {
    return renew_leases(write, worker, beats, lease, stats, call.now);
  });
  if (worker.state == "gone") hub_.forget(worker.id);
  answer.now = now();
  return answer;
}

Swept PostgresStore::sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) {
  return rest_.run(
      call, {.tasks = limit, .sync = false},
      [&](Write& write) { return sweep_all(write, worker, lease, limit, call.now); },
      [&](Scope& scope, Swept&) { return sweep_nothing(scope, call.now); });
}

Gathered PostgresStore::gather(const Gather& gather, const Call& call) {
  Gathered answer = rest_.run(
      call, {.tasks = gather.count_max * gather.rule.size_max, .sync = false},
      [&](Write& write) { return gather_sets(write, gather, call.now); },
      [&](Scope& scope, Gathered& nothing) { return gather_nothing(scope, gather, call.now, nothing); });
  answer.now = now();
  return answer;
}

std::vector<Reported> PostgresStore::settle(std::span<const Settle> ends, const Call& call) {
  if (ends.empty()) return {};
  std::size_t tasks = 0;
  for (const Settle& end : ends) tasks += end.set == nullptr ? 0 : end.set->tasks.size();
  return rest_.run(call, {.tasks = tasks}, [&](Write& write) {
    return settle_all(write, ends, call.now, capabilities_.task_bytes_max);
  });
}

Wake PostgresStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                         std::stop_token stop) {
  bell_.listen();
  return hub_.wait(worker, queues, timeout, std::move(stop));
}

TimePoint PostgresStore::now() {
  if (clock_ != nullptr) return clock_->now();
  return readers_.read({}, [](Scope& scope) {
    auto row = scope.ask(get_time);
    row.step();
    return time_of(row.integer(0));
  });
}

}  // namespace postgres_store
}  // namespace tidemill
