// What all files of the suite share; and the stores that it runs on.
#include "contract.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <stdexcept>
#include <system_error>

#include <unistd.h>

#include <fmt/format.h>

#include <tidemill/mysql.hpp>
#include <tidemill/postgres.hpp>

#include "drivers/mysql/options.hpp"
#include "drivers/postgres/options.hpp"
#include "drivers/redis/client.hpp"
#include "handles.hpp"
#include "mysql_server.hpp"
#include "postgres_server.hpp"
#include "redis_cluster.hpp"
#include "redis_sentinels.hpp"
#include "redis_server.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

TimePoint TestClock::now() const {
  const std::lock_guard lock{mutex_};
  return now_;
}

std::chrono::steady_clock::time_point TestClock::steady() const {
  const std::lock_guard lock{mutex_};
  return steady_;
}

void TestClock::advance(Duration by) {
  const std::lock_guard lock{mutex_};
  now_ += by;
  steady_ += by;
}

void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }

namespace {

/// Servers for all tests of this process, begun with the first test that needs them, and with a database for
/// each directory: `Servers` is a class of theirs that knows its `url()`.
template <class Servers>
class RedisDatabases {
 public:
  std::string url(const std::filesystem::path& directory) {
    const std::lock_guard lock{mutex_};
    if (!servers_) servers_.emplace(testing::RedisServer::Lines{fmt::format("databases {}", databases)});
    const auto [found, isnew] = numbers_.try_emplace(directory, next_ % databases);
    const std::string url = fmt::format("{}/{}", servers_->url(), found->second);
    if (isnew) {
      ++next_;
      redis::Client{redis::parse_url(url)}.exec(redis::Command{"FLUSHDB"});
    }
    return url;
  }

 private:
  static constexpr int databases = 1000;
  std::mutex mutex_;
  std::optional<Servers> servers_;
  std::map<std::filesystem::path, int> numbers_;
  int next_ = 0;
};

/// A cluster has one database, so each directory has a cluster, and the next one that of a directory that is
/// gone.
class RedisClusters {
 public:
  std::string url(const std::filesystem::path& directory) {
    const std::lock_guard lock{mutex_};
    const auto of_another = [&](const Cluster& each) { return each.directory != directory; };
    const auto taken = [&](const Cluster& each) {
      return of_another(each) && std::filesystem::exists(each.directory);
    };
    auto at = std::find_if_not(clusters_.begin(), clusters_.end(), of_another);
    if (at != clusters_.end()) return at->servers.url();
    at = std::find_if_not(clusters_.begin(), clusters_.end(), taken);
    if (at == clusters_.end()) {
      clusters_.emplace_back();
      at = std::prev(clusters_.end());
    }
    at->directory = directory;
    redis::Client client{redis::parse_url(at->servers.url())};
    const auto soon = std::chrono::steady_clock::now() + 30s;
    for (const redis::Reply& reply : client.exec_everywhere(redis::Command{"FLUSHALL"}, soon)) {
      if (!reply.ok()) throw std::runtime_error{"FLUSHALL: " + reply.text};
    }
    return at->servers.url();
  }

 private:
  struct Cluster {
    testing::RedisCluster servers{};
    std::filesystem::path directory = {};
  };
  std::mutex mutex_;
  std::list<Cluster> clusters_;
};

/// One server for all tests of this process, begun with the first test that needs it, and a schema for each
/// directory.
class PostgresSchemas {
 public:
  std::string url(const std::filesystem::path& directory) {
    const std::lock_guard lock{mutex_};
    // What is lost with the power is not what this suite is about, so it doesn't wait for the disk.
    if (!server_) server_.emplace(testing::PostgresServer::Lines{"fsync = off", "max_connections = 200"});
    // TIDEMILL_PGBOUNCER=1: all through the pooler.
    if (!pooler_ && std::getenv("TIDEMILL_PGBOUNCER") != nullptr) pooler_.emplace(*server_);
    const auto [found, isnew] = numbers_.try_emplace(directory, numbers_.size());
    const std::string query = fmt::format("schema=t{}", found->second);
    return pooler_ ? pooler_->url(query) : server_->url(query);
  }

