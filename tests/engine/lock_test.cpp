// NamedLock: who holds it, that it is renewed, and that a holder learns in time that it is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/lock.hpp>
#include <tidemill/locks.hpp>
#include <tidemill/testing.hpp>

#include "engine/faulty_store.hpp"
#include "engine/recording_store.hpp"
#include "engine/worker_fixture.hpp"
#include "refusal.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using tests::eventually;
using tests::Fault;
using tests::refusal;
using tests::Verb;

/// Locks behind a store that can fail. They are long, so that a busy machine doesn't lose them, unless a test
/// is about just that.
class NamedLockTest : public ::testing::Test {
 protected:
  LockOptions options(Duration length = 60s) {
    return {.length = length, .margin = length / 10, .poll = 5ms, .log = lines.log()};
  }
  std::vector<LockInfo> held() { return memory->locks()->list("", 10, clock.call()); }

  tests::Lines lines;
  std::unique_ptr<Store> memory = open_memory();
  tests::FaultyStore store{*memory};
  engine::StoreClock clock{*memory};
};

TEST_F(NamedLockTest, HasOneHolderUntilItIsReleased) {
  NamedLock one{store, "l", options()};
  NamedLock two{store, "l", options()};
  EXPECT_FALSE(one.held());
  EXPECT_EQ(one.fence(), 0U);
  EXPECT_TRUE(one.try_acquire());
  EXPECT_TRUE(one.try_acquire()) << "it is held already";
  EXPECT_TRUE(one.held());
  const std::uint64_t fence = one.fence();
  EXPECT_GT(fence, 0U);
  EXPECT_FALSE(two.try_acquire());
  EXPECT_FALSE(two.release()) << "it is not its own";
  EXPECT_TRUE(one.held());

  EXPECT_TRUE(one.release());
  EXPECT_FALSE(one.held());
  EXPECT_FALSE(one.release());
  EXPECT_FALSE(one.stop_token().stop_requested()) << "released is not lost";
  EXPECT_EQ(one.fence(), fence);
  EXPECT_TRUE(two.try_acquire());
  EXPECT_GT(two.fence(), fence);
}

TEST_F(NamedLockTest, NamesAndOwnersAreToldApart) {
  NamedLock one{store, "a", options()};
  NamedLock other{store, "b", options()};
  EXPECT_TRUE(one.try_acquire());
  EXPECT_TRUE(other.try_acquire());
  ASSERT_EQ(held().size(), 2U);
  EXPECT_NE(held()[0].owner, held()[1].owner);
  LockOptions named = options();
  named.owner = "me";
  NamedLock third{store, "c", named};
  EXPECT_TRUE(third.try_acquire());
  EXPECT_EQ(held().at(2).owner, "me");
}

TEST_F(NamedLockTest, GoesWithTheObject) {
  {
    NamedLock lock{store, "l", options()};
    EXPECT_TRUE(lock.try_acquire());
    EXPECT_EQ(held().size(), 1U);
  }
  EXPECT_TRUE(held().empty());
  {
    NamedLock lock{store, "l", options()};
    EXPECT_TRUE(lock.try_acquire());
    store.fail(Verb::lock, Fault::before);
  }
  EXPECT_EQ(held().size(), 1U) << "it runs out by itself";
  EXPECT_EQ(lines.count("a lock could not be released"), 1U);
}

TEST_F(NamedLockTest, IsRenewedWhileItIsHeld) {
  NamedLock lock{store, "l", options(3s)};
  ASSERT_TRUE(lock.try_acquire());
  const TimePoint first = held().at(0).until;
  EXPECT_TRUE(eventually([&] { return !held().empty() && held()[0].until > first; }));
  EXPECT_EQ(held().at(0).fence, lock.fence());
}

