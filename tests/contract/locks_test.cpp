// Named locks: who holds them, for how long, and that fences only grow.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <limits>
#include <set>
#include <thread>

#include <tidemill/locks.hpp>

#include "contract.hpp"
#include "refusal.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tests::refusal;

std::uint64_t microseconds(TimePoint at) { return static_cast<std::uint64_t>(at.time_since_epoch().count()); }

class LocksContract : public Contract {
 protected:
  void SetUp() override { need({Feature::locks}); }

  Locks& locks() { return *store().locks(); }
  LockInfo acquire(std::string_view owner, std::string_view name = "l", Duration length = 30s) {
    return locks().acquire(name, owner, length, call());
  }
  bool extend(const LockInfo& lock, Duration length = 30s) {
    return locks().extend(lock.name, lock.owner, lock.fence, length, call());
  }
  bool release(const LockInfo& lock) { return locks().release(lock.name, lock.owner, lock.fence, call()); }
  std::vector<std::string> names(std::string_view after = "", std::size_t limit = 100) {
    std::vector<std::string> names;
    for (const LockInfo& lock : locks().list(after, limit, call())) names.push_back(lock.name);
    return names;
  }
};

// Why: a lock has one holder, and whoever asks in vain learns who that is. How: two owners, then a release.
TEST_P(LocksContract, Port_ALockHasOneHolder) {
  const LockInfo mine = acquire("a");
  EXPECT_EQ(mine.name, "l");
  EXPECT_EQ(mine.owner, "a");
  EXPECT_EQ(mine.until, now() + 30s);
  EXPECT_GE(mine.fence, microseconds(now()));

  const LockInfo other = acquire("b", "l", 1h);
  EXPECT_EQ(other.owner, "a");
  EXPECT_EQ(other.fence, mine.fence);
  EXPECT_EQ(other.until, mine.until) << "unchanged";
  EXPECT_EQ(acquire("b", "other").owner, "b");

  EXPECT_TRUE(release(mine));
  EXPECT_EQ(acquire("b").owner, "b");
}

// Why: an acquire whose answer was lost is repeated. How: the same again, a little later.
TEST_P(LocksContract, Rule10_ARepeatedAcquireHasTheEffectOfOne) {
  const LockInfo first = acquire("a");
  advance(10s);
  const LockInfo again = acquire("a");
  EXPECT_EQ(again.fence, first.fence);
  EXPECT_EQ(again.until, now() + 30s);
  EXPECT_TRUE(extend(first));
  EXPECT_THAT(names(), ElementsAre("l"));
  EXPECT_TRUE(release(first));
  EXPECT_FALSE(release(first)) << "it is free already";
  EXPECT_THAT(names(), IsEmpty());
}

// Why: a holder that died must not keep the lock. How: around the very instant; with a sweep and without.
TEST_P(LocksContract, Port_ALockRunsOutAtItsInstant) {
  const LockInfo first = acquire("a");
  advance(30s - 1us);
  EXPECT_EQ(acquire("b").owner, "a");
  EXPECT_THAT(names(), ElementsAre("l"));
  advance(1us);
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_FALSE(extend(first)) << "too late, though nobody else has it";
  EXPECT_FALSE(release(first));
  const LockInfo second = acquire("b");
  EXPECT_EQ(second.owner, "b");
  EXPECT_GT(second.fence, first.fence);
  advance(30s);
  sweep();
  const LockInfo third = acquire("b");
  EXPECT_GT(third.fence, second.fence) << "the same owner, but there was a time without";
}

// Why: the lease is counted from the last extension, also a shorter one. How: extend twice.
TEST_P(LocksContract, Port_AnExtensionCountsFromNow) {
  const LockInfo lock = acquire("a");
  advance(29s);
  EXPECT_TRUE(extend(lock, 30s));
  advance(29s);
  EXPECT_EQ(acquire("b").owner, "a");
  EXPECT_TRUE(extend(lock, 1s));
  EXPECT_EQ(acquire("b").until, now() + 1s);
  advance(1s);
  EXPECT_EQ(acquire("b").owner, "b");
}

