// The batcher: everything is flushed once and in order, batches keep their limits, and too much waits
// outside.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/batcher.hpp"

namespace {

using namespace std::chrono_literals;
using tidemill::engine::Batcher;
using tidemill::engine::BatcherOptions;

/// Collects batches; the first one waits until it is let go.
struct Held {
  std::promise<void> entered;
  std::promise<void> open;
  std::vector<std::vector<int>> batches;

  void operator()(std::span<int> items) {
    batches.emplace_back(items.begin(), items.end());
    if (batches.size() > 1) return;
    entered.set_value();
    open.get_future().wait();
  }
  std::vector<int> all() const {
    std::vector<int> items;
    for (const auto& batch : batches) items.insert(items.end(), batch.begin(), batch.end());
    return items;
  }
};

TEST(Batcher, WhatGathersDuringAFlushIsTheNextBatch) {
  Held held;
  Batcher<int> batcher{std::ref(held)};
  EXPECT_TRUE(batcher.push(0));
  held.entered.get_future().wait();
  for (int i = 1; i < 10; ++i) EXPECT_TRUE(batcher.push(int{i}));
  EXPECT_EQ(batcher.queued(), 9U);
  held.open.set_value();
  batcher.close();
  ASSERT_EQ(held.batches.size(), 2U);
  EXPECT_EQ(held.all(), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(Batcher, ABatchEndsAtItsCountAndAtItsWeight) {
  for (const BatcherOptions& options :
       {BatcherOptions{.batch_max = 3}, BatcherOptions{.batch_weight_max = 31}}) {
    Held held;
    Batcher<int> batcher{std::ref(held), options, [](const int&) { return std::size_t{10}; }};
    batcher.push(0);
    held.entered.get_future().wait();
    for (int i = 0; i < 7; ++i) batcher.push(int{i});
    held.open.set_value();
    batcher.close();
    ASSERT_EQ(held.batches.size(), 4U);
    EXPECT_EQ(held.batches[1].size(), 3U);
    EXPECT_EQ(held.batches[3].size(), 1U);
  }
}

TEST(Batcher, AnItemHeavierThanABatchGoesAlone) {
  Held held;
  Batcher<int> batcher{std::ref(held), {.batch_weight_max = 5, .queued_weight_max = 5}, [](const int&) {
                         return std::size_t{10};
                       }};
  batcher.push(0);
  held.entered.get_future().wait();
  EXPECT_TRUE(batcher.try_push(1)) << "one item always fits";
  EXPECT_FALSE(batcher.try_push(2));
  held.open.set_value();
  batcher.close();
  EXPECT_EQ(held.batches, (std::vector<std::vector<int>>{{0}, {1}}));
}

TEST(Batcher, WhenFullTryPushRefusesAndPushWaits) {
  Held held;
  Batcher<int> batcher{std::ref(held), {.queued_max = 2}};
  batcher.push(0);
  held.entered.get_future().wait();
  EXPECT_TRUE(batcher.try_push(1));
  EXPECT_TRUE(batcher.try_push(2));
  EXPECT_FALSE(batcher.try_push(3));
  auto waits = std::async(std::launch::async, [&] { return batcher.push(4); });
  EXPECT_EQ(batcher.queued(), 2U);
  held.open.set_value();
  EXPECT_TRUE(waits.get());
  batcher.close();
  EXPECT_EQ(held.all(), (std::vector<int>{0, 1, 2, 4}));
}

TEST(Batcher, TakesNothingAfterClose) {
  Held held;
  held.open.set_value();
  Batcher<int> batcher{std::ref(held)};
  batcher.push(1);
  batcher.close();
  batcher.close();
  EXPECT_FALSE(batcher.push(2));
  EXPECT_FALSE(batcher.try_push(3));
  EXPECT_EQ(held.all(), std::vector<int>{1});
}

TEST(Batcher, EveryItemOfManyThreadsIsFlushedOnce) {
  constexpr int threads = 8;
  constexpr int each = 5000;
  std::vector<int> seen(threads * each);
  {
    Batcher<int> batcher{[&](std::span<int> items) {
                           for (const int item : items) ++seen[static_cast<std::size_t>(item)];
                         },
                         {.queued_max = 100}};
    std::vector<std::jthread> producers;
    for (int t = 0; t < threads; ++t) {
      producers.emplace_back([&batcher, t] {
        for (int i = 0; i < each; ++i) batcher.push(t * each + i);
      });
    }
  }
  for (const int count : seen) EXPECT_EQ(count, 1);
}

}  // namespace
