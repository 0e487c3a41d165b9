// Failovers of Redis under load, by Sentinel and in a cluster: masters are killed or told to hand over, again
// and again, while producers enqueue and workers work. No outcome is accepted twice. With `wait=1` nothing
// that was acknowledged is lost; without it the loss is counted.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <tidemill/tidemill.hpp>

#include "drivers/redis/client.hpp"
#include "faults/kill_fixture.hpp"
#include "redis_cluster.hpp"
#include "redis_sentinels.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::RedisServer;

/// Counts what workers were told about the ends of tasks.
class CountingStore : public Store {
 public:
  explicit CountingStore(std::unique_ptr<Store> inner) : inner_(std::move(inner)) {}

  std::map<std::string, int> accepted() const {
    const std::lock_guard lock{mutex_};
    return accepted_;
  }

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override {
    return inner_->enqueue(tasks, call, inside);
  }
  Claimed claim(const Claim& claim, const Call& call) override { return inner_->claim(claim, call); }
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override {
    auto answers = inner_->report(reports, call);
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (answers[i] == Reported::applied && reports[i].to == State::completed)
        ++accepted_[reports[i].lease->task.ref.id];
    }
    return answers;
  }
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override {
    return inner_->renew(worker, beats, lease, stats, call);
  }
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override {
    return inner_->sweep(worker, lease, limit, call);
  }
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override {
    return inner_->wait(worker, queues, timeout, std::move(stop));
  }
  TimePoint now() override { return inner_->now(); }
  const Capabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  Catalog* catalog() noexcept override { return inner_->catalog(); }
  Locks* locks() noexcept override { return inner_->locks(); }
  Documents* documents() noexcept override { return inner_->documents(); }

 private:
  std::unique_ptr<Store> inner_;
  mutable std::mutex mutex_;
  std::map<std::string, int> accepted_;  // Guarded by mutex_.
};

redis::Reply exec(const RedisServer& server, const redis::Command& command) {
  redis::Client client{redis::parse_url(server.url())};
  return client.exec(command);
}
bool is_master(const RedisServer& server) {
  const redis::Reply role = exec(server, redis::Command{"ROLE"});
  return !role.items.empty() && role.items[0].text == "master";
}
bool has_replica(const RedisServer& server) {
  return exec(server, redis::Command{"INFO"}.add("replication")).text.find("state=online") !=
         std::string::npos;
}

/// Servers of which one follows another at each master's end.
class Servers {
 public:
  virtual ~Servers() = default;
  virtual std::string url() const = 0;
  /// A master is killed, and comes back as a replica when another has taken its place. False when that takes
  /// too long.
  virtual bool kill_master(std::size_t chance) = 0;
  /// One is told to hand over.
  virtual bool hand_over(std::size_t chance) = 0;
};

/// One replica: WAIT for it waits for all that may follow.
class Sentinels : public Servers {
 public:
  explicit Sentinels(const RedisServer::Lines& lines) : all_(lines, 1) {}

  std::string url() const override { return all_.url(); }
  bool kill_master(std::size_t) override {
    RedisServer& old = all_.master();
    old.stop(SIGKILL);
    return replaced(old);
  }
  bool hand_over(std::size_t chance) override {
    RedisServer& old = all_.master();
    const redis::Command command = redis::Command{"SENTINEL"}.add("FAILOVER").add("mymaster");
    const bool told = eventually([&] { return exec(all_.sentinel(chance % 3), command).text == "OK"; });
    return told && replaced(old);
  }

 private:
  bool replaced(RedisServer& old) {
    if (!eventually([&] { return all_.master_port() != old.port() && is_master(all_.master()); }))
      return false;
    // One that was killed starts as an empty master. The sentinels make it a replica, but ten seconds later.
    if (!old.running()) old.start();
    exec(old, redis::Command{"REPLICAOF"}.add("127.0.0.1").add(all_.master_port()));
    return eventually([&] { return is_master(all_.master()) && has_replica(all_.master()); });
  }
  testing::RedisSentinels all_;
};

class Cluster : public Servers {
 public:
  explicit Cluster(const RedisServer::Lines& lines) : all_(lines) {}

