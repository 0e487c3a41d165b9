// No acknowledged task is lost, whoever is killed when; rules 1, 2 and 3 of docs/architecture.md. Processes
// that enqueue and processes that work are killed with kill -9 at random, over and over. Each writes down
// what it has done as it does it, and at the end those lines are held against the store.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include <tidemill/tidemill.hpp>

#include "faults/kill_fixture.hpp"
#include "mysql_server.hpp"
#include "places.hpp"
#include "postgres_server.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Process;
using testing::read_file;

const std::string helper = testing::built("tests/faults/kill_worker_main");

std::size_t count_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// A handler that ran: in the order in which they wrote their lines.
struct Effect {
  std::string id;
  int attempt = 0;
  pid_t pid = 0;
};

/// On each store that outlives its users.
class KillTest : public testing::KillFixture, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "redis") {
      TIDEMILL_NEEDS_REDIS();
      // What is acknowledged is on the disk, as with the others.
      redis_.emplace(testing::RedisServer::Lines{"appendonly yes", "appendfsync always"});
    } else if (GetParam() == "postgres") {
      TIDEMILL_NEEDS_POSTGRES();
      postgres_.emplace();
    } else if (GetParam() == "mysql") {
      TIDEMILL_NEEDS_MYSQL();
      mysql_.emplace();
    }
  }

  std::string url() const {
    if (redis_) return redis_->url();
    if (mysql_) return mysql_->url();
    return postgres_ ? postgres_->url() : testing::KillFixture::url();
  }
  void expect_whole_store() {
    if (GetParam() == "sqlite") expect_whole_file();
  }

  std::string acks_file() const { return (directory_ / "acks").string(); }
  std::string effects_file() const { return (directory_ / "effects").string(); }

  Process start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), helper);
    return Process{arguments, {.err = directory_ / "log"}};
  }
  Process start_worker(const std::string& lease_ms) {
    return start({"work", url(), effects_file(), lease_ms});
  }

  void kill_worker(Process& worker) {
    killed_.insert(worker.pid());
    worker.end(SIGKILL);
  }

  /// A worker that has just been started does not take signals yet; one that is on the list does.
  void stop_worker(Inspector& inspector, Process& worker) {
    ASSERT_TRUE(eventually([&] {
      const std::vector<WorkerInfo> all = inspector.workers();
      return std::any_of(all.begin(), all.end(), [&](const WorkerInfo& w) { return w.pid == worker.pid(); });
    })) << log();
    EXPECT_EQ(worker.end(SIGTERM), 0) << log();
  }

  /// Enqueues `count` tasks and more, by a process that is killed `kills` times on its way.
  void enqueue_with_kills(std::size_t count, std::size_t kills, std::size_t batch, std::size_t groups = 0) {
    for (std::size_t round = 0; round <= kills; ++round) {
      const std::size_t acked = count_lines(read_file(acks_file()));
      const std::size_t left = count > acked ? count - acked : 1;
      const std::size_t until = acked + left / (kills + 1 - round);
      Process producer = start({"enqueue", url(), acks_file(), fmt::format("p{}", ++producers_),
                                std::to_string(left + count), std::to_string(batch), std::to_string(groups)});
      ASSERT_TRUE(eventually([&] { return count_lines(read_file(acks_file())) >= until; })) << log();
      wait_a_bit();
      producer.end(SIGKILL);
      drop_unfinished_ack();
    }
  }
  /// A kill may cut a long write short. What has no end of line was not acknowledged, and the next producer's
  /// first must not be written behind it.
  void drop_unfinished_ack() {
    const std::string acks = read_file(acks_file());
    std::filesystem::resize_file(acks_file(), acks.rfind('\n') + 1);
  }

  std::vector<Effect> effects() const {
    std::istringstream in{read_file(effects_file())};
    std::vector<Effect> out;
    for (Effect effect; in >> effect.id >> effect.attempt >> effect.pid;) out.push_back(effect);
    return out;
  }

  std::uint64_t count(Inspector& inspector, State state) {
    for (const QueueInfo& queue : inspector.queues()) {
      const auto found = queue.counts.find(state);
      if (found != queue.counts.end()) return found->second;
    }
    return 0;
  }

  void expect_no_acknowledged_task_lost(const std::map<std::string, Task>& stored) {
    std::istringstream in{read_file(acks_file())};
    std::size_t acknowledged = 0;
    for (std::string id; in >> id; ++acknowledged) {
      EXPECT_TRUE(stored.contains(id)) << id << " was acknowledged and is lost";
    }
    fmt::print("{} acknowledged, {} in the store\n", acknowledged, stored.size());
  }

  /// Each ended once; who ran again had been in the hands of a process that was killed, each time but the
  /// last.
  void expect_one_outcome_each(Inspector& inspector, const std::map<std::string, Task>& stored) {
    std::map<std::string, std::vector<Effect>> by_id;
    for (const Effect& effect : effects()) by_id[effect.id].push_back(effect);
    std::size_t reruns = 0;
    for (const auto& [id, task] : stored) {
      const std::vector<Effect>& ran = by_id[id];
      ASSERT_FALSE(ran.empty()) << id << " completed and never ran";
      EXPECT_EQ(task.result, std::to_string(ran.back().pid))
          << id << ": the outcome is not that of the last run";
      for (std::size_t i = 0; i + 1 < ran.size(); ++i) {
        ++reruns;
        EXPECT_TRUE(killed_.contains(ran[i].pid))
            << id << " ran again, and process " << ran[i].pid << " lives";
      }
      EXPECT_GE(task.crashes, static_cast<int>(ran.size()) - 1) << id;
      expect_one_success(inspector, task);
    }
    fmt::print("{} kills, {} runs again\n", killed_.size(), reruns);
  }

  std::optional<testing::RedisServer> redis_;
  std::optional<testing::PostgresServer> postgres_;
  std::optional<testing::MysqlServer> mysql_;
  std::set<pid_t> killed_;
  int producers_ = 0;
};

