// The hooks of a client's options: the one before may change or refuse a task, the one after sees what came
// of it; on each way into the store.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>

#include "engine/recording_store.hpp"
#include "refusal.hpp"

namespace {

using namespace std::chrono_literals;
using namespace tidemill;
using tests::RecordingStore;
using tests::thrown_by;
using Seen = RecordingStore::Seen;

struct ClientHooks : ::testing::Test {
  struct After {
    Task task;
    Enqueued answer;
    std::thread::id thread;
  };

  /// With hooks that put a header on each task, refuse the kinds "refused" and "thrown", and note all
  /// answers.
  ClientOptions hooked() {
    ClientOptions options;
    options.before_enqueue = [](NewTask& task) {
      if (task.kind == "refused") throw Error{ErrorKind::unsupported, "not today"};
      if (task.kind == "thrown") throw std::runtime_error{"no such user"};
      task.options.headers["by"] = "hook";
      if (task.kind == "renamed") task.kind = "other";
    };
    options.after_enqueue = [this](const Task& task, const Enqueued& answer) {
      const std::lock_guard lock{mutex};
      after.push_back({task, answer, std::this_thread::get_id()});
    };
    options.log = Log{[this](Level, std::string_view message, std::span<const Field>) {
      const std::lock_guard lock{mutex};
      lines.emplace_back(message);
    }};
    return options;
  }
  std::vector<After> told() {
    const std::lock_guard lock{mutex};
    return after;
  }