TEST_F(NamedLockTest, ARenewalThatFailsIsTriedAgain) {
  NamedLock lock{store, "l", options(6s)};
  ASSERT_TRUE(lock.try_acquire());
  const TimePoint first = held().at(0).until;
  store.fail(Verb::lock, Fault::before, 2);
  EXPECT_TRUE(eventually([&] { return held().at(0).until > first; }));
  EXPECT_TRUE(eventually([&] { return lines.count("can renew lock \"l\" again") == 1; }));
  EXPECT_TRUE(lock.held());
  EXPECT_FALSE(lock.stop_token().stop_requested());
}

// Why: whoever can't renew must stop before another can have the lock, whether or not the store answers. How:
// errors, and calls that hang.
TEST_F(NamedLockTest, IsLostWhenItCantBeRenewedInTime) {
  for (const Fault fault : {Fault::before, Fault::hang}) {
    NamedLock lock{store, "l", options(300ms)};
    ASSERT_TRUE(lock.acquire({}, 20s));
    const std::uint64_t fence = lock.fence();
    const std::stop_token token = lock.stop_token();
    store.fail(Verb::lock, fault);
    EXPECT_TRUE(eventually([&] { return token.stop_requested(); }));
    EXPECT_FALSE(lock.held());
    EXPECT_EQ(lock.fence(), fence) << "for others to refuse";
    store.heal();
    EXPECT_FALSE(lock.release());
  }
}

TEST_F(NamedLockTest, IsLostWhenItIsTakenAway) {
  NamedLock lock{store, "l", options(3s)};
  ASSERT_TRUE(lock.try_acquire());
  const std::stop_token token = lock.stop_token();
  const LockInfo stored = held().at(0);
  ASSERT_TRUE(memory->locks()->release("l", stored.owner, stored.fence, clock.call()));
  NamedLock other{store, "l", options()};
  EXPECT_TRUE(other.try_acquire());
  EXPECT_TRUE(eventually([&] { return token.stop_requested(); }));
  EXPECT_FALSE(lock.held());
  EXPECT_TRUE(eventually([&] { return lines.count("a lock is lost lock=l") == 1; }));
  EXPECT_FALSE(lock.try_acquire());
  EXPECT_TRUE(other.held());
}

// Why: what a lost lock protected may still be under way, so its fence must not serve the next. How: lose it
// by the own clock while the store still has it.
TEST_F(NamedLockTest, HasANewFenceAndTokenAfterItWasLost) {
  NamedLock lock{store, "l", options(500ms)};
  ASSERT_TRUE(lock.acquire({}, 20s));
  const std::uint64_t fence = lock.fence();
  const std::stop_token token = lock.stop_token();
  store.fail(Verb::lock, Fault::before);
  EXPECT_TRUE(eventually([&] { return token.stop_requested(); }));
  store.heal();
  ASSERT_TRUE(lock.acquire({}, 20s));
  EXPECT_GT(lock.fence(), fence);
  EXPECT_TRUE(token.stop_requested());
}

TEST_F(NamedLockTest, AcquireWaitsForItsTurn) {
  NamedLock one{store, "l", options()};
  ASSERT_TRUE(one.try_acquire());
  NamedLock two{store, "l", options()};
  std::atomic<bool> got{false};
  std::jthread waiting{[&] { got = two.acquire(); }};
  const int before = store.calls(Verb::lock);
  EXPECT_TRUE(eventually([&] { return store.calls(Verb::lock) > before + 2; }));
  EXPECT_FALSE(got);
  one.release();
  EXPECT_TRUE(eventually([&] { return got.load(); }));
  EXPECT_TRUE(two.held());
}