TEST_P(KillTest, NothingIsLostWhenWorkersAreKilled) {
  constexpr std::size_t tasks_total = 20'000;
  constexpr std::size_t kills = 20;
  enqueue_with_kills(tasks_total, 5, 500);
  const auto store = open(url());
  Inspector inspector{*store};
  const std::size_t total = count(inspector, State::pending);
  ASSERT_GE(total, tasks_total);

  std::vector<Process> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(start_worker("2000"));
  for (std::size_t kill = 1; kill <= kills; ++kill) {
    const std::size_t until = total * kill / (kills + 1);
    ASSERT_TRUE(eventually([&] { return count_lines(read_file(effects_file())) >= until; })) << log();
    wait_a_bit();
    Process& victim = workers[chance(workers.size())];
    kill_worker(victim);
    victim = start_worker("2000");
  }
  ASSERT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough)) << log();
  for (Process& worker : workers) stop_worker(inspector, worker);

  const auto stored = tasks(inspector);
  expect_no_acknowledged_task_lost(stored);
  expect_one_outcome_each(inspector, stored);
  expect_whole_store();
}

TEST_P(KillTest, NothingIsLostWhenProducersAndWorkersAreKilledAtOnce) {
  std::vector<Process> workers;
  for (int i = 0; i < 2; ++i) workers.push_back(start_worker("2000"));
  for (int round = 0; round < 5; ++round) {
    // One task a call, so that most kills fall between a commit and its acknowledgement.
    enqueue_with_kills(static_cast<std::size_t>(round + 1) * 400, 4, 1);
    Process& victim = workers[chance(workers.size())];
    kill_worker(victim);
    victim = start_worker("2000");
  }
  const auto store = open(url());
  Inspector inspector{*store};
  ASSERT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough)) << log();
  for (Process& worker : workers) stop_worker(inspector, worker);
  const auto stored = tasks(inspector);
  expect_no_acknowledged_task_lost(stored);
  expect_one_outcome_each(inspector, stored);
  expect_whole_store();
}

TEST_P(KillTest, NothingAcknowledgedIsLostWhenBatchesAreKilled) {
  enqueue_with_kills(20'000, 20, 1000);
  const auto store = open(url());
  Inspector inspector{*store};
  const auto stored = tasks(inspector);
  expect_no_acknowledged_task_lost(stored);
  EXPECT_EQ(stored.size(), count(inspector, State::pending));  // The counters hold as well.
  expect_whole_store();
}

// Whoever has taken a group's tasks is killed before it has put one in their place, again and again.
TEST_P(KillTest, AGroupsTaskIsInOneMergedTaskWhenAggregatorsAreKilled) {
  constexpr std::size_t tasks_total = 2'000;
  constexpr int kills = 15;
  enqueue_with_kills(tasks_total, 3, 100, 7);
  const auto start_merger = [&] { return start({"merge", url(), effects_file(), "2000"}); };
  std::vector<Process> mergers;
  for (int i = 0; i < 2; ++i) mergers.push_back(start_merger());
  for (int kill = 0; kill < kills; ++kill) {
    const std::size_t until = effects().size() + 1 + chance(3);
    ASSERT_TRUE(eventually([&] { return effects().size() >= until; })) << log();
    const pid_t last = effects().back().pid;
    const auto victim = std::ranges::find(mergers, last, &Process::pid);
    ASSERT_NE(victim, mergers.end());
    kill_worker(*victim);
    *victim = start_merger();
  }
  const auto store = open(url());
  Inspector inspector{*store};
  ASSERT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough)) << log();
  for (Process& merger : mergers) stop_worker(inspector, merger);

  const auto stored = tasks(inspector);
  std::map<std::string, int> merged;
  for (const auto& [id, task] : stored) {
    EXPECT_EQ(task.kind, "kill:merged") << id;
    expect_one_success(inspector, task);
    std::istringstream parts{task.payload};
    for (std::string part; parts >> part;) ++merged[part];
  }
  for (const auto& [id, times] : merged) EXPECT_EQ(times, 1) << id;
  std::istringstream acknowledged{read_file(acks_file())};
  for (std::string id; acknowledged >> id;) EXPECT_TRUE(merged.contains(id)) << id << " is lost";
  EXPECT_GT(effects().size(), stored.size()) << "no kill came between the two";
  fmt::print("{} parts, {} merged tasks of {} sets\n", merged.size(), stored.size(), effects().size());
  expect_whole_store();
}

