// The client: what it hands to a store, in which batches, and what it makes of the answers.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
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

/// Lets the first call of a store wait until the test opens it.
struct Gate {
  std::promise<void> open;
  std::atomic<int> calls{0};
  std::shared_future<void> opened{open.get_future()};

  RecordingStore::Answer then(RecordingStore::Answer answer) {
    return [this, answer](const Seen& seen) {
      if (calls.fetch_add(1) == 0) opened.wait();
      return answer(seen);
    };
  }
};

/// Enqueues from a thread of its own; the answer is whether it threw, and what.
std::future<std::optional<Error>> in_thread(std::function<void()> call) {
  return std::async(std::launch::async, [call = std::move(call)]() -> std::optional<Error> {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    return {};
  });
}

std::vector<Enqueued> answer_all(const Seen& seen, Put put, const std::string& id) {
  return std::vector<Enqueued>(seen.tasks.size(), Enqueued{put, id, ""});
}

TEST(Client, HandsOverWhatTheCallerSaid) {
  RecordingStore store;
  Client client{store};
  const Enqueued answer =
      client.enqueue("mail:send", "hello", {.queue = "mail", .priority = 7, .retries_max = 3});
  const std::vector<Seen> calls = store.calls();
  ASSERT_EQ(calls.size(), 1U);
  const Task& task = calls.front().tasks.front();
  EXPECT_EQ(answer.put, Put::created);
  EXPECT_EQ(answer.id, task.ref.id);
  EXPECT_EQ(task.ref.queue, "mail");
  EXPECT_EQ(task.kind, "mail:send");
  EXPECT_EQ(task.payload, "hello");
  EXPECT_EQ(task.priority, 7);
  EXPECT_EQ(task.retries_max, 3);
  EXPECT_EQ(task.state, State::pending);
}

TEST(Client, BadInputThrowsBeforeAnythingIsWritten) {
  RecordingStore store;
  Client client{store};
  EXPECT_EQ(thrown_by([&] { client.enqueue("", "x"); }).kind(), ErrorKind::invalid);
  EXPECT_EQ(thrown_by([&] { client.enqueue("a", "x", {.priority = 101}); }).kind(), ErrorKind::invalid);
  EXPECT_EQ(thrown_by([&] { client.enqueue_async("a", "x", {.priority = 101}).get(); }).kind(),
            ErrorKind::invalid);
  EXPECT_TRUE(store.calls().empty());
}

// Why: this is where throughput comes from. How: while the store is busy with the first caller, a hundred
// more come; they must need few calls.
TEST(Client, CallersThatComeWhileTheStoreIsBusyShareABatch) {
  Gate gate;
  RecordingStore store{gate.then(RecordingStore::created)};
  Client client{store};
  std::atomic<int> done{0};
  std::vector<std::future<std::optional<Error>>> callers;
  callers.push_back(in_thread([&] { client.enqueue("first", ""); }));
  store.await_calls(1);
  std::atomic<int> started{0};
  for (int i = 0; i < 100; ++i) {
    callers.push_back(in_thread([&] {
      ++started;
      EXPECT_EQ(client.enqueue("later", "").put, Put::created);
      ++done;
    }));
  }
  while (started < 100) std::this_thread::yield();
  gate.open.set_value();
  for (auto& caller : callers) EXPECT_FALSE(caller.get());
  EXPECT_EQ(done, 100);
  EXPECT_LT(store.calls().size(), 50U);
}

/// What the second call holds when `count` tasks like that wait while the first is under way.
std::size_t second_batch(RecordingStore& store, Gate& gate, Client& client, int count,
                         std::size_t payload_bytes) {
  std::vector<std::future<std::optional<Error>>> callers;
  callers.push_back(in_thread([&] { client.enqueue("first", ""); }));
  store.await_calls(1);
  for (int i = 0; i < count; ++i) {
    callers.push_back(in_thread([&] { client.enqueue("later", std::string(payload_bytes, 'x')); }));
  }
  gate.open.set_value();
  for (auto& caller : callers) EXPECT_FALSE(caller.get());
  std::size_t largest = 0;
  for (const Seen& seen : store.calls()) largest = std::max(largest, seen.tasks.size());
  return largest;
}

TEST(Client, ABatchEndsAtItsCount) {
  Gate gate;
  RecordingStore store{gate.then(RecordingStore::created)};
  Client client{store, {.batch_max = 3}};
  EXPECT_LE(second_batch(store, gate, client, 20, 10), 3U);
}

