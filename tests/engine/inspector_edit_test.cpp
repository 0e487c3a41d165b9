// The inspector: tasks edited, put off and moved, one by one and all that match.
#include <gtest/gtest.h>

#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/testing.hpp>

#include "refusal.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using tests::refusal;

class InspectorEditTest : public ::testing::Test {
 protected:
  std::string add(const EnqueueOptions& options = {}, std::string_view kind = "work") {
    return client.enqueue(kind, "payload", options).id;
  }
  Task task(const std::string& id, const std::string& queue = "default") {
    return inspector.task({queue, id}).value();
  }

  testing::FakeClock clock;
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Client client{*store};
  Inspector inspector{*store};
};

TEST_F(InspectorEditTest, WhatIsNotSaidStays) {
  const std::string id = add({.priority = 3, .retries_max = 7, .timeout = 1h, .headers = {{"a", "1"}}});
  EXPECT_EQ(inspector.edit({"default", id}, [](NewTask& task) { task.options.priority = 5; }),
            Changed::changed);
  const Task after = task(id);
  EXPECT_EQ(after.priority, 5);
  EXPECT_EQ(after.retries_max, 7);
  EXPECT_EQ(after.timeout, 1h);
  EXPECT_EQ(after.payload, "payload");
  EXPECT_EQ(after.headers.at("a"), "1");
}

// How: what an edit has no say in is set all the same.
TEST_F(InspectorEditTest, OnlyWhatMayBeEditedCounts) {
  const std::string id = add({.unique = Unique{.key = "k"}});
  EXPECT_EQ(inspector.edit({"default", id},
                           [](NewTask& task) {
                             task.options.queue = "";
                             task.options.id = "other";
                             task.options.delay = -1h;
                             task.options.held = true;
                             task.options.group = "g";
                             task.options.unique.reset();
                             task.payload = "new";
                           }),
            Changed::changed);
  const Task after = task(id);
  EXPECT_EQ(after.payload, "new");
  EXPECT_EQ(after.state, State::pending);
  EXPECT_EQ(after.group, "");
  EXPECT_EQ(after.unique->key, "k");
}

TEST_F(InspectorEditTest, AnEditIsCheckedAsAnEnqueueIs) {
  const std::string id = add();
  const auto edit = [&](const std::function<void(NewTask&)>& change) {
    return refusal([&] { inspector.edit({"default", id}, change); });
  };
  EXPECT_EQ(edit([](NewTask& task) { task.options.priority = 101; }),
            "priority is 101; it must be from -100 to 100");
  EXPECT_EQ(edit([](NewTask& task) { task.kind.clear(); }),
            "the kind is empty; give it a name such as \"mail\"");
  EXPECT_EQ(edit([](NewTask& task) { task.options.timeout = -1s; }), "timeout is negative");
  EXPECT_NE(edit([](NewTask& task) { task.payload.assign((16U << 20U) + 1, 'x'); }).find("this store takes"),
            std::string::npos);
  EXPECT_EQ(task(id).payload, "payload");
}

TEST_F(InspectorEditTest, AnEditOverAnEtagIsForThatAlone) {
  const std::string id = add();
  const Ref ref{"default", id};
  const std::string seen = etag(task(id));
  EXPECT_EQ(inspector.edit(ref, [](NewTask& task) { task.payload = "one"; }, seen), Changed::changed);
  EXPECT_EQ(inspector.edit(ref, [](NewTask& task) { task.payload = "two"; }, seen), Changed::stale);
  EXPECT_EQ(task(id).payload, "one");
  EXPECT_EQ(inspector.edit({"default", "none"}, [](NewTask&) {}), Changed::absent);
  inspector.act(Act::archive, ref);
  EXPECT_EQ(inspector.edit(ref, [](NewTask& task) { task.payload = "three"; }), Changed::changed);
}

// Why: two who edit different fields without an etag must not undo each other. How: another edit while the
// first one makes up its mind.
TEST_F(InspectorEditTest, AnEditIsMadeAnewOverWhatHasChangedMeanwhile) {
  const Ref ref{"default", add()};
  int calls = 0;
  const auto change = [&](NewTask& task) {
    if (++calls == 1) inspector.edit(ref, [](NewTask& other) { other.options.priority = 9; });
    task.payload = "new";
  };
  EXPECT_EQ(inspector.edit(ref, change), Changed::changed);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(task(ref.id).priority, 9);
  EXPECT_EQ(task(ref.id).payload, "new");
}

TEST_F(InspectorEditTest, AnActThatLacksWhatItNeedsIsRefused) {
  const Ref ref{"default", add()};
  EXPECT_EQ(refusal([&] { inspector.act(Act::reschedule, ref); }),
            "a reschedule needs the time when the task is due");
  EXPECT_EQ(refusal([&] { inspector.act(Act::move, ref); }),
            "the queue is empty; give it a name such as \"mail\"");
  EXPECT_EQ(refusal([&] { inspector.act(Action::move("default"), ref); }),
            "task " + ref.id + " is in queue \"default\" already; name another queue");
}

// Why: a task that is put off further on is met there again, and is done; one that is due later than that
// still has its turn. How: many of both, in small steps.
TEST_F(InspectorEditTest, AllThatMatchArePutOffOnce) {
  for (int i = 0; i < 30; ++i) add({.delay = 1h});
  for (int i = 0; i < 30; ++i) add({.delay = 3h});
  for (int i = 0; i < 7; ++i) add({.held = true});
  add({.queue = "other", .delay = 1h});
  clock.advance(1s);
  const TimePoint at = clock.now() + 2h;
  const BulkResult result = inspector.act(Action::reschedule(at), Filter{.queue = "default"}, 4);
  EXPECT_EQ(result.changed, 67U);
  EXPECT_EQ(result.unchanged, 0U);
  for (const Task& each : inspector.tasks({.filter = {.queue = "default"}, .limit = 100}).tasks) {
    EXPECT_EQ(each.state, State::scheduled);
    EXPECT_EQ(each.run_at, at);
  }
  EXPECT_EQ(inspector.act(Action::reschedule(at), Filter{.queue = "default"}).changed, 0U);
}

// How: into a queue that comes later in the order of all, so that they are met there again.
TEST_F(InspectorEditTest, AllThatMatchAreMovedOnce) {
  for (int i = 0; i < 30; ++i) add({.queue = "a"});
  for (int i = 0; i < 5; ++i) add({.queue = "b", .delay = 1h});
  for (int i = 0; i < 3; ++i) add({.queue = "z"});
  add({.queue = "a", .id = "twice"});
  add({.queue = "z", .id = "twice"});
  clock.advance(1s);
  const BulkResult result = inspector.act(Action::move("z"), Filter{}, 4);
  EXPECT_EQ(result.changed, 35U);
  EXPECT_EQ(result.unchanged, 1U);
  EXPECT_TRUE(testing::has_task(*store, {.queue = "z", .count_least = 39, .count_most = 39}));
  EXPECT_TRUE(testing::has_task(*store, {.queue = "a", .count_least = 1, .count_most = 1}));
}

}  // namespace
}  // namespace tidemill
