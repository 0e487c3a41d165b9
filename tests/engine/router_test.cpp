// A kind finds the handler with the exact name, else the one with the longest prefix; middleware goes around
// those that are registered after it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/router.hpp>

#include "engine/attempt.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {

namespace {

/// The result of what the router finds for a kind; empty when it finds nothing.
std::string answer(const Router& router, std::string_view kind) {
  const auto store = open_memory();
  engine::StoreClock clock{*store};
  Lease lease;
  lease.task.kind = kind;
  const RetryPolicy retry;
  const engine::RanHere ran = engine::run_here(lease, router, {.retry = retry}, clock);
  return ran.outcome.kind() == Outcome::Kind::success ? ran.outcome.text() : "";
}

Handler says(std::string text) {
  return [text = std::move(text)](Context&) { return Outcome::success(text); };
}

TEST(Router, PrefersTheExactKindThenTheLongestPrefix) {
  Router router;
  router.handle("*", says("all")).handle("image:*", says("image")).handle("image:re*", says("re"));
  router.handle("image:resize", says("resize"));
  EXPECT_EQ(answer(router, "image:resize"), "resize");
  EXPECT_EQ(answer(router, "image:resize2"), "re");
  EXPECT_EQ(answer(router, "image:crop"), "image");
  EXPECT_EQ(answer(router, "image:"), "image");
  EXPECT_EQ(answer(router, "imagine"), "all");
  EXPECT_EQ(answer(router, "z"), "all");
}

TEST(Router, FindsNothingWithoutAMatch) {
  Router router;
  EXPECT_EQ(router.find("a"), nullptr);
  router.handle("b", says("b")).handle("c:*", says("c"));
  EXPECT_EQ(router.find("a"), nullptr);
  EXPECT_EQ(router.find("bb"), nullptr);
  EXPECT_EQ(router.find("c"), nullptr);
  EXPECT_EQ(router.find("d"), nullptr);
  EXPECT_EQ(answer(router, "d"), "");
}

TEST(Router, CallsTheFirstMiddlewareOutermostAndOnlyAroundLaterHandlers) {
  Router router;
  std::vector<std::string> calls;
  const auto trace = [&calls](std::string name) {
    return [&calls, name](Context& context, const Handler& next) {
      calls.push_back(name);
      return next(context);
    };
  };
  router.handle("bare", says("bare"));
  router.use(trace("one")).use(trace("two")).handle("wrapped", says("wrapped"));
  EXPECT_EQ(answer(router, "bare"), "bare");
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(answer(router, "wrapped"), "wrapped");
  EXPECT_EQ(calls, (std::vector<std::string>{"one", "two"}));
}

TEST(Router, LetsAMiddlewareAnswerInTheHandlersPlace) {
  Router router;
  router.use([](Context&, const Handler&) { return Outcome::success("instead"); });
  router.handle("a", says("a"));
  EXPECT_EQ(answer(router, "a"), "instead");
}

TEST(Router, RefusesKindsThatMakeNoSense) {
  Router router;
  router.handle("a", says("a")).handle("a*", says("prefix"));
  EXPECT_THROW(router.handle("", says("")), Error);
  EXPECT_THROW(router.handle("a*b", says("")), Error);
  EXPECT_THROW(router.handle("a**", says("")), Error);
  EXPECT_THROW(router.handle("a", says("")), Error);
  EXPECT_THROW(router.handle("a*", says("")), Error);
  EXPECT_THROW(router.handle(std::string(300, 'x'), says("")), Error);
  EXPECT_THROW(router.handle("empty", Handler{}), Error);
  EXPECT_THROW(router.use(Middleware{}), Error);
  EXPECT_EQ(answer(router, "a"), "a");
}

}  // namespace

}  // namespace tidemill
