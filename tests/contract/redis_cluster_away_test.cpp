// What the other nodes of a cluster go on with while one is away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "contract/redis_cluster_fixture.hpp"
#include "drivers/redis/client.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using redis_store::shared_key;
using tests::RedisClusterStoreTest;
using tidemill::testing::eventually;
using tidemill::testing::RedisServer;

/// One node at a time stands still, its replica does not take its place, and the others go on without it.
class RedisClusterAwayTest : public RedisClusterStoreTest {
 protected:
  void SetUp() override {
    RedisClusterStoreTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    configure("yes", "no");
    for (const std::size_t node : {0U, 1U, 2U}) queues_.push_back(queue_on(node));
  }
  void TearDown() override {
    if (!IsSkipped()) configure("no", "yes");
  }
  static void configure(std::string_view stays_replica, std::string_view whole_only) {
    for (std::size_t i = 0; i < 6; ++i) {
      const auto set = [&](std::string_view name, std::string_view value) {
        EXPECT_EQ(cluster().exec(i, redis::Command{"CONFIG"}.add("SET").add(name).add(value)).text, "OK");
      };
      set("cluster-replica-no-failover", stays_replica);
      set("cluster-require-full-coverage", whole_only);
    }
  }
  /// A task of each queue.
  std::vector<Lease> claim_all(const std::string& id) {
    std::vector<Task> tasks;
    std::vector<Want> wants;
    for (const std::string& queue : queues_) {
      tasks.push_back(task(id, queue));
      wants.push_back({queue, 10});
    }
    for (const Enqueued& answer : store_->enqueue(tasks, call())) EXPECT_EQ(answer.put, Put::created);
    return store_->claim({.worker = "w", .wants = wants, .count_max = 10, .lease = 25s}, call()).leases;
  }
  /// The store's clock may be on the node that will stand still, so it is read before.
  Call call_before(Duration later = {}) {
    Call made = call();
    made.now += later;
    return made;
  }
  static Call brief(Call made) {
    made.deadline = std::chrono::steady_clock::now() + 5s;
    return made;
  }
  class Frozen {
   public:
    explicit Frozen(const RedisServer& node) : node_(node) { node_.freeze(); }
    ~Frozen() { node_.thaw(); }
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;

   private:
    const RedisServer& node_;
  };

  std::vector<std::string> queues_;
};

// Why: while one node is away, workers must not lose the leases that others keep, nor take those on it for
// lost. How: renew leases on all nodes, for so long that it can be seen, while each stands still in turn.
TEST_F(RedisClusterAwayTest, LeasesOnOtherNodesAreRenewed) {
  const WorkerInfo worker{.id = "w", .host = "host", .state = "running"};
  for (std::size_t away = 0; away < 3; ++away) {
    const auto leases = claim_all(fmt::format("t{}", away));
    ASSERT_EQ(leases.size(), 3U);
    std::vector<Beat> beats;
    for (const Lease& lease : leases) beats.push_back({.lease = &lease});
    const Call renews = call_before();
    std::optional<Frozen> frozen{std::in_place, master(away)};
    const Renewed renewed = store_->renew(worker, beats, 1h, {}, brief(renews));
    EXPECT_NE(renewed.now, TimePoint{});
    for (std::size_t i = 0; i < beats.size(); ++i) {
      const Ref& ref = leases[i].task.ref;
      const bool reached = ref.queue != queues_[away];
      EXPECT_EQ(renewed.leases.at(i), reached ? Signal::none : Signal::unknown) << ref.queue;
      if (!reached) continue;
      const std::string until = ask("ZSCORE", redis_store::queue_prefix(ref.queue) + "lease", {ref.id}).text;
      EXPECT_GT(std::stoll(until),
                std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()) + 1800);
    }
    frozen.reset();
    EXPECT_TRUE(eventually([&] {
      const auto again = store_->renew(worker, beats, 1h, {}, brief(call())).leases;
      return std::ranges::all_of(again, [](Signal signal) { return signal == Signal::none; });
    }));
  }
}

// Why: dead workers' tasks on other nodes must run again while the node is away that has the register of
// queues. How: sweep leases that have run out on all nodes, while each stands still in turn.
TEST_F(RedisClusterAwayTest, QueuesOnOtherNodesAreSwept) {
  for (std::size_t away = 0; away < 3; ++away) {
    const std::string id = fmt::format("t{}", away);
    ASSERT_EQ(claim_all(id).size(), 3U);
    if (away == 0) store_->sweep("s", 25s, 100, call());  // The queues are known.
    Call sweeps = call_before();
    std::optional<Frozen> frozen{std::in_place, master(away)};
    const std::set<std::string> others = {queues_[(away + 1) % 3], queues_[(away + 2) % 3]};
    std::set<std::string> taken;
    const auto sweep = [&] {
      sweeps.now += 1h;  // What was taken by a call before, whose answer is lost, is taken again.
      sweeps.number = ++calls_;
      for (const Lease& lease : store_->sweep("s", 25s, 100, brief(sweeps)).taken) {
        if (lease.task.ref.id == id) taken.insert(lease.task.ref.queue);
      }
      return taken == others;
    };
    EXPECT_TRUE(eventually(sweep)) << fmt::format("{}", fmt::join(taken, " "));
    frozen.reset();
    EXPECT_TRUE(eventually([&] {
      return cluster().exec(0, redis::Command{"CLUSTER"}.add("INFO")).text.find("cluster_slots_ok:16384") !=
             std::string::npos;
    }));
  }
}

// Why: a node that is away must not keep workers from the other nodes' queues. How: kill one that has no
// register of queues, and look at its queue and then at another's, before anybody can have taken its place.
TEST_F(RedisClusterAwayTest, QueuesAreServedWhileAnothersNodeIsAway) {
  const std::size_t names = node_of(redis_store::queues_key), shared = node_of(shared_key("schedules"));
  std::size_t away = 0;
  while (away == names || away == shared) ++away;
  const std::string lame = queue_on(away, "a"), well = queue_on(names, "b");
  const std::vector<Want> wants = {{lame, 10}, {well, 10}};
  const auto claimed = [&](Call at) {
    at.deadline = std::chrono::steady_clock::now() + 1s;
    return store_->claim({.worker = "w", .wants = wants, .count_max = 10, .lease = 25s}, at).leases.size();
  };
  const std::vector<Task> first = {task("a", lame), task("b", well)};
  const std::vector<Task> second = {task("c", lame), task("d", well)};
  store_->enqueue(first, call());
  EXPECT_EQ(claimed(call()), 2U);
  store_->enqueue(second, call());
  Call later = call();
  later.now += 1h;
  RedisServer& node = master(away);
  node.stop();
  EXPECT_EQ(claimed(later), 1U);
  later.number = ++calls_;
  EXPECT_THROW(claimed(later), Error) << "there is nothing else, so it is said";
  later.number = ++calls_;
  later.deadline = std::chrono::steady_clock::now() + 1s;
  EXPECT_EQ(store_->sweep("s", 25s, 10, later).taken.size(), 1U);
  node.start();
}

}  // namespace

}  // namespace tidemill
