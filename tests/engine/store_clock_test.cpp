// The store's time is counted on from its last quick answer, and sweeping is withheld when the holders of
// leases may not have been able to renew them (rule 8).
#include <gtest/gtest.h>

#include "engine/store_clock.hpp"
#include "faulty_store.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// Says the time that a test sets; asking takes as long as a round trip.
class SetClock : public Clock {
 public:
  TimePoint now() const override {
    const auto until = std::chrono::steady_clock::now() + trip;
    while (std::chrono::steady_clock::now() < until) {
    }
    return at;
  }
  std::chrono::steady_clock::time_point steady() const override { return std::chrono::steady_clock::now(); }
  TimePoint at{24h * 20'000};
  Duration trip{};
};

struct StoreClockTest : ::testing::Test {
  SetClock time;
  std::unique_ptr<Store> store = open_memory({.clock = &time});
  tests::FaultyStore faulty{*store};
  Steady start = std::chrono::steady_clock::now();
};

TEST_F(StoreClockTest, AsksTheStoreFirstAndThrowsWhatThatThrows) {
  faulty.fail(tests::Verb::now, tests::Fault::before, 1);
  StoreClock clock{faulty};
  EXPECT_THROW(clock.now(), Error);
  EXPECT_GE(clock.now(), time.at);
  EXPECT_LT(clock.now(), time.at + 10s);
}

TEST_F(StoreClockTest, CountsOnFromAnAnswer) {
  StoreClock clock{faulty};
  clock.learn(time.at + 1h, start - 10ms, start - 5s);
  const TimePoint now = clock.now();
  EXPECT_GE(now, time.at + 1h + 5s);
  EXPECT_LT(now, time.at + 1h + 15s);
}

TEST_F(StoreClockTest, DoesNotBelieveASlowAnswer) {
  StoreClock clock{faulty};
  clock.learn(time.at, start, start);
  clock.learn(time.at + 1h, start, start + 1s);
  EXPECT_LT(clock.now(), time.at + 30min);
}

TEST_F(StoreClockTest, FollowsAStoreInTheSameProcessAtOnce) {
  StoreClock clock{faulty};
  Lane lane{clock};
  EXPECT_LT(lane.next().now, time.at + 10s);
  time.at += 1h;
  EXPECT_GE(lane.next().now, time.at);
  time.at -= 30min;
  EXPECT_LT(clock.call().now, time.at + 10s);
}

TEST_F(StoreClockTest, AsksAStoreAcrossANetworkOnlyNowAndThen) {
  time.trip = 2ms;
  StoreClock clock{faulty};
  for (int i = 0; i < 10; ++i) (void)clock.call();
  EXPECT_EQ(faulty.calls(tests::Verb::now), 1);
}

TEST_F(StoreClockTest, GoesOnCountingWhenTheStoreIsAway) {
  StoreClock clock{faulty};
  (void)clock.call();
  faulty.fail(tests::Verb::now, tests::Fault::before);
  EXPECT_GE(clock.call().now, time.at);
}

TEST_F(StoreClockTest, NumbersTheCallsOfALane) {
  StoreClock clock{faulty};
  Lane one{clock};
  Lane two{clock};
  const Call first = one.next();
  const Call second = one.next();
  EXPECT_EQ(first.session, second.session);
  EXPECT_EQ(first.number + 1, second.number);
  EXPECT_NE(two.next().session, first.session);
  EXPECT_GT(first.deadline, std::chrono::steady_clock::now());
}

TEST_F(StoreClockTest, WithholdsSweepingForABeatAfterTheStart) {
  StoreClock clock{faulty, 1h};
  clock.learn(time.at, start, start);
  EXPECT_FALSE(clock.may_sweep());
  StoreClock ready{faulty, 1us};
  const auto until = std::chrono::steady_clock::now() + 10us;
  while (std::chrono::steady_clock::now() < until) {
  }
  EXPECT_FALSE(ready.may_sweep()) << "it has not heard of the store";
}

/// A clock whose first beat is over.
struct Settled : StoreClockTest {
  Settled() {
    clock.learn(time.at, start, start);
    // The beat is long against the test and short against the times that it makes up.
    const auto until = start + beat + 1ms;
    while (std::chrono::steady_clock::now() < until) {
    }
    start = std::chrono::steady_clock::now();
    clock.learn(time.at + beat, start, start);
  }
  const Duration beat = 200ms;
  StoreClock clock{faulty, beat};
};

TEST_F(Settled, SweepsWhenAllIsWell) { EXPECT_TRUE(clock.may_sweep()); }

TEST_F(Settled, WithholdsSweepingAfterAJump) {
  clock.learn(time.at + beat + 1h, start, start);
  EXPECT_FALSE(clock.may_sweep());
}

TEST_F(Settled, WithholdsSweepingAfterAnAnswerThatTookABeat) {
  clock.learn(time.at + beat, start - 300ms, start);
  EXPECT_FALSE(clock.may_sweep());
}

TEST_F(Settled, WithholdsSweepingAfterSilence) {
  clock.learn(time.at + beat + 400ms, start + 400ms, start + 400ms);
  EXPECT_FALSE(clock.may_sweep());
}

}  // namespace

}  // namespace tidemill::engine