TEST_P(KillTest, ADeadWorkersTasksRunAgainWithin30Seconds) {
  const auto store = open(url());
  Client client{*store};
  client.enqueue("kill:task", "{}", {.id = "held", .retention = 1h});
  Process victim = start({"hang", url(), effects_file()});
  ASSERT_TRUE(eventually([&] { return effects().size() == 1; })) << log();
  Process other = start_worker("0");  // 0: all options at their defaults, as users have them.
  kill_worker(victim);
  const auto killed_at = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return effects().size() == 2; }, long_enough)) << log();
  const auto took = std::chrono::steady_clock::now() - killed_at;
  fmt::print("{:.1f} s\n", std::chrono::duration<double>(took).count());
  EXPECT_LE(took, 30s);
  Inspector inspector{*store};
  ASSERT_TRUE(eventually([&] { return all_ended(inspector); }));
  EXPECT_EQ(inspector.task({"default", "held"})->crashes, 1);
  stop_worker(inspector, other);
}

INSTANTIATE_TEST_SUITE_P(Stores, KillTest, ::testing::Values("sqlite", "redis", "postgres", "mysql"),
                         [](const auto& store) { return store.param; });

/// Where there is a server between, that may go too. A call whose answer is lost is repeated, and has the
/// answer that it had the first time.
class ServerKillTest : public KillTest {
 protected:
  /// A producer and a worker are at it; `harm` is done five times meanwhile.
  template <class Harm>
  void expect_nothing_is_lost(Harm harm) {
    constexpr std::size_t tasks_total = 5'000;
    constexpr int times = 5;
    Process worker = start_worker("5000");
    Process producer = start({"enqueue", url(), acks_file(), "p", std::to_string(tasks_total), "7"});
    for (int time = 1; time <= times; ++time) {
      const std::size_t until = tasks_total * static_cast<std::size_t>(time) / (times + 1);
      ASSERT_TRUE(eventually([&] { return count_lines(read_file(acks_file())) >= until; })) << log();
      wait_a_bit();
      harm();
    }
    EXPECT_EQ(producer.wait(), 0) << log();
    const auto store = open(url());
    Inspector inspector{*store};
    ASSERT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough)) << log();
    stop_worker(inspector, worker);
    const auto stored = tasks(inspector);
    expect_no_acknowledged_task_lost(stored);
    EXPECT_EQ(stored.size(), tasks_total) << "a repeated call made a second task";
    for (const auto& [id, task] : stored) expect_one_success(inspector, task);
  }
};

TEST_P(ServerKillTest, NothingIsLostWhenTheServerIsKilled) {
  expect_nothing_is_lost([&] {
    if (redis_) redis_->restart(SIGKILL);
    if (postgres_) postgres_->restart(SIGKILL);
    if (mysql_) mysql_->restart(SIGKILL);
  });
}

INSTANTIATE_TEST_SUITE_P(Stores, ServerKillTest, ::testing::Values("redis", "postgres", "mysql"),
                         [](const auto& store) { return store.param; });

class PostgresKillTest : public ServerKillTest {};

TEST_P(PostgresKillTest, NothingIsLostWhenTheServerIsStoppedAtOnce) {
  expect_nothing_is_lost([&] { postgres_->restart(SIGQUIT); });
}

TEST_P(PostgresKillTest, NothingIsLostWhenConnectionsAreCut) {
  expect_nothing_is_lost([&] {
    postgres::Connection db{postgres::parse_url(postgres_->url())};
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND application_name LIKE 'tidemill%'");
  });
}

INSTANTIATE_TEST_SUITE_P(Stores, PostgresKillTest, ::testing::Values("postgres"),
                         [](const auto& store) { return store.param; });

class MysqlKillTest : public ServerKillTest {};

TEST_P(MysqlKillTest, NothingIsLostWhenConnectionsAreCut) {
  expect_nothing_is_lost([&] {
    mysql::Connection db{mysql::parse_url(mysql_->url())};
    static constexpr mysql::Sql others{
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"};
    for (auto row = db.query(others); row.step();) {
      try {
        db.execute(fmt::format("KILL {}", row.integer(0)));
      } catch (const mysql::Failure&) {
        // It has ended by itself.
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Stores, MysqlKillTest, ::testing::Values("mysql"),
                         [](const auto& store) { return store.param; });

}  // namespace
}  // namespace tidemill
