// Groups that either side fills and either side merges.
#include <map>
#include <sstream>

#include <tidemill/groups.hpp>

#include "ours.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

class GroupsOfBoth : public OursAndGo {
 protected:
  /// Ours makes of a group's payloads one task of kind "merged"; Go's server one of type "aggregated".
  static NewTask joined(std::string_view, std::span<const Task> tasks) {
    NewTask merged{.kind = "merged"};
    for (const Task& task : tasks) merged.payload += (merged.payload.empty() ? "" : "\n") + task.payload;
    return merged;
  }
  static WorkerOptions merging(std::size_t size_max, Duration grace = 1h) {
    WorkerOptions options = quick();
    options.groups = {{.aggregate = &joined, .size_max = size_max, .grace = grace}};
    return options;
  }
  std::vector<TaskSet> gather(std::size_t size_max, Duration lease = length) {
    const std::string_view queue = "default";
    return store()
        .groups()
        ->gather({.worker = "ours",
                  .queues = {&queue, 1},
                  .rule = {.size_max = size_max, .grace = 1h},
                  .lease = lease},
                 call())
        .sets;
  }
  Reported merge(const TaskSet& set) {
    Settle end{.set = &set};
    Task merged;
    merged.ref = {"default", "merged"};
    merged.kind = "merged";
    end.merged = merged;
    return store().groups()->settle({&end, 1}, call()).at(0);
  }
  /// What our worker has run of this kind.
  std::vector<std::string> payloads_of(std::string_view kind) {
    std::vector<std::string> payloads;
    for (const Run& run : runs()) {
      if (run.task.kind == kind) payloads.push_back(run.task.payload);
    }
    return payloads;
  }
  /// Nothing of any group or its tasks is left.
  void expect_no_trace() {
    EXPECT_FALSE(raw().exists(key("default", "groups")));
    EXPECT_FALSE(raw().exists(key("default", "g:g")));
    EXPECT_FALSE(raw().exists(key("default", "aggregation_sets")));
    EXPECT_TRUE(eventually([&] { return raw().exec({"KEYS", key("default", "t:*")}).items.empty(); }));
    EXPECT_TRUE(raw().exec({"KEYS", key("default", "unique:*")}).items.empty());
  }
};

TEST_F(GroupsOfBoth, WeMergeWhatGoPutsIn) {
  start_worker(merging(2));
  GoProgram go{"client", redis()};
  go_enqueue(go, {{"type", "email"}, {"payload", "a"}, {"group", "g"}, {"unique_ms", 3'600'000}});
  EXPECT_EQ(inspector().groups("default").at(0).name, "g");
  EXPECT_EQ(inspector().groups("default").at(0).size, 1U);
  go_enqueue(go, {{"type", "email"}, {"payload", "b"}, {"group", "g"}, {"headers", {{"k", "v"}}}});
  ASSERT_TRUE(eventually([&] { return !payloads_of("merged").empty(); }));
  const auto merged = payloads_of("merged").at(0);
  EXPECT_TRUE(merged == "a\nb" || merged == "b\na") << merged;
  expect_no_trace();
}

TEST_F(GroupsOfBoth, GoMergesWhatWePutIn) {
  GoProgram server{"server", redis(), {"-groups", "-group-max-size", "2"}};
  enqueue("a", {.unique = Unique{.key = "mine"}, .group = "g"});
  enqueue("b", {.group = "g"});
  EXPECT_EQ(server.event("aggregate").at("count"), 2);
  const json::value payload = server.event("start").at("payload");
  EXPECT_TRUE(payload == "a\nb" || payload == "b\na") << payload;
  EXPECT_TRUE(eventually([&] { return inspector().tasks(TaskQuery{}).tasks.empty(); }));
}