TEST_F(NamedLockTest, AcquireEndsAtItsTimeAndWhenToldTo) {
  NamedLock one{store, "l", options()};
  ASSERT_TRUE(one.try_acquire());
  NamedLock two{store, "l", options()};
  EXPECT_FALSE(two.acquire({}, 20ms));
  EXPECT_FALSE(two.acquire({}, 0s));
  std::stop_source stop;
  std::atomic<int> answer{-1};
  std::jthread waiting{[&] { answer = two.acquire(stop.get_token(), Duration::max()) ? 1 : 0; }};
  const int before = store.calls(Verb::lock);
  EXPECT_TRUE(eventually([&] { return store.calls(Verb::lock) > before; }));
  stop.request_stop();
  EXPECT_TRUE(eventually([&] { return answer == 0; }));
}

TEST_F(NamedLockTest, AcquireWaitsForAStoreThatIsAway) {
  NamedLock lock{store, "l", options()};
  store.fail(Verb::lock, Fault::before, 2);
  EXPECT_TRUE(lock.acquire());
  EXPECT_EQ(lines.count("can't acquire lock \"l\""), 1U);
  NamedLock other{store, "m", options()};
  store.fail(Verb::lock, Fault::before);
  EXPECT_THROW(other.acquire({}, 20ms), Error);
  EXPECT_THROW(other.try_acquire(), Error);
  EXPECT_FALSE(other.held());
}

// Why: an answer that got lost must not lock the caller out. How: it is there, and nobody was told.
TEST_F(NamedLockTest, AnAcquireWhoseAnswerWasLostIsRepeated) {
  NamedLock lock{store, "l", options()};
  store.fail(Verb::lock, Fault::after, 1);
  EXPECT_TRUE(lock.acquire());
  EXPECT_EQ(held().at(0).fence, lock.fence());
}

// Why: this is what it is for. How: threads with a holder each count up a plain number; the thread sanitizer
// looks on, too.
TEST_F(NamedLockTest, OneOfManyThreadsHoldsIt) {
  int counter = 0;
  std::uint64_t last = 0;
  bool grows = true;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        NamedLock lock{store, "l", options()};
        for (int turn = 0; turn < 5; ++turn) {
          ASSERT_TRUE(lock.acquire());
          ++counter;
          grows = grows && lock.fence() > last;
          last = lock.fence();
          EXPECT_TRUE(lock.release());
        }
      });
    }
  }
  EXPECT_EQ(counter, 20);
  EXPECT_TRUE(grows);
}

TEST_F(NamedLockTest, ThreadsThatShareTheObjectAreOneHolder) {
  NamedLock lock{store, "l", options()};
  std::atomic<int> got{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int turn = 0; turn < 20; ++turn) {
          got += lock.try_acquire() ? 1 : 0;
          (void)lock.held();
          (void)lock.stop_token();
          if (turn % 5 == 4) (void)lock.release();
        }
      });
    }
  }
  EXPECT_EQ(got, 80);
}

TEST_F(NamedLockTest, WhatMakesNoSenseIsRefused) {
  tests::RecordingStore broker;
  EXPECT_EQ(refusal([&] { (NamedLock{broker, "l"}); }, ErrorKind::unsupported),
            "this store can't keep locks");
  broker.limits.limits[Feature::locks] = {true, "a broker only carries tasks"};
  EXPECT_EQ(refusal([&] { (NamedLock{broker, "l"}); }, ErrorKind::unsupported),
            "this store has no locks: a broker only carries tasks");
  EXPECT_THAT(refusal([&] { (NamedLock{store, ""}); }), HasSubstr("lock's name is empty"));
  EXPECT_THAT(refusal([&] { (NamedLock{store, "l", {.length = 0s}}); }), HasSubstr("more than zero"));
  EXPECT_THAT(refusal([&] { (NamedLock{store, "l", {.length = 5s}}); }), HasSubstr("margin must be a third"));
  EXPECT_THAT(refusal([&] { (NamedLock{store, "l", {.margin = -1s}}); }), HasSubstr("not be negative"));
  EXPECT_THAT(refusal([&] { (NamedLock{store, "l", {.poll = 0s}}); }), HasSubstr("poll"));
}

}  // namespace
}  // namespace tidemill
