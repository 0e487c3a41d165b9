// What only a cluster can meet: queues on several nodes, slots that move, and firings that are left in the
// midst.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/locks.hpp>
#include <tidemill/store.hpp>

#include "contract/redis_cluster_fixture.hpp"
#include "drivers/redis/client.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using redis_store::pending_key;
using redis_store::shared_key;
using ::testing::Each;
using ::testing::ElementsAre;
using tests::RedisClusterStoreTest;
using tidemill::testing::eventually;

// Why: a queue is on one node of a cluster, and every script keeps to it. How: tasks of many queues, all
// verbs.
TEST_F(RedisClusterStoreTest, QueuesSpreadOverTheNodes) {
  std::vector<Task> tasks;
  for (int i = 0; i < 200; ++i) {
    tasks.push_back(task(fmt::format("t{}", i), fmt::format("q{}", i % 20)));
  }
  for (const Enqueued& answer : store_->enqueue(tasks, call()))
    ASSERT_EQ(answer.put, Put::created) << answer.why;
  EXPECT_EQ(store_->catalog()->queues(call()).size(), 20U);

  std::vector<std::string> queues;
  std::vector<Want> wants;
  for (int i = 0; i < 20; ++i) queues.push_back(fmt::format("q{}", i));
  for (const std::string& queue : queues) wants.push_back({queue, 200});
  const Claimed claimed =
      store_->claim({.worker = "w", .wants = wants, .count_max = 200, .lease = 25s}, call());
  ASSERT_EQ(claimed.leases.size(), 200U);
  std::vector<Beat> beats;
  std::vector<Report> reports;
  for (const Lease& lease : claimed.leases) {
    beats.push_back({.lease = &lease});
    reports.push_back({.lease = &lease, .tally = Tally::success});
  }
  const WorkerInfo worker{.id = "w", .host = "host", .state = "running"};
  EXPECT_THAT(store_->renew(worker, beats, 25s, {}, call()).leases, Each(Signal::none));
  EXPECT_EQ(store_->catalog()->workers(call()).size(), 1U);
  EXPECT_THAT(store_->report(reports, call()), Each(Reported::applied));
  EXPECT_EQ(store_->locks()->acquire("l", "me", 10s, call()).owner, "me");
}

/// A schedule on one node, and its queue on another.
class RedisClusterFiringTest : public RedisClusterStoreTest {
 protected:
  void SetUp() override {
    RedisClusterStoreTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    queue_ = queue_elsewhere();
    instant_ = store_->now();
    put_schedule({});
  }

  bool put_schedule(std::optional<TimePoint> expected, bool paused = false) {
    const PutSchedule put{{.id = "s", .rule = "{}", .paused = paused, .next = instant_}, expected};
    return store_->catalog()->put_schedules({&put, 1}, call()).at(0);
  }
  Task firing(const std::string& id) {
    Task one = task(id, queue_);
    one.firing = Firing{.schedule = "s", .instant = instant_, .next = instant_ + 1h};
    return one;
  }
  Put fire(const std::string& id, const Call& call) {
    const Task one = firing(id);
    return store_->enqueue({&one, 1}, call).at(0).put;
  }
  /// By another scheduler, so much later.
  Put fire_later(const std::string& id, Duration later = 3s) {
    Call later_call = call(2);
    later_call.now += later;
    return fire(id, later_call);
  }
  /// A firing that has begun, and whose queue takes no task.
  Call leave_begun(const std::string& id) {
    const redis::Command full = redis::Command{"CONFIG"}.add("SET").add("maxmemory").add("1");
    const redis::Command room = redis::Command{"CONFIG"}.add("SET").add("maxmemory").add("0");
    const std::size_t node = node_of(pending_key(queue_));
    const Call left = call();
    cluster().exec(node, full);
    EXPECT_EQ(fire(id, left), Put::failed);
    cluster().exec(node, room);
    EXPECT_FALSE(ask("HGET", schedules_ + ":firing", {"s"}).nil());
    return left;
  }
  std::int64_t enqueued() { return ask("LLEN", pending_key(queue_)).integer; }
  std::optional<StoredSchedule> schedule() {
    const auto all = store_->catalog()->schedules({}, call());
    return all.empty() ? std::nullopt : std::optional{all[0]};
  }
  void expect_fired_once() {
    EXPECT_EQ(enqueued(), 1);
    EXPECT_EQ(schedule()->next, instant_ + 1h);
    EXPECT_EQ(schedule()->last, instant_);
    EXPECT_EQ(ask("EXISTS", schedules_ + ":firing").integer, 0);
  }

  std::string queue_;
  const std::string schedules_ = shared_key("schedules");
  TimePoint instant_{};
};