// Why: who has lost a lock must change nothing. How: extend and release with each part of the right wrong.
TEST_P(LocksContract, Rule2_OnlyOwnerAndFenceTogetherCount) {
  const LockInfo lock = acquire("a");
  for (LockInfo wrong : {LockInfo{"l", "b", lock.fence}, LockInfo{"l", "a", lock.fence + 1},
                         LockInfo{"l", "a", lock.fence - 1}, LockInfo{"l", "a", 0},
                         LockInfo{"l", "a", std::numeric_limits<std::uint64_t>::max()},
                         LockInfo{"m", "a", lock.fence}, LockInfo{"L", "a", lock.fence}}) {
    EXPECT_FALSE(extend(wrong, 1h));
    EXPECT_FALSE(release(wrong));
  }
  const LockInfo same = acquire("b");
  EXPECT_EQ(same.owner, "a");
  EXPECT_EQ(same.until, lock.until);
}

// Why: a resource compares fences, so a smaller one must never be given after a greater one, whatever is
// known of the lock's past. How: time stands still or goes back; locks are released, run out, are swept.
TEST_P(LocksContract, Port_FencesOnlyGrow) {
  std::uint64_t last = 0;
  const auto next = [&](const std::string& name, const std::string& owner) {
    const LockInfo lock = acquire(owner, name, 1s);
    EXPECT_EQ(lock.owner, owner);
    EXPECT_GT(lock.fence, last);
    last = lock.fence;
    return lock;
  };
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(release(next("l", std::to_string(i))));
  next("l", "a");
  next("m", "a");
  advance(1s);
  EXPECT_GE(next("l", "b").fence, microseconds(now())) << "it follows the time";
  advance(1s);
  sweep();
  advance(-1h);
  next("l", "c");
  next("m", "c");
  advance(2h);
  sweep();
  if (GetParam().durable) reopen();
  advance(-2h);
  next("l", "d");
}

// Why: what has run out must go, and a sweep is bounded. How: more than its limit.
TEST_P(LocksContract, Rule7_ASweepDeletesAtMostItsLimit) {
  for (int i = 0; i < 5; ++i) acquire("a", "l" + std::to_string(i), 1s);
  acquire("a", "stays", 1h);
  advance(1s);
  EXPECT_TRUE(sweep(3).more);
  EXPECT_FALSE(sweep(3).more);
  EXPECT_FALSE(sweep(3).more);
  EXPECT_THAT(names(), ElementsAre("stays"));
}

TEST_P(LocksContract, Port_HeldLocksAreListedByNamePageByPage) {
  EXPECT_THAT(names(), IsEmpty());
  for (const std::string_view name : {"b", "a", "\xc3\xa4", "B", "c"}) acquire("o", name);
  acquire("o", "short", 1s);
  release(acquire("o", "released"));
  advance(1s);
  EXPECT_THAT(names(), ElementsAre("B", "a", "b", "c", "\xc3\xa4"));
  EXPECT_THAT(names("a", 2), ElementsAre("b", "c"));
  EXPECT_THAT(names("bb", 1), ElementsAre("c"));
  EXPECT_THAT(names("", 0), IsEmpty());
  const LockInfo lock = locks().list("", 1, call()).at(0);
  EXPECT_EQ(lock.owner, "o");
  EXPECT_GT(lock.fence, 0U);
  EXPECT_EQ(lock.until, now() + 29s);
}

// Why: names come from anywhere, so any bytes will do. How: each is a lock of its own, read back as it was.
TEST_P(LocksContract, Port_NamesHaveAnyBytes) {
  const std::vector<std::string> odd = {"l",
                                        "l ",
                                        " l",
                                        "L",
                                        "l\n",
                                        std::string("l\0", 2),
                                        std::string("l\0m", 3),
                                        "\xff\xfe",
                                        "\xe2\x82\xac",
                                        "'; DROP",
                                        "%",
                                        std::string(4096, 'x'),
                                        std::string(4095, 'x') + "y"};
  for (const std::string& name : odd) {
    const LockInfo lock = acquire(name, name);
    EXPECT_EQ(lock.name, name);
    EXPECT_EQ(lock.owner, name);
    EXPECT_EQ(acquire("o", name).owner, name);
    EXPECT_TRUE(extend(lock));
  }
  std::vector<std::string> sorted = odd;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(names(), sorted);
}

