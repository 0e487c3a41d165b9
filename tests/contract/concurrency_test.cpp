// What must hold when many threads use one store at once.
#include "contract.hpp"

#include <atomic>
#include <barrier>
#include <mutex>
#include <random>
#include <set>
#include <thread>

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

constexpr int thread_count = 4;

class ConcurrencyContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  /// Runs `work` on some threads that start together; each is given its number.
  template <class Work>
  static void together(const Work& work) {
    std::barrier start{thread_count};
    std::vector<std::jthread> threads;
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        work(i);
      });
    }
  }
};

// Why: one task has at most one live lease, whoever claims at the same time. How: threads drain one queue;
// each task is seen once, under one token.
TEST_P(ConcurrencyContract, Rule2_TwoClaimersNeverShareATask) {
  constexpr std::size_t count = 2000;
  for (std::size_t i = 0; i < count / 1000; ++i) put_all(numbered(1000, std::to_string(i) + "-", task("")));
  std::mutex mutex;
  std::multiset<std::string> seen;
  std::set<std::string> tokens;
  together([&](int number) {
    const std::string worker = "w" + std::to_string(number);
    while (true) {
      const Claimed claimed = claim({.most = 7, .worker = worker});
      if (claimed.leases.empty()) return;
      const std::lock_guard lock{mutex};
      for (const Lease& lease : claimed.leases) {
        seen.insert(lease.task.ref.id);
        tokens.insert(lease.token);
      }
    }
  });
  EXPECT_EQ(seen.size(), count);
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}.size()), count);
  EXPECT_EQ(tokens.size(), count);
}

// Why: exactly one outcome is accepted, also of reports at the same moment. How: all threads report each
// lease.
TEST_P(ConcurrencyContract, Rule4_OneOfManyReportsIsApplied) {
  put_all(numbered(100, "t", task("")));
  const Claimed claimed = claim({.most = 100});
  ASSERT_EQ(claimed.leases.size(), 100U);
  std::vector<std::atomic<int>> applied(100);
  std::atomic<int> odd{0};
  together([&](int) {
    for (std::size_t i = 0; i < 100; ++i) {
      const Reported reported = end(claimed.leases[i], State::gone);
      if (reported == Reported::applied) ++applied[i];
      if (reported != Reported::applied && reported != Reported::ended) ++odd;
    }
  });
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(applied[i], 1) << i;
  EXPECT_EQ(odd, 0);
}

// Why: two producers with one key make one task. How: threads enqueue the same keys, each under ids of its
// own.
TEST_P(ConcurrencyContract, Rule5_OneOfManyTasksGetsTheKey) {
  need({Feature::unique});
  if (IsSkipped()) return;
  std::atomic<int> created{0};
  std::atomic<int> existing{0};
  together([&](int number) {
    for (int i = 0; i < 100; ++i) {
      const Enqueued answer = put(keyed(std::to_string(number) + "-" + std::to_string(i), std::to_string(i)));
      if (answer.put == Put::created) ++created;
      if (answer.put == Put::exists && answer.id.ends_with("-" + std::to_string(i))) ++existing;
    }
  });
  EXPECT_EQ(created, 100);
  EXPECT_EQ(existing, 100 * (thread_count - 1));
}

// Why: a producer that is told "created" has made the task, and nobody else has; stores write many calls at
// once. How: threads enqueue the same ids.
TEST_P(ConcurrencyContract, Rule5_OneOfManyMakesTheTask) {
  std::atomic<int> created{0};
  std::atomic<int> existing{0};
  together([&](int) {
    for (int i = 0; i < 100; ++i) {
      const Enqueued answer = put(task(std::to_string(i)));
      if (answer.put == Put::created) ++created;
      if (answer.put == Put::exists && answer.id == std::to_string(i)) ++existing;
    }
  });
  EXPECT_EQ(created, 100);
  EXPECT_EQ(existing, 100 * (thread_count - 1));
}

