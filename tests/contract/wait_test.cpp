// Waking up. Waits are real ones: a test that expects one to return gives it long enough for any machine, and
// one that expects none only makes it short.
#include "contract.hpp"

#include <atomic>
#include <future>
#include <thread>

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

constexpr Duration long_enough = 20s;
constexpr Duration short_time = 30ms;

class WaitContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Wake wait(Duration timeout, std::string_view worker = "w1", std::string_view queue = "q",
            std::stop_token stop = {}) {
    return store().wait(worker, {&queue, 1}, timeout, std::move(stop));
  }
  /// Claims and waits until nothing that happened before is left to report, as hints may come late or twice.
  void settle(std::string_view worker = "w1", std::string_view queue = "q") {
    for (int i = 0; i < 50; ++i) {
      claim({.queues = {queue}, .most = 100, .worker = worker});
      if (wait(short_time, worker, queue) == Wake::timeout) return;
    }
    FAIL() << "it wakes for nothing, again and again";
  }
  /// Waits on a thread of its own, until the wait returns for `expected` and the cause was given: a hint may
  /// come for nothing before it.
  std::future<bool> waiter(Wake expected, std::string worker = "w1", std::stop_token stop = {}) {
    return std::async(std::launch::async,
                      [this, expected, worker = std::move(worker), stop = std::move(stop)] {
                        const auto deadline = std::chrono::steady_clock::now() + long_enough;
                        while (std::chrono::steady_clock::now() < deadline) {
                          if (wait(long_enough, worker, "q", stop) == expected && given_) return true;
                        }
                        return false;
                      });
  }
  /// `cause`, given when the other thread most likely waits already, must make it return.
  template <class Cause>
  void expect_wakes(Wake expected, const Cause& cause) {
    settle();
    given_ = false;
    auto woken = waiter(expected);
    woken.wait_for(short_time);
    given_ = true;
    cause();
    EXPECT_TRUE(woken.get());
  }

 private:
  std::atomic<bool> given_ = true;
};

// Why: a wait has an end. How: an empty store; also with no time at all.
TEST_P(WaitContract, Rule9_AWaitEndsAtItsTimeOut) {
  settle();  // Until one has ended so.
  EXPECT_NE(wait(0us), Wake::stopped);
}

// Why: a new task starts at once and not at the next poll. How: enqueue while another thread waits.
TEST_P(WaitContract, Rule9_ANewTaskWakes) {
  expect_wakes(Wake::tasks, [&] { put(task("a")); });
}

// Why: the waiter sleeps until the next task is due; one that is due sooner must wake it, so that it plans
// anew. How: enqueue a delayed task.
TEST_P(WaitContract, Rule9_ASoonerDueTimeWakes) {
  put(delayed("later", 1h));
  expect_wakes(Wake::tasks, [&] { put(delayed("sooner", 1s)); });
}

// Why: whatever makes a task claimable wakes: a report, an operator, a sweep, the end of a pause. How: each.
TEST_P(WaitContract, Rule9_AReportThatGivesBackWakes) {
  put(task("a"));
  const Lease lease = claim_one("other");
  expect_wakes(Wake::tasks, [&] { end(lease, State::pending); });
}

TEST_P(WaitContract, Rule9_ARetryWakes) {
  put(task("a"));
  const Lease lease = claim_one("other");
  expect_wakes(Wake::tasks, [&] { end(lease, State::retry); });
}

TEST_P(WaitContract, Rule9_AFollowingTaskWakes) {
  put(task("a", "elsewhere"));
  const Claimed claimed = claim({.queues = {"elsewhere"}, .worker = "other"});
  Report done = outcome(claimed.leases.at(0), State::gone);
  done.then = {task("b")};
  expect_wakes(Wake::tasks, [&] { end(done); });
}

TEST_P(WaitContract, Rule9_AResumedTaskWakes) {
  put(task("a", "q", State::held));
  expect_wakes(Wake::tasks, [&] { change("a", {.from = State::held, .to = State::pending}); });
}

TEST_P(WaitContract, Rule9_APromotionBySweepWakes) {
  put(delayed("a", 10s));
  settle();
  advance(10s);
  auto woken = waiter(Wake::tasks);
  sweep();
  EXPECT_TRUE(woken.get());
}

TEST_P(WaitContract, Rule9_TheEndOfAPauseWakes) {
  catalog().pause("q", true, call());
  put(task("a"));
  expect_wakes(Wake::tasks, [&] { catalog().pause("q", false, call()); });
}

// Why: a task of another queue is none of its business; waking all for everything is a herd. How: enqueue
// elsewhere, then here, and see which one it returned for. A store may wake for nothing, but not always.
TEST_P(WaitContract, Rule9_AnotherQueuesTasksDoNotKeepItAwake) {
  settle();
  put(task("a", "other"));
  int woken = 0;
  for (int i = 0; i < 5; ++i) woken += wait(short_time) == Wake::tasks ? 1 : 0;
  EXPECT_LE(woken, 1);
}