 private:
  std::mutex mutex_;
  std::optional<testing::PostgresServer> server_;
  std::optional<testing::PgBouncer> pooler_;
  std::map<std::filesystem::path, std::size_t> numbers_;
};

/// The same, with a prefix of all names for each directory.
class MysqlPrefixes {
 public:
  std::string url(const std::filesystem::path& directory) {
    const std::lock_guard lock{mutex_};
    // What is lost with the power is not what this suite is about, so it doesn't wait for the disk.
    if (!server_)
      server_.emplace(testing::MysqlServer::Options{"--innodb-flush-method=nosync", "--max-connections=300"});
    return server_->url(
        fmt::format("prefix=t{}_", numbers_.try_emplace(directory, numbers_.size()).first->second));
  }

 private:
  std::mutex mutex_;
  std::optional<testing::MysqlServer> server_;
  std::map<std::filesystem::path, std::size_t> numbers_;
};

std::vector<Backend> make_backends() {
  std::vector<Backend> all = {
      {.name = "memory", .url = [](const auto&) { return std::string{"memory:"}; }, .durable = false},
      {.name = "sqlite",
       // What is lost with the power is not what this suite is about, so it doesn't wait for the disk.
       .url =
           [](const auto& directory) {
             return "sqlite:" + (directory / "jobs.db").string() + "?synchronous=normal";
           }},
  };
  if (testing::redis_program("redis-server").empty()) {
    std::cerr
        << "redis-server is not installed, so the contract is not proved on Redis; ./dev test installs it\n";
  } else {
    static RedisDatabases<testing::RedisServer> one;
    static RedisDatabases<testing::RedisSentinels> sentinels;
    static RedisClusters clusters;
    all.push_back({.name = "redis", .url = [](const auto& directory) { return one.url(directory); }});
    all.push_back(
        {.name = "redis_sentinel", .url = [](const auto& directory) { return sentinels.url(directory); }});
    all.push_back(
        {.name = "redis_cluster", .url = [](const auto& directory) { return clusters.url(directory); }});
  }
  if (testing::postgres_directory().empty()) {
    std::cerr << "PostgreSQL is not installed, so the contract is not proved on it; ./dev test installs it\n";
  } else {
    static PostgresSchemas schemas;
    const auto url = [](const auto& directory) { return schemas.url(directory); };
    all.push_back({.name = "postgres", .url = url});
    if (has_pqxx()) {
      all.push_back(
          {.name = "postgres_on_libpqxx", .url = url, .open = [](const auto& its, const auto& clock) {
             return open_postgres(
                 {.connect = [its] { return pqxx_handle(its); }, .schema = postgres::parse_url(its).schema},
                 {.clock = &clock});
           }});
    }
  }
  if (access(testing::mariadb_program, X_OK) != 0) {
    std::cerr << "MariaDB is not installed, so the contract is not proved on it; ./dev test installs it\n";
  } else {
    static MysqlPrefixes prefixes;
    const auto url = [](const auto& directory) { return prefixes.url(directory); };
    all.push_back({.name = "mysql", .url = url});
    if (has_soci()) {
      all.push_back({.name = "mysql_on_soci", .url = url, .open = [](const auto& its, const auto& clock) {
                       return open_mysql({.connect = [its] { return soci_mysql_handle(its); },
                                          .prefix = mysql::parse_url(its).prefix},
                                         {.clock = &clock});
                     }});
    }
  }
  return all;
}

}  // namespace

const std::vector<Backend>& backends() {
  static const std::vector<Backend> all = make_backends();
  return all;
}

std::vector<Backend> durable_backends() {
  std::vector<Backend> durable;
  for (const Backend& backend : backends()) {
    if (backend.durable) durable.push_back(backend);
  }
  return durable;
}

std::string name_of(const ::testing::TestParamInfo<Backend>& info) { return info.param.name; }