  std::string url() const override { return all_.url(); }
  bool kill_master(std::size_t chance) override {
    const auto [master, replica] = pair(chance % 3);
    all_.node(master).stop(SIGKILL);
    if (!eventually([&, other = replica] { return is_master(all_.node(other)); })) return false;
    elected_.at(replica) = Clock::now();
    all_.node(master).start();
    return settled(replica);
  }
  bool hand_over(std::size_t chance) override {
    const auto [master, replica] = pair(chance % 3);
    const redis::Command command = redis::Command{"CLUSTER"}.add("FAILOVER");
    const auto over = [&, to = replica] { return is_master(all_.node(to)); };
    // The others don't vote for a new master soon after another; then it is over after five seconds.
    for (int i = 0; i < 5 && !over(); ++i) {
      exec(all_.node(replica), command);
      eventually(over, 6s);
    }
    elected_.at(replica) = Clock::now();
    return over() && settled(replica);
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// A master, and a replica that may be elected. For twice the nodes' time-out after its last election Redis
  /// 7 still counts the votes of that one, and makes itself a master under its old epoch, whom nobody obeys.
  std::pair<std::size_t, std::size_t> pair(std::size_t third) {
    const auto [master, replica] =
        is_master(all_.node(third)) ? std::pair{third, third + 3} : std::pair{third + 3, third};
    const auto ready_at = elected_.at(replica) + 2 * testing::RedisCluster::node_timeout;
    eventually([&] { return Clock::now() > ready_at; });
    return {master, replica};
  }
  bool settled(std::size_t master) {
    return eventually([&] { return has_replica(all_.node(master)); });
  }
  testing::RedisCluster all_;
  std::array<Clock::time_point, 6> elected_{};
};

struct Case {
  std::string name = {};
  bool cluster = false;
  bool waits = false;
  int kills = 0, hand_overs = 0;
};

class FailoverTest : public testing::KillFixture, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    RedisServer::Lines lines;
    if (GetParam().waits) lines = {"min-replicas-to-write 1", "min-replicas-max-lag 3"};
    servers_ = GetParam().cluster ? std::unique_ptr<Servers>{std::make_unique<Cluster>(lines)}
                                  : std::make_unique<Sentinels>(lines);
  }

  /// Calls may take as long as a failover.
  std::string url() const {
    return fmt::format("{}?timeout=20s&connect_timeout=1s{}", servers_->url(),
                       GetParam().waits ? "&wait=1" : "");
  }

  /// Tasks of several queues, in batches, until it is told to stop.
  void produce(int number, const std::stop_token& stop) {
    const auto store = open(url());
    Client client{*store};
    for (int i = 0; !stop.stop_requested(); i += batch) {
      std::vector<NewTask> tasks;
      for (int n = 0; n < batch; ++n) {
        EnqueueOptions options{.crashes_max = 1000, .retention = 1h};
        options.id = fmt::format("p{}-{}", number, i + n);
        options.queue = queues[static_cast<std::size_t>(n)];
        tasks.push_back({"kind", "{}", options});
      }
      try {
        for (const Enqueued& answer : client.enqueue_all(tasks)) {
          if (answer.put != Put::created) continue;
          const std::lock_guard lock{mutex_};
          acknowledged_.insert(answer.id);
        }
      } catch (const Error& error) {
        fmt::print("producer: {}\n", error.what());
      }
      poll(nullptr, 0, 20);  // So that the tasks can be told one by one at the end.
    }
  }

  std::size_t acknowledged() {
    const std::lock_guard lock{mutex_};
    return acknowledged_.size();
  }

  static WorkerOptions worker_options() {
    WorkerOptions options{.concurrency = 16, .threads = 4, .lease = 8s, .beat = 2s, .margin = 2s};
    options.queues.clear();
    options.log = Log::to_stderr(Level::error);
    for (const char* queue : queues) options.queues.push_back({queue});
    return options;
  }

  static constexpr int batch = 5;
  static constexpr std::array<const char*, batch> queues = {"q0", "q1", "q2", "q3", "q4"};

  std::unique_ptr<Servers> servers_;
  std::mutex mutex_;
  std::set<std::string> acknowledged_;  // Guarded by mutex_.
};

TEST_P(FailoverTest, AcknowledgedTasksOutliveTheirMaster) {
  Router router;
  router.handle("kind", [](Context&) { return Outcome::success(); });
  std::vector<std::unique_ptr<CountingStore>> stores;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 2; ++i) {
    stores.push_back(std::make_unique<CountingStore>(open(url())));
    workers.push_back(std::make_unique<Worker>(*stores.back(), router, worker_options()));
    workers.back()->start();
  }
  {
    std::vector<std::jthread> producers;
    for (int i = 0; i < 2; ++i)
      producers.emplace_back([this, i](const std::stop_token& stop) { produce(i, stop); });
    int kills = GetParam().kills, hand_overs = GetParam().hand_overs;
    while (kills + hand_overs > 0) {
      const std::size_t before = acknowledged();
      ASSERT_TRUE(eventually([&] { return acknowledged() >= before + 100; })) << "no task gets in";
      wait_a_bit();
      const bool kill =
          chance(static_cast<std::size_t>(kills + hand_overs)) < static_cast<std::size_t>(kills);
      --(kill ? kills : hand_overs);
      ASSERT_TRUE(kill ? servers_->kill_master(chance(3)) : servers_->hand_over(chance(3)))
          << "the servers have elected no master";
    }
    const std::size_t before = acknowledged();
    ASSERT_TRUE(eventually([&] { return acknowledged() >= before + 100; })) << "no task gets in";
  }
  const auto store = open(url());
  Inspector inspector{*store};
  ASSERT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough));
  for (auto& worker : workers) worker->stop();

  const auto stored = tasks(inspector);
  std::size_t lost = 0, twice = 0;
  for (const std::string& id : acknowledged_) lost += stored.contains(id) ? 0U : 1U;
  std::map<std::string, int> accepted;
  for (const auto& each : stores) {
    for (const auto& [id, times] : each->accepted()) accepted[id] += times;
  }
  for (const auto& [id, times] : accepted) twice += times > 1 ? 1U : 0U;
  fmt::print("{} acknowledged, {} lost; {} accepted, {} of them twice\n", acknowledged_.size(), lost,
             accepted.size(), twice);
  for (const auto& [id, task] : stored) expect_one_success(inspector, task);
  EXPECT_EQ(twice, 0U);
  if (GetParam().waits) {
    EXPECT_EQ(lost, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Redis, FailoverTest,
                         ::testing::Values(Case{"sentinel_wait", false, true, 10, 10},
                                           Case{"cluster_wait", true, true, 10, 10},
                                           Case{"sentinel", false, false, 10, 10},
                                           Case{"cluster", true, false, 10, 10}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tidemill