// Why: rule 10, on two nodes. How: one call twice, then a late scheduler.
TEST_F(RedisClusterFiringTest, ARepeatedFiringIsAnsweredAsTheFirst) {
  const Call first = call();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(fire("a", first), Put::created) << i;
  EXPECT_EQ(fire_later("b"), Put::fired);
  expect_fired_once();
}

// Why: a scheduler may die before its task is enqueued; its instant must fire all the same, and once. How:
// leave one so; another scheduler waits a little, then fires; then the first comes back.
TEST_F(RedisClusterFiringTest, AFiringLeftBeforeItsTaskIsFiredByAnother) {
  const Call left = leave_begun("a");
  EXPECT_EQ(fire_later("b", 0s), Put::fired) << "it may still be at it";
  EXPECT_EQ(enqueued(), 0);
  EXPECT_EQ(fire_later("b"), Put::created);
  expect_fired_once();
  EXPECT_EQ(fire("a", left), Put::fired);
  expect_fired_once();
}

// Why: the same scheduler goes on where it was. How: leave one begun, and repeat the call, or make a new one.
TEST_F(RedisClusterFiringTest, AFiringIsContinuedByWhoHasBegunIt) {
  const Call left = leave_begun("a");
  EXPECT_EQ(fire("a", left), Put::created);
  expect_fired_once();
  instant_ += 1h;
  leave_begun("b");
  EXPECT_EQ(fire("c", call()), Put::created) << "its own session knows that nobody is at it";
  EXPECT_EQ(enqueued(), 2);
  EXPECT_EQ(schedule()->next, instant_ + 1h);
}

// Why: a scheduler may die when its task is enqueued and the schedule not yet moved on. How: put back what
// the schedule's node had then; another scheduler finds that it has fired.
TEST_F(RedisClusterFiringTest, AFiringLeftAfterItsTaskIsNotRepeated) {
  const Call left = leave_begun("a");
  const std::string before = ask("HGET", schedules_, {"s"}).text;
  const std::string next = ask("HGET", schedules_ + ":next", {"s"}).text;
  const std::string begun = ask("HGET", schedules_ + ":firing", {"s"}).text;
  EXPECT_EQ(fire("a", left), Put::created);
  const auto put_back = [&] {
    ask("HSET", schedules_, {"s", before});
    ask("HSET", schedules_ + ":next", {"s", next});
  };
  put_back();
  ask("HSET", schedules_ + ":firing", {"s", begun});
  EXPECT_EQ(fire_later("b"), Put::fired);
  expect_fired_once();
  // A failover of that node may lose all of it.
  put_back();
  EXPECT_EQ(fire_later("c"), Put::fired);
  expect_fired_once();
}

// Why: what an operator writes must not be undone by a firing that was left, nor be lost. How: pause, then
// erase, a schedule in the midst of one; then the scheduler comes back.
TEST_F(RedisClusterFiringTest, AScheduleThatIsFiringCanBeChanged) {
  const Call left = leave_begun("a");
  EXPECT_TRUE(put_schedule(instant_, true));
  EXPECT_EQ(fire("a", left), Put::fired);
  EXPECT_EQ(enqueued(), 0);
  EXPECT_TRUE(schedule()->paused);

  EXPECT_TRUE(put_schedule(instant_));
  leave_begun("b");
  const std::string id = "s";
  EXPECT_EQ(store_->catalog()->erase_schedules({&id, 1}, call()), 1U);
  EXPECT_FALSE(schedule());
  EXPECT_EQ(fire("b", left), Put::fired);
  EXPECT_EQ(enqueued(), 0);
}

TEST_F(RedisClusterFiringTest, AChangeFindsThatTheScheduleHasFired) {
  const Call left = leave_begun("a");
  const std::string begun = ask("HGET", schedules_ + ":firing", {"s"}).text;
  const std::string before = ask("HGET", schedules_, {"s"}).text;
  EXPECT_EQ(fire("a", left), Put::created);
  ask("HSET", schedules_, {"s", before});
  ask("HSET", schedules_ + ":firing", {"s", begun});
  EXPECT_FALSE(put_schedule(instant_, true)) << "read again";
  expect_fired_once();
}

// Why: a step may come so late that another scheduler has settled the firing. How: the queue's node stands
// still while one scheduler gives up on it; what it was sent is carried out beside another's firing, in
// whatever order.
TEST_F(RedisClusterFiringTest, ALateStepEnqueuesNoSecondTask) {
  for (int i = 0; i < 20; ++i) {
    cluster().node(node_of(pending_key(queue_))).freeze();
    Call first = call();
    first.deadline = std::chrono::steady_clock::now() + 50ms;
    const Task one = firing(fmt::format("a{}", i));
    const Put put = store_->enqueue({&one, 1}, first).at(0).put;
    EXPECT_THAT(put, ::testing::AnyOf(Put::unknown, Put::failed));
    cluster().node(node_of(pending_key(queue_))).thaw();
    ASSERT_TRUE(eventually([&] {
      fire_later(fmt::format("b{}", i));
      return schedule()->next > instant_;
    }));
    EXPECT_EQ(enqueued(), i + 1);
    instant_ += 1h;
  }
}