// Why: no wake-up is lost between a claim that found nothing and the wait that follows. How: enqueue in
// between; the wait must return at once and not at its time-out.
TEST_P(WaitContract, Rule9_ATaskBetweenClaimAndWaitIsNoticed) {
  for (int round = 0; round < 20; ++round) {
    settle();
    put(task("t" + std::to_string(round)));
    EXPECT_TRUE(waiter(Wake::tasks).get());
    EXPECT_EQ(claim({}).leases.size(), 1U);
  }
}

// Why: the same, for any moment: a producer that is as fast as the worker. How: two threads, a thousand tasks
// one by one; the worker waits whenever a claim finds nothing, and a lost wake-up would show as a time-out.
TEST_P(WaitContract, Rule9_NoWakeUpIsLostInARace) {
  constexpr std::size_t count = 1000;
  std::atomic<std::size_t> done{0};
  std::thread producer([&] {
    for (std::size_t i = 0; i < count; ++i) {
      put(task("t" + std::to_string(i)));
      while (done.load() <= i && i % 3 == 0) std::this_thread::yield();
    }
  });
  bool timed_out = false;
  while (done.load() < count) {
    const Claimed claimed = claim({.most = 10});
    std::vector<Report> reports;
    for (const Lease& lease : claimed.leases) reports.push_back(outcome(lease, State::gone));
    store().report(reports, call());
    done += reports.size();
    if (!reports.empty() || done.load() >= count) continue;
    timed_out = timed_out || wait(long_enough) == Wake::timeout;
  }
  producer.join();
  EXPECT_FALSE(timed_out);
}

// Why: cancel takes milliseconds and not a beat. How: signal a task that the waiting worker holds; its next
// renew brings the signal.
TEST_P(WaitContract, Port_ASignalForALeaseWakesItsHolder) {
  put(task("a"));
  const Lease lease = claim_one("w1");
  beat({.lease = &lease});
  expect_wakes(Wake::signals, [&] {
    change("a", {.from = State::active, .to = State::archived, .signal = Signal::cancel});
  });
  EXPECT_EQ(beat({.lease = &lease}), Signal::cancel);
}

// Why: a worker renews young leases less often, and a renewal that leaves one out must not take its signal
// for told. How: renew without the lease between signal and wait.
TEST_P(WaitContract, Port_ASignalForALeaseOutlivesARenewalWithoutIt) {
  put(task("a"));
  const Lease lease = claim_one("w1");
  beat({.lease = &lease});
  settle();
  change("a", {.from = State::active, .to = State::archived, .signal = Signal::cancel});
  beat_worker(worker("w1"));
  EXPECT_TRUE(waiter(Wake::signals).get());
  EXPECT_EQ(beat({.lease = &lease}), Signal::cancel);
}

// Why: the same for the worker. How: tell it to go quiet, once while it waits and once before.
TEST_P(WaitContract, Port_ASignalForTheWorkerWakesIt) {
  beat_worker(worker("w1"));
  expect_wakes(Wake::signals, [&] { catalog().signal("w1", Signal::quiet, call()); });
  EXPECT_EQ(beat_worker(worker("w1")), Signal::quiet);
  settle();
  catalog().signal("w1", Signal::resume, call());
  EXPECT_TRUE(waiter(Wake::signals).get());
  EXPECT_EQ(beat_worker(worker("w1")), Signal::resume);
}

// Why: shutdown must not wait for a time-out. How: stop while it waits, and before.
TEST_P(WaitContract, Rule9_AStopRequestEndsTheWait) {
  settle();
  std::stop_source source;
  auto stopped = waiter(Wake::stopped, "w1", source.get_token());
  EXPECT_EQ(stopped.wait_for(short_time), std::future_status::timeout);
  source.request_stop();
  EXPECT_TRUE(stopped.get());
  EXPECT_TRUE(waiter(Wake::stopped, "w1", source.get_token()).get());
}

// Why: many workers wait on one store, and each must hear of its own. How: one waiter a worker, one task for
// all.
TEST_P(WaitContract, Rule9_EveryWaiterOfTheQueueIsWoken) {
  std::vector<std::future<bool>> woken;
  for (const char* name : {"w1", "w2", "w3"}) settle(name);
  for (const char* name : {"w1", "w2", "w3"}) woken.push_back(waiter(Wake::tasks, name));
  put(task("a"));
  for (auto& each : woken) EXPECT_TRUE(each.get());
}

INSTANTIATE_TEST_SUITE_P(Stores, WaitContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