TEST(Client, ABatchEndsAtItsBytes) {
  Gate gate;
  RecordingStore store{gate.then(RecordingStore::created)};
  Client client{store, {.batch_bytes_max = 1000}};
  EXPECT_LE(second_batch(store, gate, client, 20, 300), 3U);
}

TEST(Client, ALargePayloadGoesAlone) {
  Gate gate;
  RecordingStore store{gate.then(RecordingStore::created)};
  Client client{store, {.batch_bytes_max = 1000}};
  EXPECT_EQ(second_batch(store, gate, client, 10, 2000), 1U);
}

TEST(Client, NoBatchIsLargerThanTheStoreTakes) {
  Gate gate;
  RecordingStore store{gate.then(RecordingStore::created)};
  store.limits.batch_max = 2;
  Client client{store};
  EXPECT_LE(second_batch(store, gate, client, 20, 10), 2U);
  EXPECT_EQ(client.enqueue_all(std::vector<NewTask>(5, NewTask{.kind = "bulk"})).size(), 5U);
  for (const Seen& seen : store.calls()) EXPECT_LE(seen.tasks.size(), 2U);
}

// Why: someone's open transaction may hold a key, and plain tasks must not wait for it (rule 6). How: a call
// with a key hangs, and a plain one goes through.
TEST(Client, TasksWithUniqueKeysTravelApart) {
  std::promise<void> open;
  std::shared_future<void> opened{open.get_future()};
  RecordingStore store{[opened](const Seen& seen) {
    if (seen.tasks.front().unique) opened.wait();
    return RecordingStore::created(seen);
  }};
  Client client{store};
  auto stuck = in_thread([&] { client.enqueue("a", "", {.unique = Unique{.key = "k"}}); });
  store.await_calls(1);
  EXPECT_EQ(client.enqueue("b", "").put, Put::created);
  open.set_value();
  EXPECT_FALSE(stuck.get());
}

TEST(Client, ATaskWhoseTimeOutHasPassedWhenItsTurnComesIsNotWritten) {
  RecordingStore store;
  Client client{store, {.timeout = 0s}};
  const Error error = thrown_by([&] { client.enqueue("a", ""); });
  EXPECT_EQ(error.kind(), ErrorKind::timed_out);
  EXPECT_STREQ(error.what(), "the time-out passed while the task waited for the store");
  EXPECT_EQ(thrown_by([&] { client.enqueue_async("a", "").get(); }).kind(), ErrorKind::timed_out);
  EXPECT_TRUE(store.calls().empty());
}

TEST(Client, WhenTheStoreThrowsEveryCallerOfTheBatchIsTold) {
  Gate gate;
  RecordingStore store{gate.then([](const Seen& seen) -> std::vector<Enqueued> {
    if (seen.tasks.front().kind == "first") return RecordingStore::created(seen);
    throw Error{ErrorKind::unavailable, "disk full"};
  })};
  Client client{store};
  auto first = in_thread([&] { client.enqueue("first", ""); });
  store.await_calls(1);
  std::vector<std::future<std::optional<Error>>> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(in_thread([&] { client.enqueue("later", ""); }));
  gate.open.set_value();
  EXPECT_FALSE(first.get());
  for (auto& caller : callers) {
    const auto error = caller.get();
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), ErrorKind::unavailable);
    EXPECT_STREQ(error->what(), "disk full");
  }
}

TEST(Client, OneTasksErrorHarmsNoOther) {
  RecordingStore store{[](const Seen& seen) {
    std::vector<Enqueued> answers = RecordingStore::created(seen);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (seen.tasks[i].kind == "bad") answers[i] = {Put::invalid, "", "too large by a byte"};
    }
    return answers;
  }};
  Client client{store};
  std::vector<std::future<std::optional<Error>>> good;
  std::vector<std::future<std::optional<Error>>> bad;
  for (int i = 0; i < 20; ++i) {
    good.push_back(in_thread([&] { client.enqueue("good", ""); }));
    bad.push_back(in_thread([&] { client.enqueue("bad", ""); }));
  }
  for (auto& caller : good) EXPECT_FALSE(caller.get());
  for (auto& caller : bad) {
    const auto error = caller.get();
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), ErrorKind::invalid);
    EXPECT_STREQ(error->what(), "too large by a byte");
  }
}

