// Leases of workers in other processes: what they are given, told and believed.
#include "engine/remote.hpp"

#include <gmock/gmock.h>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/testing.hpp>

#include "core/rules.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill::engine {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RemoteLeasesTest : public ::testing::Test {
 protected:
  std::string add(const EnqueueOptions& options = {}) { return client.enqueue("work", "{}", options).id; }
  std::vector<RemoteLease> claim(const std::string& worker = "w", std::size_t limit = 10) {
    return leases.claim({.id = worker, .slots = 4, .queues = {{"default", 1}}}, limit, 25s).leases;
  }
  RemoteSignal beat(const RemoteLease& lease, const std::string& worker = "w") {
    const RemoteBeat beat{.token = lease.token};
    return leases.renew({.id = worker}, {&beat, 1}, 25s).leases.at(0);
  }
  Reported end(const RemoteLease& lease, std::optional<Outcome> outcome) {
    const RemoteReport report{.token = lease.token, .outcome = std::move(outcome)};
    return leases.report({&report, 1}).at(0);
  }
  Task task(const std::string& id) { return *inspector.task({"default", id}); }
  /// As when a sweep of another process finds the lease of a dead worker.
  void crash(const std::string& id) {
    clock.advance(26s);
    Swept swept = store->sweep("other", 25s, 100, call());
    for (const Lease& lease : swept.taken) {
      EXPECT_EQ(lease.task.ref.id, id);
      const Report report = rules::crashed(lease, clock.now());
      store->report({&report, 1}, call());
    }
  }
  Call call() {
    Call made;
    made.now = clock.now();
    return made;
  }

  testing::FakeClock clock;
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Client client{*store};
  Inspector inspector{*store};
  RemoteLeases leases{*store, RetryPolicy::table({1min}), Log::silent()};
};

TEST_F(RemoteLeasesTest, AnOutcomeDoesWhatItDoesInAWorker) {
  const std::string id = add({.retention = 1h});
  auto held = claim();
  ASSERT_THAT(held, SizeIs(1));
  EXPECT_EQ(held[0].task.ref.id, id);
  EXPECT_EQ(end(held[0], Outcome::failure("no luck")), Reported::applied);
  EXPECT_EQ(task(id).state, State::retry);
  EXPECT_EQ(task(id).error, "no luck");
  EXPECT_EQ(task(id).retries, 1);
  clock.advance(61s);
  held = claim();
  ASSERT_THAT(held, SizeIs(1));
  EXPECT_EQ(end(held[0], Outcome::success("done")), Reported::applied);
  EXPECT_EQ(task(id).state, State::completed);
  EXPECT_EQ(task(id).result, "done");
  EXPECT_THAT(inspector.attempts({"default", id}), SizeIs(2));
}

TEST_F(RemoteLeasesTest, AReportThatWasAppliedIsAnsweredSoAgain) {
  add({.retention = 1h});
  const auto held = claim();
  EXPECT_EQ(end(held[0], Outcome::success()), Reported::applied);
  EXPECT_EQ(end(held[0], Outcome::success()), Reported::applied);
  // A server that knows nothing of the first one says at least that it is over.
  RemoteLeases other{*store, {}, Log::silent()};
  const RemoteReport report{.token = held[0].token, .outcome = Outcome::success()};
  EXPECT_NE(other.report({&report, 1}).at(0), Reported::applied);
}

TEST_F(RemoteLeasesTest, ALeaseOutlivesTheServerThatGaveItOut) {
  const std::string id = add({.retention = 1h});
  const auto held = claim();
  RemoteLeases other{*store, {}, Log::silent()};
  const RemoteReport report{.token = held[0].token, .outcome = Outcome::success("done")};
  EXPECT_EQ(other.report({&report, 1}).at(0), Reported::applied);
  EXPECT_EQ(task(id).result, "done");
}

TEST_F(RemoteLeasesTest, TokensThatAreNoneAreLost) {
  const auto held = (add(), claim());
  for (const std::string& token :
       {std::string{}, std::string{"x"}, std::string{"1.2.3"}, std::string{"1.99.99.abc"},
        std::string{"-1.1.1.abc"}, held[0].token + "x"}) {
    const RemoteBeat beat{.token = token};
    EXPECT_EQ(leases.renew({.id = "w"}, {&beat, 1}, 25s).leases.at(0), RemoteSignal::lost) << token;
    const RemoteReport report{.token = token, .outcome = Outcome::success()};
    EXPECT_NE(leases.report({&report, 1}).at(0), Reported::applied) << token;
  }
  EXPECT_EQ(beat(held[0]), RemoteSignal::none);
}