TEST_P(LocksContract, Port_WhatMakesNoSenseIsRefused) {
  const std::string long_name(4097, 'x');
  refusal([&] { acquire("a", ""); });
  refusal([&] { acquire("", "l"); });
  refusal([&] { acquire("a", long_name); });
  refusal([&] { acquire(long_name, "l"); });
  refusal([&] { acquire("a", "l", 0s); });
  refusal([&] { acquire("a", "l", -1us); });
  refusal([&] { acquire("a", "l", Duration::max()); });
  const LockInfo lock = acquire("a");
  refusal([&] { extend(lock, 0s); });
  refusal([&] { extend({"", "a", lock.fence}); });
  refusal([&] { extend({"l", "", lock.fence}); });
  refusal([&] { release({"", "a", lock.fence}); });
  refusal([&] { release({"l", "", lock.fence}); });
  EXPECT_EQ(locks().list("", 9, call()).at(0).until, lock.until);
}

// Why: mutual exclusion is what it is all about. How: threads fight for a few locks; whoever has one owns a
// plain number, and sees fences that only grow.
TEST_P(LocksContract, Rule2_OneOfManyThreadsHoldsTheLock) {
  constexpr int thread_count = 4;
  constexpr int turns = 200;
  int counter = 0;
  std::uint64_t last = 0;
  std::atomic<int> wrong{0};
  {
    std::barrier start{thread_count};
    std::vector<std::jthread> threads;
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&, owner = std::to_string(i)] {
        start.arrive_and_wait();
        for (int turn = 0; turn < turns;) {
          const LockInfo lock = acquire(owner);
          if (lock.owner != owner) {
            std::this_thread::yield();
            continue;
          }
          ++counter;
          if (lock.fence <= last) ++wrong;
          last = lock.fence;
          if (!release(lock)) ++wrong;
          ++turn;
        }
      });
    }
  }
  EXPECT_EQ(counter, thread_count * turns);
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Stores, LocksContract, testing::ValuesIn(backends()), name_of);

class DurableLocksContract : public LocksContract {};

// Why: a restart is no release. How: close and open with a lock held, and one run out.
TEST_P(DurableLocksContract, Rule1_LocksSurviveARestart) {
  const LockInfo lock = acquire("a");
  const LockInfo gone = acquire("a", "gone", 1s);
  advance(1s);
  reopen();
  EXPECT_EQ(acquire("b").owner, "a");
  EXPECT_EQ(acquire("b").fence, lock.fence);
  EXPECT_TRUE(extend(lock));
  EXPECT_GT(acquire("b", "gone").fence, gone.fence);
  EXPECT_TRUE(release(lock));
  reopen();
  EXPECT_GT(acquire("b").fence, lock.fence);
}

// Why: programs on one machine share nothing but the store. How: two store objects race for each lock; one
// gets it, the other is told who, and all fences are different.
TEST_P(DurableLocksContract, Rule2_OneOfTwoStoresGetsTheLock) {
  const auto second = open_again();
  Store* const stores[2] = {&store(), second.get()};
  constexpr int count = 200;
  std::vector<LockInfo> got[2];
  {
    std::barrier start{2};
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        const std::string owner = std::to_string(i);
        for (int n = 0; n < count; ++n) {
          start.arrive_and_wait();
          got[i].push_back(stores[i]->locks()->acquire("l" + std::to_string(n), owner, 30s, call()));
        }
      });
    }
  }
  std::set<std::uint64_t> fences;
  for (std::size_t n = 0; n < count; ++n) {
    EXPECT_EQ(got[0][n].owner, got[1][n].owner) << n;
    EXPECT_EQ(got[0][n].fence, got[1][n].fence) << n;
    if (n > 0) {
      EXPECT_GT(got[0][n].fence, got[0][n - 1].fence);
    }
    fences.insert(got[0][n].fence);
  }
  EXPECT_EQ(fences.size(), count);
}

INSTANTIATE_TEST_SUITE_P(Stores, DurableLocksContract, testing::ValuesIn(durable_backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