TEST(Client, ATakenKeyIsAnErrorOnlyForThoseWhoSaidSo) {
  RecordingStore store{[](const Seen& seen) { return answer_all(seen, Put::exists, "holder"); }};
  Client client{store};
  const auto with = [](OnConflict what) {
    return EnqueueOptions{.queue = "mail", .unique = Unique{.key = "k", .on_conflict = what}};
  };
  EXPECT_EQ(client.enqueue("a", "", with(OnConflict::keep)).put, Put::exists);
  EXPECT_EQ(client.enqueue("a", "", with(OnConflict::keep)).id, "holder");
  EXPECT_EQ(client.enqueue("a", "", with(OnConflict::replace)).put, Put::exists);
  const Error error = thrown_by([&] { client.enqueue("a", "", with(OnConflict::reject)); });
  EXPECT_EQ(error.kind(), ErrorKind::conflict);
  EXPECT_STREQ(error.what(), "the unique key \"k\" of queue \"mail\" is held by task holder");
}

TEST(Client, AHolderThatCantBeReplacedIsAConflict) {
  RecordingStore store{[](const Seen& seen) { return answer_all(seen, Put::busy, "holder"); }};
  Client client{store};
  const EnqueueOptions options{.queue = "mail",
                               .unique = Unique{.key = "k", .on_conflict = OnConflict::replace}};
  const Error error = thrown_by([&] { client.enqueue("a", "", options); });
  EXPECT_EQ(error.kind(), ErrorKind::conflict);
  EXPECT_STREQ(error.what(),
               "the unique key \"k\" of queue \"mail\" is held by task holder, which has started and can't "
               "be replaced");
  EXPECT_EQ(client.enqueue_all(std::vector<NewTask>{{"a", "", options}}).front().put, Put::busy);
}

TEST(Client, AnIdThatIsThereIsAnAnswerAndNoError) {
  RecordingStore store{[](const Seen& seen) { return answer_all(seen, Put::exists, "twice"); }};
  Client client{store};
  for (const OnConflict what : {OnConflict::keep, OnConflict::reject}) {
    const Enqueued answer =
        client.enqueue("a", "", {.id = "twice", .unique = Unique{.key = "k", .on_conflict = what}});
    EXPECT_EQ(answer.put, Put::exists);
    EXPECT_EQ(answer.why, "queue \"default\" has a task \"twice\" already");
  }
}

TEST(Client, EnqueueAllAnswersEachInItsPlace) {
  RecordingStore store{[](const Seen& seen) {
    std::vector<Enqueued> answers;
    for (const Task& task : seen.tasks) {
      answers.push_back({task.unique ? Put::exists : Put::created, "of " + task.payload, ""});
    }
    return answers;
  }};
  store.limits.batch_max = 4;
  Client client{store};
  std::vector<NewTask> tasks;
  for (int i = 0; i < 30; ++i) {
    NewTask task{i % 7 == 0 ? "" : "kind", std::to_string(i), {}};
    if (i % 3 == 0) task.options.unique = Unique{.key = "k", .on_conflict = OnConflict::reject};
    tasks.push_back(task);
  }
  const std::vector<Enqueued> answers = client.enqueue_all(tasks);
  ASSERT_EQ(answers.size(), tasks.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (i % 7 == 0) {
      EXPECT_EQ(answers[i].put, Put::invalid);
      EXPECT_EQ(answers[i].why, "the kind is empty; give it a name such as \"mail\"");
      continue;
    }
    EXPECT_EQ(answers[i].put, i % 3 == 0 ? Put::exists : Put::created);
    EXPECT_EQ(answers[i].id, "of " + std::to_string(i));
  }
  for (const Seen& seen : store.calls()) {
    EXPECT_LE(seen.tasks.size(), 4U);
    for (const Task& task : seen.tasks)
      EXPECT_EQ(task.unique.has_value(), seen.tasks.front().unique.has_value());
  }
}