TEST_F(RemoteLeasesTest, AnOperatorsCancelReachesTheHolder) {
  const std::string id = add();
  const auto held = claim();
  EXPECT_EQ(inspector.act(Act::cancel, Ref{"default", id}), Changed::signalled);
  EXPECT_EQ(beat(held[0]), RemoteSignal::cancel);
}

TEST_F(RemoteLeasesTest, ATaskWhoseTimeIsOverIsToldToStopAndThenEnded) {
  const std::string id = add({.timeout = 20s});
  const auto held = claim();
  clock.advance(15s);
  EXPECT_EQ(beat(held[0]), RemoteSignal::none);
  clock.advance(6s);
  EXPECT_EQ(beat(held[0]), RemoteSignal::stop);
  EXPECT_EQ(task(id).state, State::active);
  clock.advance(10s);
  EXPECT_EQ(beat(held[0]), RemoteSignal::stop);
  EXPECT_EQ(task(id).state, State::retry);
  EXPECT_THAT(task(id).error, ::testing::HasSubstr("timeout"));
  EXPECT_EQ(beat(held[0]), RemoteSignal::lost);
}

TEST_F(RemoteLeasesTest, WhatMayNotStartIsNotGivenOut) {
  const std::string id = add({.expires_at = clock.now() + 1min});
  clock.advance(2min);
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_EQ(task(id).reason, "expired");
}

TEST_F(RemoteLeasesTest, WhatIsGivenBackKeepsItsPlaceAndItsCount) {
  const std::string first = add();
  clock.advance(1s);
  const std::string second = add();
  leases.give_back(claim("w", 1));
  EXPECT_EQ(task(first).attempt, 0);
  EXPECT_EQ(claim("w", 1).at(0).task.ref.id, first);
  EXPECT_EQ(claim("w", 1).at(0).task.ref.id, second);
}

TEST_F(RemoteLeasesTest, AHeldOneRestsUntilItIsResumed) {
  const std::string id = add();
  const RemoteReport report{.token = claim()[0].token, .held = true};
  EXPECT_EQ(leases.report({&report, 1}).at(0), Reported::applied);
  EXPECT_EQ(task(id).state, State::held);
}

TEST_F(RemoteLeasesTest, AWorkerHasOneSuspectAtATime) {
  const std::string a = add();
  const std::string b = add();
  ASSERT_THAT(claim(), SizeIs(2));
  clock.advance(26s);
  for (const Lease& lease : store->sweep("other", 25s, 100, call()).taken) {
    const Report report = rules::crashed(lease, clock.now());
    store->report({&report, 1}, call());
  }
  EXPECT_EQ(task(a).crashes + task(b).crashes, 2);
  const auto one = claim();
  ASSERT_THAT(one, SizeIs(1));
  clock.advance(2s);
  EXPECT_THAT(claim(), IsEmpty());
  clock.advance(2s);
  EXPECT_THAT(claim("another"), SizeIs(1));
  EXPECT_EQ(end(one[0], Outcome::success()), Reported::applied);
}

TEST_F(RemoteLeasesTest, ASuspectIsMarkedBeforeItIsGivenOut) {
  const std::string id = add();
  ASSERT_THAT(claim(), SizeIs(1));
  crash(id);
  ASSERT_THAT(claim(), SizeIs(1));
  crash(id);
  EXPECT_EQ(task(id).crashes, 2);
  ASSERT_THAT(claim("another"), SizeIs(1));
  crash(id);
  EXPECT_EQ(task(id).state, State::archived);
  EXPECT_EQ(task(id).reason, "poison");
}

TEST_F(RemoteLeasesTest, WorkersAreListedWithWhatTheyHaveSaid) {
  leases.claim({.id = "w", .host = "node-7", .slots = 4, .queues = {{"mail", 3}}}, 1, 25s);
  leases.renew({.id = "w"}, {}, 25s);
  const auto workers = inspector.workers();
  ASSERT_THAT(workers, SizeIs(1));
  EXPECT_EQ(workers[0].host, "node-7");
  EXPECT_EQ(workers[0].slots, 4);
  EXPECT_EQ(workers[0].queues.at("mail"), 3);
  EXPECT_NE(workers[0].started_at, TimePoint{});
}

TEST_F(RemoteLeasesTest, OutcomesAreCounted) {
  add();
  end(claim()[0], Outcome::success());
  WorkerInfo info;
  info.id = "api";
  info.state = "gone";
  leases.flush(info);
  const auto stats = inspector.stats(Span::minute, clock.now() - 1h, clock.now() + 1h);
  ASSERT_THAT(stats, SizeIs(1));
  EXPECT_EQ(stats[0].success, 1U);
}

}  // namespace
}  // namespace tidemill::engine