/// Waits for tasks of three queues, each on a node of its own.
class RedisClusterWaitTest : public RedisClusterStoreTest {
 protected:
  /// Claims until there is nothing new; then a thread waits until it has seen a task of the queue.
  std::future<bool> waiter(const std::string& queue) {
    return std::async(std::launch::async, [this, queue] {
      return eventually([&] {
        const std::vector<std::string_view> names{queues_.begin(), queues_.end()};
        return store_->wait("w", names, 30s, stop_.get_token()) == Wake::tasks && claimed(queue);
      });
    });
  }
  bool claimed(const std::string& queue) {
    std::vector<Want> wants;
    for (const std::string& each : queues_) wants.push_back({each, 10});
    try {
      const Claim claim{.worker = "w", .wants = wants, .count_max = 10, .lease = 25s};
      return std::ranges::any_of(store_->claim(claim, waits_call()).leases,
                                 [&](const Lease& lease) { return lease.task.ref.queue == queue; });
    } catch (const Error&) {
      return false;  // A failover may take longer than a call.
    }
  }
  Call waits_call() { return {.now = store_->now(), .session = 0, .number = 0, .deadline = {}}; }
  void expect_woken(std::future<bool> woken) {
    const bool in_time = woken.wait_for(30s) == std::future_status::ready;
    EXPECT_TRUE(in_time);
    stop_.request_stop();
    EXPECT_TRUE(woken.get());
    stop_ = {};
  }
  /// Whether redis-server says that a client of its tracks keys, and one for each node that does.
  std::size_t tracking_nodes() {
    std::size_t nodes = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const std::string info = cluster().exec(i, redis::Command{"INFO"}.add("clients")).text;
      nodes += info.find("tracking_clients:0") == std::string::npos ? 1U : 0U;
    }
    return nodes;
  }

  void SetUp() override {
    RedisClusterStoreTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (const std::size_t node : {0U, 1U, 2U}) queues_.push_back(queue_on(node));
  }

  std::vector<std::string> queues_;
  std::stop_source stop_;
};

// Why: a task starts in milliseconds on whichever node its queue is. How: wait for all three, and enqueue on
// each in turn, once each node has been heard to track.
TEST_F(RedisClusterWaitTest, EachNodesTasksWake) {
  for (int round = 0; round < 5; ++round) {
    for (const std::string& queue : queues_) {
      auto woken = waiter(queue);
      ASSERT_TRUE(eventually([&] { return tracking_nodes() == 3; }));
      const Task one = task(fmt::format("t{}", round), queue);
      EXPECT_EQ(store_->enqueue({&one, 1}, call()).at(0).put, Put::created);
      expect_woken(std::move(woken));
    }
  }
}

// Why: slots move while workers wait. How: move an empty queue's slot, tell nobody, and enqueue on the new
// node.
TEST_F(RedisClusterWaitTest, ASlotThatHasMovedIsFollowed) {
  const std::string& queue = queues_[0];
  const std::uint16_t slot = redis::slot_of(pending_key(queue));
  const auto move = [&](std::size_t from, std::size_t to) {
    cluster().start_moving(slot, from, to);
    for (const redis::Reply& key :
         cluster().exec(from, redis::Command{"CLUSTER"}.add("GETKEYSINSLOT").add(slot).add(100)).items)
      cluster().move_key(key.text, from, to);
    cluster().finish_moving(slot, from, to);
  };
  auto woken = waiter(queue);
  ASSERT_TRUE(eventually([&] { return tracking_nodes() == 3; }));
  move(0, 1);
  const auto other = open(cluster().url());
  const Task one = task("a", queue);
  EXPECT_EQ(other->enqueue({&one, 1}, call(2)).at(0).put, Put::created);
  expect_woken(std::move(woken));
  move(1, 0);
}

// Why: so is a failover, without a claim that would meet it. How: kill a node of three; its replica takes
// over.
TEST_F(RedisClusterWaitTest, AFailoverIsFollowed) {
  auto woken = waiter(queues_[2]);
  ASSERT_TRUE(eventually([&] { return tracking_nodes() == 3; }));
  cluster().node(2).stop();
  const auto other = open(cluster().url());
  const Task one = task("a", queues_[2]);
  ASSERT_TRUE(eventually([&] {
    const Put put = other->enqueue({&one, 1}, call(2)).at(0).put;
    return put == Put::created || put == Put::exists;
  }));
  expect_woken(std::move(woken));
  cluster().node(2).start();
}

}  // namespace

}  // namespace tidemill