  std::mutex mutex;
  std::vector<After> after;        // Guarded by mutex.
  std::vector<std::string> lines;  // Guarded by mutex.
};

TEST_F(ClientHooks, TheFirstMayChangeATaskOnEachWay) {
  RecordingStore store;
  Client client{store, hooked()};
  const NewTask one{"renamed", "3", {}};
  Transaction transaction;
  client.enqueue("renamed", "1");
  client.enqueue_async("renamed", "2").get();
  client.enqueue_all({&one, 1});
  client.enqueue(transaction, "renamed", "4");
  ASSERT_EQ(store.calls().size(), 4U);
  for (const Seen& call : store.calls()) {
    EXPECT_EQ(call.tasks.front().kind, "other");
    EXPECT_EQ(call.tasks.front().headers.at("by"), "hook");
  }
  ASSERT_EQ(told().size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(told()[i].task.payload, std::to_string(i + 1)) << "it sees the task as it went";
    EXPECT_EQ(told()[i].answer.put, Put::created);
    EXPECT_EQ(told()[i].answer.id, told()[i].task.ref.id);
    EXPECT_EQ(told()[i].thread == std::this_thread::get_id(), i != 1);
  }
}

TEST_F(ClientHooks, WhatTheFirstThrowsRefusesTheTask) {
  RecordingStore store;
  Client client{store, hooked()};
  EXPECT_EQ(thrown_by([&] { client.enqueue("refused", ""); }).kind(), ErrorKind::unsupported);
  EXPECT_EQ(thrown_by([&] { client.enqueue_async("thrown", "").get(); }).kind(), ErrorKind::invalid);
  EXPECT_STREQ(thrown_by([&] { client.enqueue("thrown", ""); }).what(), "no such user");
  EXPECT_TRUE(store.calls().empty());
  const std::vector<NewTask> tasks{{"refused", "", {}}, {"a", "", {}}, {"thrown", "", {}}};
  const std::vector<Enqueued> answers = client.enqueue_all(tasks);
  EXPECT_EQ(answers[0].put, Put::invalid);
  EXPECT_EQ(answers[0].why, "not today");
  EXPECT_EQ(answers[1].put, Put::created);
  EXPECT_EQ(answers[2].put, Put::invalid);
  EXPECT_EQ(told().size(), 1U) << "the refused ones never went";
}

TEST_F(ClientHooks, TheLastSeesWhatTheStoreRefuses) {
  RecordingStore store{
      [](const Seen& seen) { return std::vector<Enqueued>(seen.tasks.size(), {Put::exists, "holder", ""}); }};
  Client client{store, hooked()};
  const EnqueueOptions unique{.unique = Unique{.key = "k", .on_conflict = OnConflict::reject}};
  EXPECT_EQ(thrown_by([&] { client.enqueue("a", "", unique); }).kind(), ErrorKind::conflict);
  ASSERT_EQ(told().size(), 1U);
  EXPECT_EQ(told().front().answer.put, Put::exists);
  EXPECT_EQ(told().front().answer.id, "holder");
  EXPECT_NE(told().front().answer.why.find("\"k\""), std::string::npos) << told().front().answer.why;
}

TEST_F(ClientHooks, TheLastSeesACallThatFailed) {
  RecordingStore store{[](const Seen& seen) -> std::vector<Enqueued> {
    const bool unknown = seen.tasks.front().kind == "unknown";
    throw Error{unknown ? ErrorKind::unknown_outcome : ErrorKind::unavailable, "the store is away"};
  }};
  Client client{store, hooked()};
  const NewTask one{"a", "", {}};
  Transaction transaction;
  EXPECT_EQ(thrown_by([&] { client.enqueue("a", ""); }).kind(), ErrorKind::unavailable);
  EXPECT_EQ(thrown_by([&] { client.enqueue("unknown", ""); }).kind(), ErrorKind::unknown_outcome);
  EXPECT_EQ(thrown_by([&] { client.enqueue_async("a", "").get(); }).kind(), ErrorKind::unavailable);
  EXPECT_EQ(thrown_by([&] { client.enqueue_all({&one, 1}); }).kind(), ErrorKind::unavailable);
  EXPECT_EQ(thrown_by([&] { client.enqueue(transaction, "a", ""); }).kind(), ErrorKind::unavailable);
  ASSERT_EQ(told().size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(told()[i].answer.put, i == 1 ? Put::unknown : Put::failed) << i;
    EXPECT_EQ(told()[i].answer.why, "the store is away") << i;
    EXPECT_FALSE(told()[i].task.ref.id.empty()) << i;
  }
}

// Why: callers on many threads share a write, and each is told of its own task. How: while the store is busy
// with the first, fifty more come; they need few calls.
TEST_F(ClientHooks, SharedWritesAreToldToEachCaller) {
  std::promise<void> open;
  std::atomic<int> calls{0};
  RecordingStore store{[&, opened = open.get_future().share()](const Seen& seen) {
    if (calls.fetch_add(1) == 0) opened.wait();
    return RecordingStore::created(seen);
  }};
  Client client{store, hooked()};
  std::vector<std::thread> callers;
  std::atomic<int> started{0};
  const auto call = [&](int i) {
    callers.emplace_back([&, i] {
      ++started;
      client.enqueue("a", std::to_string(i), {.id = std::to_string(i)});
    });
  };
  call(0);
  store.await_calls(1);
  for (int i = 1; i <= 50; ++i) call(i);
  while (started <= 50) std::this_thread::yield();
  open.set_value();
  for (std::thread& caller : callers) caller.join();
  EXPECT_LT(store.calls().size(), 40U);
  ASSERT_EQ(told().size(), 51U);
  for (const After& each : told()) {
    EXPECT_EQ(each.task.payload, each.task.ref.id);
    EXPECT_EQ(each.answer.id, each.task.ref.id);
  }
}

TEST_F(ClientHooks, WhatTheLastThrowsIsLogged) {
  RecordingStore store;
  ClientOptions options = hooked();
  options.after_enqueue = [](const Task&, const Enqueued&) { throw std::runtime_error{"full"}; };
  Client client{store, options};
  EXPECT_EQ(client.enqueue("a", "").put, Put::created);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines.front(), "after_enqueue of the client's options threw");
}

}  // namespace