// Why: any number of schedulers may run without a leader: an instant fires once. How: threads race for each
// instant.
TEST_P(ConcurrencyContract, Rule10_OneOfManySchedulersFires) {
  need({Feature::schedules});
  if (IsSkipped()) return;
  const TimePoint start = now();
  const PutSchedule first{.schedule = {.id = "s", .rule = "{}", .next = start}};
  catalog().put_schedules({&first, 1}, call());
  std::atomic<int> created{0};
  together([&](int number) {
    for (int i = 0; i < 50; ++i) {
      Task one = task(std::to_string(number) + "-" + std::to_string(i));
      one.firing = Firing{"s", start + i * 1s, start + (i + 1) * 1s};
      // A scheduler that lags behind finds the instant gone; one that is ahead waits for it.
      while (true) {
        if (put(one).put == Put::created) {
          ++created;
          break;
        }
        if (catalog().schedules({}, call()).at(0).next > one.firing->instant) break;
        std::this_thread::yield();
      }
    }
  });
  EXPECT_EQ(created, 50);
  EXPECT_EQ(queue()->counts[State::pending], 50U);
}

// Why: a lease that lapses is taken by one sweeper. How: all sweep at once.
TEST_P(ConcurrencyContract, Rule3_OneOfManySweepersTakesALease) {
  put_all(numbered(200, "t", task("")));
  ASSERT_EQ(claim({.most = 200}).leases.size(), 200U);
  advance(25s);
  std::mutex mutex;
  std::multiset<std::string> taken;
  together([&](int number) {
    for (int i = 0; i < 20; ++i) {
      const Swept swept = sweep(10, "s" + std::to_string(number));
      const std::lock_guard lock{mutex};
      for (const Lease& lease : swept.taken) taken.insert(lease.task.ref.id);
    }
  });
  EXPECT_EQ(taken.size(), 200U);
  EXPECT_EQ((std::set<std::string>{taken.begin(), taken.end()}.size()), 200U);
}

// Why: counts come from counters, and a counter that drifts once is wrong for ever. How: threads do all verbs
// at random; then the counters must equal what the list really holds.
TEST_P(ConcurrencyContract, Rule7_CountersEqualRealCountsAfterRandomWork) {
  together([&](int number) {
    using enum State;
    std::mt19937 random{static_cast<unsigned>(number)};
    const std::string me = std::to_string(number);
    std::vector<Lease> mine;
    for (int i = 0; i < 300; ++i) {
      const std::string id = me + "-" + std::to_string(i);
      const std::string other =
          std::to_string(random() % thread_count) + "-" + std::to_string(random() % 300);
      const State first = std::array{pending, pending, scheduled, held}[random() % 4];
      Task one =
          keyed(id, std::to_string(random() % 50), {.on_conflict = static_cast<OnConflict>(random() % 3)});
      one.state = first;
      put_all({one, task(id + "+")});
      for (const Lease& lease : claim({.most = random() % 4, .worker = me}).leases) mine.push_back(lease);
      std::vector<Report> reports;
      const State to = std::array{gone, completed, archived, retry, pending, scheduled}[random() % 6];
      for (std::size_t n = 0; n < mine.size() && n < 3; ++n) {
        reports.push_back(outcome(mine[n], to));
        reports.back().keep = Duration{random() % 1000};
        if (random() % 4 == 0) reports.back().then = {task(id + "then" + std::to_string(n))};
      }
      store().report(reports, call());
      if (random() % 2 == 0) mine.clear();
      const State into = std::array{gone, archived, held, pending}[random() % 4];
      change(other, {.from = States::all(), .to = into, .release_key = true});
      if (random() % 10 == 0) advance(1s);
      sweep(5, me);
    }
  });
  std::map<std::string, std::map<State, std::uint64_t>> real;
  for (const Task& each : find({}, 1000)) ++real[each.ref.queue][each.state];
  for (QueueInfo& info : catalog().queues(call())) {
    std::erase_if(info.counts, [](const auto& entry) { return entry.second == 0; });
    EXPECT_EQ(info.counts, real[info.name]) << info.name;
    EXPECT_FALSE(info.counts.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ConcurrencyContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