TEST(Client, EnqueueAllThrowsOnlyWhileNothingIsWritten) {
  std::atomic<int> fails_from{0};
  std::atomic<int> calls{0};
  RecordingStore store{[&](const Seen& seen) -> std::vector<Enqueued> {
    if (calls++ >= fails_from) throw Error{ErrorKind::unavailable, "gone"};
    return RecordingStore::created(seen);
  }};
  store.limits.batch_max = 2;
  Client client{store};
  const std::vector<NewTask> tasks(6, NewTask{.kind = "a"});
  EXPECT_EQ(thrown_by([&] { client.enqueue_all(tasks); }).kind(), ErrorKind::unavailable);

  calls = 0;
  fails_from = 2;
  const std::vector<Enqueued> answers = client.enqueue_all(tasks);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(answers[i].put, Put::created);
  for (std::size_t i = 4; i < 6; ++i) {
    EXPECT_EQ(answers[i].put, Put::failed);
    EXPECT_EQ(answers[i].why, "gone");
  }
}

// Why: a commit in doubt is resolved by asking again under the same number, never by guessing (rule 10).
TEST(Client, AnUnknownOutcomeIsAskedForAgainUnderTheSameNumber) {
  std::atomic<int> calls{0};
  RecordingStore store{[&](const Seen& seen) -> std::vector<Enqueued> {
    if (calls++ == 0) throw Error{ErrorKind::unknown_outcome, "the connection broke"};
    if (calls == 2) return answer_all(seen, Put::unknown, "");
    return RecordingStore::created(seen);
  }};
  Client client{store};
  EXPECT_EQ(client.enqueue("a", "").put, Put::created);
  const auto seen = store.calls();
  ASSERT_EQ(seen.size(), 3U);
  for (const Seen& each : seen) {
    EXPECT_EQ(each.call.session, seen.front().call.session);
    EXPECT_EQ(each.call.number, seen.front().call.number);
    EXPECT_EQ(each.tasks.front().ref.id, seen.front().tasks.front().ref.id);
  }
}

TEST(Client, AnOutcomeThatStaysUnknownIsSaidToBe) {
  RecordingStore store{
      [](const Seen&) -> std::vector<Enqueued> { throw Error{ErrorKind::unknown_outcome, "?"}; }};
  Client client{store};
  EXPECT_EQ(thrown_by([&] { client.enqueue("a", ""); }).kind(), ErrorKind::unknown_outcome);
}

TEST(Client, InsideATransactionItWritesDirectly) {
  RecordingStore store;
  Client client{store};
  Transaction transaction;
  client.enqueue(transaction, "a", "b");
  ASSERT_EQ(store.calls().size(), 1U);
  EXPECT_TRUE(store.calls().front().inside);
  store.limits.limits[Feature::inside] = {true, "tasks live in this process"};
  EXPECT_EQ(thrown_by([&] { client.enqueue(transaction, "a", "b"); }).kind(), ErrorKind::unsupported);
}

TEST(Client, AsynchronousCallsAreBatchedAndAnswered) {
  Gate gate;
  RecordingStore store{gate.then([](const Seen& seen) {
    std::vector<Enqueued> answers = RecordingStore::created(seen);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (seen.tasks[i].unique) answers[i].put = Put::busy;
    }
    return answers;
  })};
  Client client{store};
  std::vector<std::future<Enqueued>> futures;
  futures.push_back(client.enqueue_async("first", ""));
  store.await_calls(1);
  for (int i = 0; i < 100; ++i) futures.push_back(client.enqueue_async("later", ""));
  auto refused =
      client.enqueue_async("later", "", {.unique = Unique{.key = "k", .on_conflict = OnConflict::replace}});
  gate.open.set_value();
  for (auto& future : futures) EXPECT_EQ(future.get().put, Put::created);
  EXPECT_EQ(thrown_by([&] { refused.get(); }).kind(), ErrorKind::conflict);
  EXPECT_EQ(store.calls().size(), 3U);  // The first, all later ones, and the one with a key.
}

TEST(Client, TheDestructorWaitsForAsynchronousCalls) {
  RecordingStore store;
  std::vector<std::future<Enqueued>> futures;
  {
    Client client{store};
    for (int i = 0; i < 1000; ++i) futures.push_back(client.enqueue_async("a", ""));
  }
  for (auto& future : futures) {
    ASSERT_EQ(future.wait_for(0s), std::future_status::ready);
    EXPECT_EQ(future.get().put, Put::created);
  }
}

}  // namespace

#ifdef __SANITIZE_THREAD__
// A future's exception is freed by whoever lets go of it last, and its count of owners is kept inside
// libstdc++, which is not compiled with the sanitizer: it sees the free, but not the count that puts it after
// all reads.
extern "C" const char* __tsan_default_suppressions() {  // NOLINT: the name is the sanitizer's.
  return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}
#endif