Directory::Directory() {
  static std::atomic<int> count{0};
  path_ = std::filesystem::temp_directory_path() /
          ("tidemill-contract-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
  std::filesystem::create_directories(path_);
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Contract::Contract() { reopen(); }

void Contract::reopen() {
  store_.reset();
  store_ = open_again();
}

std::unique_ptr<Store> Contract::open_again() {
  const std::string url = GetParam().url(directory_.path());
  return GetParam().open ? GetParam().open(url, clock) : open(url, {.clock = &clock});
}

void Contract::need(std::initializer_list<Feature> features) {
  for (const Feature feature : features) {
    const auto limit = store().capabilities().limits.find(feature);
    if (limit != store().capabilities().limits.end() && limit->second.absent) {
      GTEST_SKIP() << "the store has no " << to_string(feature) << ": " << limit->second.text;
    }
  }
}

void Contract::need_whole(Feature feature) {
  const auto limit = store().capabilities().limits.find(feature);
  if (limit == store().capabilities().limits.end()) return;
  GTEST_SKIP() << to_string(feature) << " has limits: " << limit->second.text;
}

Task Contract::task(std::string id, std::string queue, State state) {
  Task task;
  task.ref = {std::move(queue), std::move(id)};
  task.state = state;
  task.kind = "kind";
  task.payload = "payload";
  return task;
}

Task Contract::delayed(std::string id, Duration delay, std::string queue) {
  Task late = task(std::move(id), std::move(queue), State::scheduled);
  late.delay = delay;
  return late;
}

Task Contract::keyed(std::string id, std::string key, Unique unique) {
  Task one = task(std::move(id));
  unique.key = std::move(key);
  one.unique = std::move(unique);
  return one;
}

std::vector<Put> Contract::put_all(const std::vector<Task>& tasks) {
  std::vector<Put> puts;
  for (const Enqueued& answer : store().enqueue(tasks, call())) puts.push_back(answer.put);
  return puts;
}

Claimed Contract::claim(const Take& take) {
  std::vector<Want> wants;
  for (const std::string_view queue : take.queues) wants.push_back({queue, take.most});
  return store().claim({.worker = take.worker,
                        .wants = wants,
                        .count_max = take.most,
                        .bytes_max = take.bytes_max,
                        .lease = take.lease},
                       call());
}

Lease Contract::claim_one(std::string_view worker, Duration lease) {
  Claimed claimed = claim({.worker = worker, .lease = lease});
  if (claimed.leases.size() == 1) return std::move(claimed.leases.front());
  ADD_FAILURE() << "there is nothing to claim";
  return {};
}

Report Contract::outcome(const Lease& lease, State to) {
  Report report;
  report.lease = &lease;
  report.to = to;
  report.attempt = lease.task.attempt;
  report.retries = lease.task.retries;
  report.crashes = lease.task.crashes;
  report.deferrals = lease.task.deferrals;
  report.release_key = to == State::gone || to == State::completed || to == State::archived;
  if (to == State::gone || to == State::completed) report.tally = Tally::success;
  return report;
}

WorkerInfo Contract::worker(std::string id, std::string state) {
  WorkerInfo info;
  info.id = std::move(id);
  info.state = std::move(state);
  return info;
}

Signal Contract::beat(const Beat& beat, Duration lease) {
  return store().renew(worker("w1"), {&beat, 1}, lease, {}, call()).leases.at(0);
}

std::optional<Task> Contract::get(const std::string& id, const std::string& queue) {
  const Ref ref{queue, id};
  return catalog().get({&ref, 1}, call()).at(0);
}

State Contract::state_of(const std::string& id) {
  const auto found = get(id);
  return found ? found->state : State::gone;
}

std::vector<Task> Contract::find(const Filter& filter, std::size_t limit) {
  std::vector<Task> tasks;
  std::string cursor;
  do {
    Page page = catalog().find(filter, cursor, limit, 10s, call());
    EXPECT_LE(page.tasks.size(), limit);
    for (Task& each : page.tasks) tasks.push_back(std::move(each));
    cursor = page.next;
  } while (!cursor.empty());
  return tasks;
}

std::vector<std::string> Contract::ids(const Filter& filter, std::size_t limit) {
  return ids_of(find(filter, limit));
}

Changed Contract::change(const std::string& id, const Change& change) {
  const Ref ref{"q", id};
  return catalog().change({&ref, 1}, change, call()).at(0);
}

std::optional<QueueInfo> Contract::queue(const std::string& name) {
  for (QueueInfo& info : catalog().queues(call())) {
    if (info.name == name) return std::move(info);
  }
  return {};
}

std::vector<std::string> ids_of(const std::vector<Lease>& leases) {
  std::vector<std::string> ids;
  for (const Lease& lease : leases) ids.push_back(lease.task.ref.id);
  return ids;
}

std::vector<std::string> ids_of(const std::vector<Task>& tasks) {
  std::vector<std::string> ids;
  for (const Task& task : tasks) ids.push_back(task.ref.id);
  return ids;
}

std::vector<Task> numbered(std::size_t count, const std::string& prefix, const Task& like) {
  std::vector<Task> tasks(count, like);
  for (std::size_t i = 0; i < count; ++i) tasks[i].ref.id = prefix + std::to_string(i);
  return tasks;
}

}  // namespace tidemill::contract
