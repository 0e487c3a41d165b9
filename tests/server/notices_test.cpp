// Marks on charts, and attention that is muted.
#include <chrono>

#include <fmt/chrono.h>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class NoticesTest : public ServeTest {
 protected:
  /// Midnight so many days ago, in UTC.
  static std::string midnight(int days_ago) {
    const auto today = std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now());
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", std::chrono::time_point_cast<std::chrono::seconds>(
                                                    today - std::chrono::days{days_ago}));
  }
  std::string attention() const { return boost::json::serialize(get("/overview").at("/attention")); }
};

TEST_F(NoticesTest, MarksStandInTheirTime) {
  const Reply mark = post("/marks", R"({"label":"release 4.2"})");
  ASSERT_EQ(mark.status, 201) << mark.body;
  EXPECT_EQ(mark.text("/label"), "release 4.2");
  const Reply earlier = post("/marks", fmt::format(R"({{"label":"release 4.1","at":"{}"}})", midnight(30)));
  EXPECT_EQ(earlier.text("/at").substr(0, 19), midnight(30).substr(0, 19));
  EXPECT_EQ(get("/overview").count("/marks"), 1U) << "of the last day";
  EXPECT_EQ(get("/overview").at("/marks/0"), mark.json());
  const auto series = [&](int from, int to) {
    return get(fmt::format("/stats/series?from={}&to={}", midnight(from), midnight(to)));
  };
  ASSERT_EQ(series(30, 29).count("/marks"), 1U);
  EXPECT_EQ(series(30, 29).at("/marks/0"), earlier.json());
  EXPECT_EQ(series(32, 30).count("/marks"), 0U);
  EXPECT_EQ(erase("/marks/" + mark.text("/id")).status, 204);
  EXPECT_EQ(get("/overview").count("/marks"), 0U);
  expect_problem(404, "not_found", erase("/marks/" + mark.text("/id")));
}

TEST_F(NoticesTest, WrongMarksAreRefused) {
  expect_mistake("/label", "bytes", post("/marks", "{}"));
  expect_mistake("/label", "bytes",
                 post("/marks", fmt::format(R"({{"label":"{}"}})", std::string(201, 'x'))));
  expect_mistake("/at", "366", post("/marks", R"({"label":"a","at":"2001-01-01T00:00:00Z"})"));
  expect_mistake("/at", "366", post("/marks", R"({"label":"a","at":"9001-01-01T00:00:00Z"})"));
  expect_mistake("/by", "token", post("/marks", R"({"label":"a","by":"ada"})"));
}

TEST_F(NoticesTest, WhatIsMutedIsLeftOutForItsTime) {
  post("/tasks", R"([{"kind":"a","queue":"a"},{"kind":"a","queue":"b"}])");
  for (const char* queue : {"a", "b"}) post(fmt::format("/queues/{}/pause", queue));
  EXPECT_EQ(get("/overview").count("/attention"), 2U);
  EXPECT_EQ(get("/overview").number("/muted"), 0);
  const Reply one = post("/attention/queue_paused/mute", R"({"for":"2h","target":"a"})");
  ASSERT_EQ(one.status, 200) << one.body;
  EXPECT_GT(one.text("/until"), get("/server").text("/time"));
  EXPECT_EQ(get("/overview").number("/muted"), 1);
  EXPECT_THAT(attention(), HasSubstr(R"("target":"b")"));
  EXPECT_EQ(post("/attention/queue_paused/mute", R"({"for":"1ms","target":"a"})").status, 200);
  EXPECT_TRUE(eventually([&] { return get("/overview").number("/muted") == 0; })) << "the last word counts";
  EXPECT_EQ(post("/attention/queue_paused/mute", R"({"for":"2h"})").status, 200);
  EXPECT_EQ(get("/overview").number("/muted"), 2);
  EXPECT_EQ(attention(), "[]");
  EXPECT_EQ(get("/queues/a").count("/warnings"), 1U) << "it is so all the same";
}

TEST_F(NoticesTest, WrongMutesAreRefused) {
  const Reply unknown = post("/attention/queue_pause/mute", R"({"for":"2h"})");
  expect_problem(404, "not_found", unknown);
  EXPECT_THAT(unknown.text("/detail"), HasSubstr("queue_paused"));
  expect_mistake("/for", "2h", post("/attention/queue_paused/mute", "{}"));
  expect_mistake("/for", "30 days", post("/attention/queue_paused/mute", R"({"for":"31d"})"));
  expect_mistake("/for", "30 days", post("/attention/queue_paused/mute", R"({"for":"0s"})"));
}

}  // namespace

}  // namespace tidemill::testing
