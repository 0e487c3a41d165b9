// How a worker makes single tasks of groups: its own thread for it, and what it does when that can't be.
#include <atomic>
#include <stdexcept>

#include <tidemill/error.hpp>

#include "refusal.hpp"
#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

/// The payloads in lines.
NewTask joined(std::span<const Task> tasks) {
  NewTask merged{.kind = "merged"};
  for (const Task& task : tasks) merged.payload += task.payload + '\n';
  return merged;
}

struct WorkerGroups : WorkerTest {
  WorkerGroups() {
    router.handle("merged", [this](Context& context) {
      const std::lock_guard lock{mutex};
      payloads.push_back(context.task().payload);
      return Outcome::success();
    });
  }
  /// Merges groups of two.
  static WorkerOptions merging(Aggregator aggregate = {}) {
    WorkerOptions options = quick();
    options.poll = 5ms;
    Aggregation rule{.size_max = 2, .grace = 1h};
    rule.aggregate = aggregate ? std::move(aggregate)
                               : [](std::string_view, std::span<const Task> tasks) { return joined(tasks); };
    options.groups.push_back(std::move(rule));
    return options;
  }
  void add(const std::string& payload, const std::string& group = "g", const std::string& queue = "default") {
    enqueue("part", {.queue = queue, .group = group}, payload);
  }
  std::vector<std::string> ran() {
    const std::lock_guard lock{mutex};
    return payloads;
  }
  std::uint64_t waiting(State state, const std::string& queue = "default") {
    for (QueueInfo& info : catalog.queues(clock.call())) {
      if (info.name == queue) return info.counts[state];
    }
    return 0;
  }

  std::mutex mutex;
  std::vector<std::string> payloads;
};

TEST_F(WorkerGroups, AGroupBecomesOneTask) {
  start(merging());
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_EQ(ran(), std::vector<std::string>{"a\nb\n"});
  EXPECT_EQ(waiting(State::aggregating), 0U);
}

TEST_F(WorkerGroups, AGroupThatIsNotDueWaits) {
  add("a", "x");
  add("b", "y");
  add("c", "y");
  start(merging());
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_EQ(ran(), std::vector<std::string>{"b\nc\n"});
  EXPECT_EQ(waiting(State::aggregating), 1U);
}

TEST_F(WorkerGroups, TheAggregatorSeesGroupAndTasks) {
  std::string seen;
  start(merging([&](std::string_view group, std::span<const Task> tasks) {
    const std::lock_guard lock{mutex};
    seen = std::string{group}.append("/").append(tasks[0].kind).append("/").append(tasks[0].group);
    return joined(tasks);
  }));
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  const std::lock_guard lock{mutex};
  EXPECT_EQ(seen, "g/part/g");
}

TEST_F(WorkerGroups, ManyGroupsAreAllMerged) {
  constexpr int count = 300;
  std::vector<NewTask> tasks;
  for (int i = 0; i < count; ++i) {
    for (const char* part : {"a", "b"})
      tasks.push_back({.kind = "part", .payload = part, .options = {.group = std::to_string(i)}});
  }
  client.enqueue_all(tasks);
  start(merging());
  ASSERT_TRUE(eventually([&] { return ran().size() == count; }));
  EXPECT_EQ(waiting(State::aggregating), 0U);
  EXPECT_LT(store.calls(Verb::settle), count) << "quick aggregators share the calls of the store";
}

TEST_F(WorkerGroups, TheMergedTaskIsOfTheGroupsQueue) {
  WorkerOptions options = merging();
  options.groups[0].queue = "parts";
  start(options);
  add("a", "g", "parts");
  add("b", "g", "parts");
  ASSERT_TRUE(eventually([&] { return waiting(State::pending, "parts") == 1; }));
  EXPECT_TRUE(ran().empty()) << "the worker merges the queue, and does not serve it";
}

TEST_F(WorkerGroups, WhatCannotBeMergedIsTriedAgainAfterAWhile) {
  std::atomic<int> tries{0};
  start(merging([&](std::string_view, std::span<const Task> tasks) {
    if (tries++ == 0) throw std::runtime_error{"not now"};
    return joined(tasks);
  }));
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return tries == 1; }));
  EXPECT_TRUE(eventually([&] { return lines.count("error=not now pause_ms=1000") == 1; }));
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_EQ(tries, 2);
  EXPECT_EQ(ran(), std::vector<std::string>{"a\nb\n"});
}

TEST_F(WorkerGroups, ATaskThatCannotBeIsTheAggregatorsFailure) {
  start(merging([&](std::string_view group, std::span<const Task> tasks) {
    NewTask merged = joined(tasks);
    if (group == "kind") merged.kind.clear();
    if (group == "again") merged.options.group = "g";
    if (group == "id") merged.options.id = "there";
    return merged;
  }));
  enqueue("part", {.id = "there", .delay = 1h});
  for (const char* group : {"kind", "again", "id"}) {
    add("a", group);
    add("b", group);
  }
  EXPECT_TRUE(eventually([&] { return lines.count("group=kind tasks=2 error=the kind is empty") >= 1; }));
  EXPECT_TRUE(eventually([&] { return lines.count("can't wait in a group itself") >= 1; }));
  EXPECT_TRUE(eventually([&] { return lines.count("a task with its id is there") >= 1; }));
  worker->stop();
  EXPECT_EQ(waiting(State::aggregating), 6U);
  EXPECT_TRUE(ran().empty());
}

