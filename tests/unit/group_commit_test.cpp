// Group commit: every item goes through exactly one flush, flushes never overlap, and callers that come while
// one is under way share the next.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "core/group_commit.hpp"

namespace {

struct Item {
  int weight = 1;
  int flushed = 0;
  std::size_t batch = 0;
};
using Commit = tidemill::GroupCommit<Item>;

bool any(std::span<Item* const>, const Item&) { return true; }

TEST(GroupCommit, EveryItemIsFlushedOnceAndFlushesNeverOverlap) {
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  Commit commit{[&](std::span<Item* const> items) {
                  if (inside.fetch_add(1) != 0) ++overlaps;
                  for (Item* item : items) ++item->flushed;
                  inside.fetch_sub(1);
                },
                any};
  constexpr int rounds = 2000;
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          Item item;
          commit.run(item);
          if (item.flushed != 1) ++wrong;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(overlaps, 0);
}

// Holds the first flush until the test lets it go, so that what gathers meanwhile is known.
struct Gate {
  std::promise<void> entered;
  std::promise<void> open;
  bool first = true;
  std::vector<std::vector<Item*>> batches;

  void flush(std::span<Item* const> items) {
    batches.emplace_back(items.begin(), items.end());
    for (Item* item : items) item->batch = batches.size();
    if (!first) return;
    first = false;
    entered.set_value();
    open.get_future().wait();
  }
};

void wait_until_queued(Commit& commit, std::size_t count) {
  while (commit.queued() < count) std::this_thread::yield();
}

TEST(GroupCommit, CallersThatComeDuringAFlushShareTheNext) {
  Gate gate;
  Commit commit{[&](std::span<Item* const> items) { gate.flush(items); }, any};
  Item first;
  std::jthread leader{[&] { commit.run(first); }};
  gate.entered.get_future().wait();
  std::vector<Item> items(10);
  std::vector<std::jthread> threads;
  for (Item& item : items) threads.emplace_back([&] { commit.run(item); });
  wait_until_queued(commit, 10);
  gate.open.set_value();
  threads.clear();
  leader.join();
  EXPECT_EQ(gate.batches.size(), 2U);
  for (const Item& item : items) EXPECT_EQ(item.batch, 2U);
}

TEST(GroupCommit, ABatchEndsWhereTheNextDoesNotFit) {
  std::vector<std::size_t> sizes;
  Commit commit{[&](std::span<Item* const> items) { sizes.push_back(items.size()); },
                [](std::span<Item* const> gathered, const Item& next) {
                  int weight = next.weight;
                  for (const Item* item : gathered) weight += item->weight;
                  return weight <= 3;
                }};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          Item item{.weight = i % 5 == 0 ? 10 : 1};  // One that never fits goes alone.
          commit.run(item);
        }
      });
    }
  }
  std::size_t total = 0;
  for (const std::size_t size : sizes) {
    EXPECT_LE(size, 3U);
    total += size;
  }
  EXPECT_EQ(total, 4000U);
}

TEST(GroupCommit, AnUrgentItemGoesIntoTheNextBatch) {
  Gate gate;
  Commit commit{[&](std::span<Item* const> items) { gate.flush(items); },
                [](std::span<Item* const> gathered, const Item&) { return gathered.empty(); }};
  Item first;
  std::jthread leader{[&] { commit.run(first); }};
  gate.entered.get_future().wait();
  std::vector<Item> items(5);
  std::vector<std::jthread> threads;
  for (Item& item : items) threads.emplace_back([&] { commit.run(item); });
  wait_until_queued(commit, 5);
  Item urgent;
  std::jthread hasty{[&] { commit.run(urgent, true); }};
  wait_until_queued(commit, 6);
  gate.open.set_value();
  hasty.join();
  threads.clear();
  leader.join();
  EXPECT_EQ(urgent.batch, 2U);
  EXPECT_EQ(gate.batches.size(), 7U);
}

TEST(GroupCommit, AloneRunsOnlyWhileNobodyFlushes) {
  Commit commit{[](std::span<Item* const>) {}, any};
  bool ran = false;
  EXPECT_TRUE(commit.try_alone([&] {
    ran = true;
    EXPECT_FALSE(commit.try_alone([] {}));
  }));
  EXPECT_TRUE(ran);
  Item item;
  commit.run(item);  // It was given back.
}

}  // namespace
