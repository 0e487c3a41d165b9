// Retry policies: how long the n-th retry waits.
#include <gtest/gtest.h>

#include <stdexcept>

#include <tidemill/error.hpp>
#include <tidemill/retry.hpp>

#include "refusal.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using tests::refusal;

Duration delay(const RetryPolicy& policy, int n, double random = 0.0) {
  return policy.delay({}, n, "why", random);
}

TEST(RetryPolicy, ExponentialGrowsToItsMost) {
  const RetryPolicy policy = RetryPolicy::exponential(5s, 2.0, 1min, 0.0);
  EXPECT_EQ(delay(policy, 1), 5s);
  EXPECT_EQ(delay(policy, 2), 10s);
  EXPECT_EQ(delay(policy, 4), 40s);
  EXPECT_EQ(delay(policy, 5), 1min);
  EXPECT_EQ(delay(policy, 1'000'000), 1min);
  EXPECT_EQ(delay(policy, 0), 5s) << "retries count from 1";
}

TEST(RetryPolicy, JitterTakesOffAShare) {
  const RetryPolicy policy = RetryPolicy::exponential(10s, 2.0, 6h, 0.2);
  EXPECT_EQ(delay(policy, 1, 0.0), 10s);
  EXPECT_EQ(delay(policy, 1, 0.5), 9s);
  EXPECT_GT(delay(policy, 1, 0.999999), 8s);
}

TEST(RetryPolicy, TheDefaultIsExponential) {
  EXPECT_EQ(delay(RetryPolicy{}, 1), 5s);
  EXPECT_EQ(delay(RetryPolicy{}, 30), 6h);
}

TEST(RetryPolicy, LinearGrowsByItsStep) {
  const RetryPolicy policy = RetryPolicy::linear(10s, 5s, 30s);
  EXPECT_EQ(delay(policy, 1), 10s);
  EXPECT_EQ(delay(policy, 3), 20s);
  EXPECT_EQ(delay(policy, 2'000'000'000), 30s);
}

TEST(RetryPolicy, ATableStaysAtItsLastEntry) {
  const RetryPolicy steps = RetryPolicy::steps();
  const std::vector<Duration> expected = {5s, 15s, 30s, 3min, 1h, 2h, 2h, 2h};
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(delay(steps, static_cast<int>(i) + 1), expected[i]);
}

// The table of Asynq's delays: before the first retry 15 to 44 s, before the 25th some 3.8 days.
TEST(RetryPolicy, AsynqsCurve) {
  struct Row {
    int retried;
    std::chrono::seconds least, most;
  };
  constexpr double almost_one = 0.999999;
  for (const Row& row : {Row{0, 15s, 44s}, Row{1, 16s, 74s}, Row{2, 31s, 118s}, Row{3, 96s, 212s},
                         Row{5, 640s, 814s}, Row{10, 10015s, 10334s}, Row{24, 331791s, 332516s}}) {
    EXPECT_EQ(delay(RetryPolicy::asynq(), row.retried + 1), row.least) << row.retried;
    EXPECT_EQ(delay(RetryPolicy::asynq(), row.retried + 1, almost_one), row.most) << row.retried;
  }
  EXPECT_EQ(delay(RetryPolicy::asynq(), 3, 0.05), 31s + 3s) << "chance counts in whole steps";
  EXPECT_EQ(delay(RetryPolicy::asynq(), 2'000'000'000), std::chrono::years{100});
}

TEST(RetryPolicy, AFunctionSeesTaskNumberAndError) {
  const RetryPolicy policy = RetryPolicy::function([](const Task& task, int n, std::string_view error) {
    return Duration{static_cast<int>(task.kind.size()) * 100 + n * 10 + static_cast<int>(error.size())};
  });
  EXPECT_EQ(policy.delay({.kind = "four"}, 7, "why", 0.0), Duration{473});
}

// Why: the caller's code decides how long a task waits, never whether it is lost.
TEST(RetryPolicy, AFunctionThatFailsCountsAsTheDefault) {
  EXPECT_EQ(delay(RetryPolicy::function([](const Task&, int, std::string_view) { return Duration{-1}; }), 1),
            5s);
  EXPECT_EQ(delay(RetryPolicy::function([](const Task&, int, std::string_view) -> Duration { throw 7; }), 2),
            10s);
}

TEST(RetryPolicy, WhatMakesNoSenseIsRefused) {
  EXPECT_EQ(refusal([] { RetryPolicy::exponential(-1s); }), "retry policy: delays must not be negative");
  EXPECT_EQ(refusal([] { RetryPolicy::exponential(1s, 0.9); }), "retry policy: the factor must be 1 or more");
  EXPECT_EQ(refusal([] { RetryPolicy::exponential(1s, 2.0, 1h, 1.5); }),
            "retry policy: jitter is a share, from 0 to 1");
  EXPECT_EQ(refusal([] { RetryPolicy::linear(1s, -1s); }), "retry policy: delays must not be negative");
  EXPECT_EQ(refusal([] { RetryPolicy::table({}); }), "retry policy: the table needs at least one delay");
  EXPECT_EQ(refusal([] { RetryPolicy::table({1s, -1s}); }), "retry policy: delays must not be negative");
  EXPECT_EQ(refusal([] { RetryPolicy::function(nullptr); }), "retry policy: the function is empty");
}

}  // namespace
}  // namespace tidemill
