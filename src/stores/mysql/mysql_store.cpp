#include "stores/mysql/mysql_store.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "stores/mysql/claim.hpp"
#include "stores/mysql/enqueue.hpp"
#include "stores/mysql/errors.hpp"
#include "stores/mysql/groups.hpp"
#include "stores/mysql/inside.hpp"
#include "stores/mysql/renew.hpp"
#include "stores/mysql/report.hpp"
#include "stores/mysql/schema.hpp"
#include "stores/mysql/store_impl.hpp"

namespace tidemill {

namespace {

constexpr unsigned long mariadb_least = 100600;
constexpr unsigned long mysql_least = 80019;

mysql::Options read_url(std::string_view url) {
  try {
    return mysql::parse_url(url);
  } catch (const mysql::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

void check_version(const mysql::Connection& db, const std::string& where) {
  const unsigned long version = db.server_version();
  if (version >= (db.mariadb() ? mariadb_least : mysql_least)) return;
  throw Error{
      ErrorKind::unavailable,
      fmt::format("{} is {} {}.{}.{}, which is too old; MariaDB 10.6 or MySQL 8.0.19 or later is needed",
                  where, db.mariadb() ? "MariaDB" : "MySQL", version / 10000, version / 100 % 100,
                  version % 100)};
}

/// What the store can do is known from the server.
struct Prepared {
  Migration migration = {};
  std::size_t task_bytes_max = 0;
};

/// A task goes in one statement, whose bytes are twice the task's where those need to be written as digits.
std::size_t task_bytes_max(mysql::Connection& db) {
  static constexpr mysql::Sql get_packet{"SELECT @@max_allowed_packet"};
  constexpr std::size_t rest = 64U << 10U;
  auto row = db.query(get_packet);
  row.step();
  const auto packet = static_cast<std::size_t>(row.integer(0));
  return std::min(Capabilities{}.task_bytes_max, (std::max(packet, 2 * rest) - rest) / 2);
}

/// Makes sure that the schema is as this program needs it, and says what was done for that.
Prepared prepare(const mysql::Options& server, const std::string& where, bool migrate) {
  try {
    mysql::Connection db{server};
    check_version(db, where);
    Prepared prepared{.task_bytes_max = task_bytes_max(db)};
    const int version = mysql_store::schema_version();
    if (!migrate) mysql_store::check_schema(db, where);
    prepared.migration = migrate ? mysql_store::migrate_schema(db, where) : Migration{version, version};
    return prepared;
  } catch (const mysql::Failure& failure) {
    throw mysql_store::to_error(failure, where);
  }
}

}  // namespace

void check_mysql_url(std::string_view url) { (void)read_url(url); }

std::unique_ptr<Store> open_mysql(std::string_view url, const Clock* clock, bool migrate) {
  mysql::Options server = read_url(url);
  std::string where = mysql::shown(server);
  const std::size_t bytes = prepare(server, where, migrate).task_bytes_max;
  return std::make_unique<mysql_store::MysqlStore>(std::move(server), std::move(where), bytes, clock);
}

Migration migrate_mysql(std::string_view url) {
  const mysql::Options server = read_url(url);
  return prepare(server, mysql::shown(server), true).migration;
}

namespace mysql_store {

namespace {

/// Counters that are written beside each other, so that their writers don't wait for each other.
constexpr std::uint64_t counter_lanes = 64;
/// How long a claim waits for the locks of others, from the first try to the last.
constexpr auto locked_least = std::chrono::microseconds{500};
constexpr auto locked_most = std::chrono::milliseconds{16};

}  // namespace

MysqlStore::MysqlStore(mysql::Options server, std::string where, std::size_t task_bytes_max,
                       const Clock* clock)
    : server_(std::move(server)),
      where_(std::move(where)),
      clock_(clock),
      capabilities_{.task_bytes_max = task_bytes_max},
      naming_(server_),
      hub_([this] { return bell_.look(); }),
      bell_(server_, naming_, hub_),
      puts_(lane_options(), naming_, publish()),
      more_puts_(lane_options(), naming_, publish()),
      keyed_(lane_options(true), naming_, publish()),
      claims_(lane_options(), naming_, publish()),
      reports_(lane_options(), naming_, publish()),
      renewals_(lane_options(), naming_, publish()),
      rest_(lane_options(), naming_, publish()),
      readers_(server_, where_, naming_) {}

Lane::Options MysqlStore::lane_options(bool waits_for_keys) const {
  return {.server = server_,
          .where = where_,
          .number = static_cast<std::int64_t>(random_bits() % counter_lanes),
          .waits_for_keys = waits_for_keys};
}

Lane::Publish MysqlStore::publish() {
  return [this](const News& news, std::int64_t /*died*/) {
    bell_.stir();
    hub_.publish(news);
  };
}

std::vector<Enqueued> MysqlStore::enqueue(std::span<const Task> tasks, const Call& call,
                                          Transaction* inside) {
  if (tasks.empty()) return {};
  if (inside != nullptr) {
    const Place place{
        .database = server_.database, .prefix = server_.prefix, .where = where_, .identity = identity(call)};
    return enqueue_inside(*inside, place, naming_, tasks, call.now, capabilities_.task_bytes_max);
  }
  if (!std::all_of(tasks.begin(), tasks.end(), plain)) return enqueue_keyed(tasks, call);
  return enqueue_on(call.session % 2 == 0 ? puts_ : more_puts_, tasks, call);
}

std::int64_t MysqlStore::identity(const Call& call) {
  if (identity_ == 0) identity_ = readers_.read(call, [](Scope& scope) { return identity_of(scope); });
  return identity_;
}

std::vector<Enqueued> MysqlStore::enqueue_on(Lane& lane, std::span<const Task> tasks, const Call& call) {
  Enqueuing enqueuing{tasks, call.now, capabilities_.task_bytes_max};
  return lane.run(
      call, {.tasks = tasks.size(), .bytes = bytes_of(tasks)},
      [&](Write& write) { return enqueuing.put(write); }, nullptr,
      [&](Write& write) { enqueuing.gather(write); });
}

std::vector<Enqueued> MysqlStore::enqueue_keyed(std::span<const Task> tasks, const Call& call) {
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

Claimed MysqlStore::claim(const Claim& claim, const Call& call) {
  Hub::Sequence seen = 0;
  ClaimAnswer answer;
  for (auto pause = locked_least;; pause *= 2) {
    ClaimAnswer looked;
    answer = claims_.run(
        call, {.tasks = claim.count_max},
        [&](Write& write) {
          return claim_tasks(write, claim, std::exchange(looked, {}), call.now, capabilities_.task_bytes_max);
        },
        [&](Scope& scope, ClaimAnswer& found) {
          seen = hub_.sequence();
          const bool nothing = claim_nothing(scope, claim, call.now, found);
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

std::vector<Reported> MysqlStore::report(std::span<const Report> reports, const Call& call) {
  if (reports.empty()) return {};
  std::size_t bytes = 0;
  for (const Report& report : reports)
    bytes += report.result.size() + report.error.size() + bytes_of(report.then);
  return reports_.run(call, {.tasks = reports.size(), .bytes = bytes}, [&](Write& write) {
    return report_all(write, reports, call.now, capabilities_.task_bytes_max);
  });
}

Renewed MysqlStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                          std::span<const Stat> stats, const Call& call) {
  // It counts as no task, so that it fits into any transaction: to be late would cost leases.
  Renewed answer = renewals_.run(call, {.tasks = 0, .urgent = true}, [&](Write& write) {
    return renew_leases(write, worker, beats, lease, stats, call.now);
  });
  if (worker.state == "gone") hub_.forget(worker.id);
  answer.now = now();
  return answer;
}

Swept MysqlStore::sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) {
  return rest_.run(
      call, {.tasks = limit},
      [&](Write& write) {
        return sweep_all(write, worker, lease, limit, call.now, capabilities_.task_bytes_max);
      },
      [&](Scope& scope, Swept&) { return sweep_nothing(scope, call.now); });
}

Gathered MysqlStore::gather(const Gather& gather, const Call& call) {
  Gathered answer = rest_.run(
      call, {.tasks = gather.count_max * gather.rule.size_max},
      [&](Write& write) { return gather_sets(write, gather, call.now); },
      [&](Scope& scope, Gathered& nothing) { return gather_nothing(scope, gather, call.now, nothing); });
  answer.now = now();
  return answer;
}

std::vector<Reported> MysqlStore::settle(std::span<const Settle> ends, const Call& call) {
  if (ends.empty()) return {};
  std::size_t tasks = 0;
  for (const Settle& end : ends) tasks += end.set == nullptr ? 0 : end.set->tasks.size();
  return rest_.run(call, {.tasks = tasks}, [&](Write& write) {
    return settle_all(write, ends, call.now, capabilities_.task_bytes_max);
  });
}

Wake MysqlStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                      std::stop_token stop) {
  return hub_.wait(worker, queues, timeout, std::move(stop));
}

TimePoint MysqlStore::now() {
  if (clock_ != nullptr) return clock_->now();
  return readers_.read({}, [](Scope& scope) {
    auto row = scope.ask(get_time);
    row.step();
    return time_of(row.integer(0));
  });
}

}  // namespace mysql_store
}  // namespace tidemill