// Each task's payload must be in one merged task, whoever made and ran that.
TEST_F(GroupsOfBoth, BothMergeTheSameGroupsAndNoTaskTwice) {
  constexpr int of_each = 60;
  GoProgram server{"server", redis(), {"-groups", "-group-max-size", "5", "-group-grace", "1s"}};
  GoProgram go{"client", redis()};
  start_worker(merging(5, 1s));
  for (int i = 0; i < of_each; ++i) {
    const std::string group = "g" + std::to_string(i % 4);
    enqueue("ours" + std::to_string(i), {.group = group});
    go_enqueue(go, {{"type", "email"}, {"payload", "gos" + std::to_string(i)}, {"group", group}});
  }
  const auto nothing_left = [&] {
    const auto queues = inspector().queues();
    for (const auto& [state, count] : queues.at(0).counts) {
      if (count > 0) return false;
    }
    return true;
  };
  ASSERT_TRUE(eventually(nothing_left));
  EXPECT_EQ(server.stop(), 0);
  std::map<std::string, int> times;
  const auto count = [&](const std::string& payload) {
    std::istringstream lines{payload};
    for (std::string line; std::getline(lines, line);) ++times[line];
  };
  for (const Run& run : runs()) count(run.task.payload);
  for (json::object event = server.line(); event.at("event") != "stopped"; event = server.line()) {
    if (event.at("event") == "start") count(std::string{event.at("payload").as_string()});
  }
  EXPECT_EQ(times.size(), 2U * of_each);
  for (const auto& [payload, number] : times) EXPECT_EQ(number, 1) << payload;
  expect_no_trace();
}

// Our worker dies between gather and settle, and only Go's servers are left: they must find the group, though
// theirs forget to name it when they take a set back.
TEST_F(GroupsOfBoth, GoTakesBackWhatWeGathered) {
  enqueue("a", {.group = "g"});
  enqueue("b", {.group = "g"});
  const std::vector<TaskSet> sets = gather(2);
  ASSERT_EQ(sets.size(), 1U);
  const std::string set = raw().scores(key("default", "aggregation_sets")).begin()->first;
  EXPECT_EQ(set, key("default", "g:g:" + sets[0].token));
  {
    GoProgram inspect{"inspect", redis()};
    EXPECT_EQ(inspect.inspect({"queue", "default"}).at("aggregating"), 0) << "Go counts no tasks of sets";
    EXPECT_EQ(inspect.inspect({"groups", "default"}), (json::value{{"g", 0}}));
    EXPECT_EQ(inspect.inspect({"task", "default", json::string{sets[0].tasks[0].ref.id}}).at("state"),
              "aggregating");
  }
  raw().integer({"ZADD", key("default", "aggregation_sets"), "XX", "CH",
                 fmt::format("{}", seconds_of(now() - 1min)), set});
  // Go's recoverer looks at its start, and then once a minute.
  GoProgram server{"server", redis(), {"-groups", "-group-max-size", "2"}};
  EXPECT_EQ(server.event("aggregate").at("count"), 2);
  EXPECT_EQ(merge(sets[0]), Reported::lost);
  server.event("end");
  expect_no_trace();
}

// Go's server dies in its aggregator.
TEST_F(GroupsOfBoth, WeTakeBackWhatGoGathered) {
  enqueue("a", {.group = "g"});
  enqueue("b", {.group = "g"});
  {
    GoProgram server{"server", redis(), {"-groups", "-group-max-size", "2", "-aggregation", "10m"}};
    server.event("aggregate");
    server.stop(SIGKILL);
  }
  const auto sets = raw().scores(key("default", "aggregation_sets"));
  ASSERT_EQ(sets.size(), 1U);
  const TimePoint end{std::chrono::seconds{std::stoll(sets.begin()->second)}};
  EXPECT_FALSE(raw().exists(key("default", "groups"))) << "Go has gathered the whole group";
  store().sweep("ours", length, 10, {.now = end - 1us});
  EXPECT_TRUE(inspector().groups("default").empty());
  EXPECT_EQ(inspector().queues().at(0).counts.at(State::aggregating), 2U);
  EXPECT_EQ(inspector().tasks({.filter = {.group = "g"}}).tasks.size(), 2U);
  store().sweep("ours", length, 10, {.now = end});
  EXPECT_EQ(inspector().groups("default").at(0).size, 2U);
  start_worker(merging(2));
  EXPECT_TRUE(eventually([&] { return payloads_of("merged").size() == 1; }));
  expect_no_trace();
}

// Go's forwarder takes a group's task that was run, and failed, back to its group, and forgets to name it.
TEST_F(GroupsOfBoth, WhatWeRunFailsOutsideItsGroup) {
  const std::string id = enqueue("fail once", {.group = "g"});
  EXPECT_EQ(inspector().act(Act::run, Ref{"default", id}), Changed::changed);
  EXPECT_FALSE(raw().exists(key("default", "groups")));
  start_worker();
  ASSERT_TRUE(becomes("default", id, "retry"));
  EXPECT_FALSE(raw().exec({"HEXISTS", task_key("default", id), "group"}).integer != 0);
  EXPECT_EQ(inspector().task({"default", id})->group, "g") << "it is known whence it came";
}

}  // namespace
}  // namespace tidemill::testing