TEST_F(WorkerGroups, ASlowAggregatorDelaysNoTask) {
  std::atomic<bool> inside{false};
  router.handle("plain", [](Context&) { return Outcome::success(); });
  start(merging([&](std::string_view, std::span<const Task> tasks) {
    inside = true;
    gate.wait();
    return joined(tasks);
  }));
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return inside.load(); }));
  EXPECT_TRUE(becomes(enqueue("plain"), State::gone));
  gate.open();
  EXPECT_TRUE(eventually([&] { return !ran().empty(); }));
}

TEST_F(WorkerGroups, ALateEndIsRefusedAndTheGroupComesAgain) {
  std::atomic<int> tries{0};
  WorkerOptions options = merging([&](std::string_view, std::span<const Task> tasks) {
    if (tries++ == 0) gate.wait();
    return joined(tasks);
  });
  options.groups[0].timeout = 50ms;
  start(options);
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return tries == 1; }));
  // The sweeper takes it back while the aggregator is still at it.
  ASSERT_TRUE(eventually([&] { return !catalog.groups("default", "", 10, clock.call()).empty(); }));
  gate.open();
  EXPECT_TRUE(eventually([&] { return lines.count("its lease is lost") == 1; }));
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_EQ(waiting(State::aggregating), 0U);
  EXPECT_EQ(ran().size(), 1U);
}

TEST_F(WorkerGroups, LostAnswersMakeNoSecondTask) {
  store.fail(Verb::gather, Fault::after, 1);
  store.fail(Verb::settle, Fault::after, 1);
  start(merging());
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_TRUE(eventually([&] { return store.calls(Verb::settle) == 2; }));
  EXPECT_EQ(waiting(State::aggregating), 0U);
  EXPECT_EQ(ran().size(), 1U);
}

TEST_F(WorkerGroups, AStoreThatIsAwayIsAskedAgain) {
  store.fail(Verb::gather, Fault::before);
  start(merging());
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return lines.count("can't gather groups") == 1; }));
  store.heal();
  EXPECT_TRUE(eventually([&] { return !ran().empty(); }));
  EXPECT_TRUE(eventually([&] { return lines.count("can gather groups again") == 1; }));
}

TEST_F(WorkerGroups, QuietGathersNothing) {
  start(merging()).quiet();
  const int gathers = store.calls(Verb::gather);
  const int beats = store.calls(Verb::renew);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) >= beats + 3; }));
  EXPECT_LE(store.calls(Verb::gather), gathers + 1) << "one may have been under way";
  add("a");
  add("b");
  worker->resume();
  EXPECT_TRUE(eventually([&] { return !ran().empty(); }));
}

TEST_F(WorkerGroups, StopWaitsForTheAggregator) {
  std::atomic<bool> inside{false};
  start(merging([&](std::string_view, std::span<const Task> tasks) {
    inside = true;
    gate.wait();
    return joined(tasks);
  }));
  for (const char* group : {"x", "y"}) {
    add("a", group);
    add("b", group);
  }
  ASSERT_TRUE(eventually([&] { return inside.load(); }));
  std::thread stopping{[&] { worker->stop(); }};
  ASSERT_TRUE(eventually([&] { return worker->info().state == "stopping"; }));
  gate.open();
  stopping.join();
  EXPECT_EQ(waiting(State::pending), 1U) << "what was merged is there, to run elsewhere";
  EXPECT_EQ(waiting(State::aggregating), 2U);
  EXPECT_EQ(catalog.groups("default", "", 10, clock.call()).size(), 1U) << "and the other group is free";
}

TEST_F(WorkerGroups, AnAggregatorThatNeverReturnsIsLeftBehind) {
  // By the thread that is left behind, until the test's end.
  auto forever = std::make_shared<Gate>();
  auto inside = std::make_shared<std::atomic<bool>>(false);
  auto returned = std::make_shared<std::atomic<bool>>(false);
  WorkerOptions options = merging([=](std::string_view, std::span<const Task> tasks) {
    *inside = true;
    forever->wait();
    *returned = true;
    return joined(tasks);
  });
  options.shutdown_timeout = 1ms;
  start(options);
  add("a");
  add("b");
  ASSERT_TRUE(eventually([&] { return inside->load(); }));
  worker->stop();
  EXPECT_EQ(lines.count("left threads behind"), 1U);
  worker.reset();
  const int settles = store.calls(Verb::settle);
  forever->open();
  EXPECT_TRUE(eventually([&] { return returned->load(); }));
  EXPECT_EQ(waiting(State::aggregating), 2U);
  EXPECT_EQ(store.calls(Verb::settle), settles) << "it doesn't touch the store any more";
}

TEST_F(WorkerGroups, RulesThatMakeNoSenseAreRefused) {
  const auto refused = [&](const std::function<void(WorkerOptions&)>& spoil,
                           ErrorKind kind = ErrorKind::invalid) {
    WorkerOptions options = merging();
    spoil(options);
    return refusal([&] { const Worker made{store, router, options}; }, kind);
  };
  EXPECT_NE(refused([](auto& o) { o.groups.push_back(o.groups[0]); }).find("two rules"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].aggregate = {}; }).find("aggregate is empty"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].size_max = 1001; }).find("1000"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].delay_max = -1s; }).find("delay_max"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].grace = -1s; }).find("grace"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].timeout = 0s; }).find("timeout"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.groups[0].queue = ""; }).find("queue is empty"), std::string::npos);
  store.has_groups = false;
  EXPECT_NE(refused([](auto&) {}, ErrorKind::unsupported).find("can't gather groups"), std::string::npos);
}

}  // namespace

}  // namespace tidemill::tests
