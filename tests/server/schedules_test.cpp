// Schedules over HTTP.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class SchedulesOverHttpTest : public ServeTest {
 protected:
  static std::string schedule(const std::string& id, const std::string& spec = "0 3 * * *") {
    return fmt::format(R"({{"id":"{}","spec":"{}","zone":"Europe/Berlin","task":{{"kind":"report"}}}})", id,
                       spec);
  }
  std::string ids() const {
    const Reply all = get("/schedules");
    std::string found;
    for (std::size_t i = 0; i < all.count("/items"); ++i)
      found += all.text(fmt::format("/items/{}/id", i)) + " ";
    return found;
  }
};

TEST_F(SchedulesOverHttpTest, AScheduleIsMadeShownChangedAndDeleted) {
  const Reply made = post(
      "/schedules", R"({"id":"nightly","spec":"0 3 * * *","zone":"Europe/Berlin","gap":"skip","fold":"both",
          "missed":"all","overlap":"skip","jitter":"10s","task":{"kind":"report:build","queue":"reports",
          "payload":{"days": 1.50},"priority":2,"retries_max":3,"timeout":"1m","headers":{"h":"1"}}})");
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.header("Location"), "/api/v1/schedules/nightly");
  const Reply shown = get("/schedules/nightly");
  EXPECT_EQ(shown.body, made.body);
  EXPECT_EQ(shown.text("/zone"), "Europe/Berlin");
  EXPECT_EQ(shown.text("/fold"), "both");
  EXPECT_EQ(shown.text("/missed"), "all");
  EXPECT_EQ(shown.text("/jitter"), "10s");
  EXPECT_EQ(shown.text("/task/queue"), "reports");
  EXPECT_THAT(shown.body, HasSubstr(R"("payload":{"days": 1.50})"));
  EXPECT_FALSE(shown.at("/paused").as_bool());
  EXPECT_NE(shown.text("/next_at"), "");
  expect_problem(409, "conflict", post("/schedules", schedule("nightly")));
  const Reply changed = put("/schedules/nightly", schedule("nightly", "@every 1h"));
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(changed.text("/spec"), "@every 1h");
  EXPECT_EQ(changed.text("/task/kind"), "report");
  EXPECT_EQ(put("/schedules/other", R"({"spec":"@daily","task":{"kind":"a"}})").status, 201);
  EXPECT_EQ(ids(), "nightly other ");
  EXPECT_EQ(erase("/schedules/nightly").status, 204);
  EXPECT_EQ(ids(), "other ");
}

TEST_F(SchedulesOverHttpTest, WhatIsAbsentIsSaid) {
  expect_problem(404, "not_found", get("/schedules/absent"));
  expect_problem(404, "not_found", erase("/schedules/absent"));
  for (const char* act : {"pause", "resume", "run"})
    expect_problem(404, "not_found", post(fmt::format("/schedules/absent/{}", act)));
  EXPECT_EQ(get("/schedules").body, R"({"items":[]})");
}

TEST_F(SchedulesOverHttpTest, WhatIsWrongIsSaid) {
  expect_mistake("/spec", "is missing", post("/schedules", R"({"id":"a","task":{"kind":"a"}})"));
  expect_mistake("/task", "is missing", post("/schedules", R"({"id":"a","spec":"@daily"})"));
  expect_mistake("/task/kind", "is missing", post("/schedules", R"({"id":"a","spec":"@daily","task":{}})"));
  expect_mistake("/task/priority", "number",
                 post("/schedules", R"({"id":"a","spec":"@daily","task":{"kind":"a","priority":"x"}})"));
  expect_mistake("/id", "is missing", post("/schedules", R"({"spec":"@daily","task":{"kind":"a"}})"));
  expect_mistake("/id", "another", put("/schedules/a", schedule("b")));
  expect_mistake("/missed", "once",
                 post("/schedules", R"({"id":"a","spec":"@daily","missed":"twice","task":{"kind":"a"}})"));
  for (const char* wrong :
       {R"({"id":"a","spec":"61 * * * *","task":{"kind":"a"}})",
        R"({"id":"a","spec":"soon","task":{"kind":"a"}})",
        R"({"id":"a","spec":"@daily","zone":"Mars/Olympus","task":{"kind":"a"}})",
        R"({"id":"a","spec":"@daily","task":{"kind":"a","run_at":"2030-01-01T00:00:00Z"}})",
        R"({"id":"a","spec":"@daily","task":{"kind":"a","priority":101}})"}) {
    expect_problem(400, "invalid", post("/schedules", wrong));
    expect_problem(400, "invalid", put("/schedules?owner=me", fmt::format("[{}]", wrong)));
  }
  EXPECT_EQ(ids(), "");
}

TEST_F(SchedulesOverHttpTest, AnOwnersSchedulesBecomeThoseThatAreSent) {
  post("/schedules", schedule("mine"));
  EXPECT_EQ(put("/schedules?owner=code:app", fmt::format("[{},{}]", schedule("a"), schedule("b"))).body,
            R"({"changed":2})");
  EXPECT_EQ(get("/schedules/a").text("/owner"), "code:app");
  EXPECT_EQ(put("/schedules?owner=code:app", fmt::format("[{},{}]", schedule("a"), schedule("b"))).body,
            R"({"changed":0})");
  EXPECT_EQ(
      put("/schedules?owner=code:app", fmt::format("[{},{}]", schedule("b", "@daily"), schedule("c"))).body,
      R"({"changed":3})");
  EXPECT_EQ(ids(), "b c mine ");
  EXPECT_EQ(put("/schedules?owner=code:app", "[]").body, R"({"changed":2})");
  EXPECT_EQ(ids(), "mine ");
  expect_problem(400, "invalid", put("/schedules", "[]"));
  expect_mistake("", "must be an array", put("/schedules?owner=x", "{}"));
  expect_mistake("/1/id", "is missing",
                 put("/schedules?owner=x",
                     fmt::format(R"([{},{{"spec":"@daily","task":{{"kind":"a"}}}}])", schedule("a"))));
  expect_mistake("/0/spec", "is missing", put("/schedules?owner=x", R"([{"id":"a","task":{"kind":"a"}}])"));
  EXPECT_EQ(ids(), "mine ");
}

TEST_F(SchedulesOverHttpTest, APausedScheduleDoesNotFireAndAResumedOneDoes) {
  EXPECT_EQ(post("/schedules", schedule("often", "@every 1s")).status, 201);
  EXPECT_TRUE(eventually([&] { return get("/tasks/count?kind=report").number("/n") > 0; }));
  const Reply paused = post("/schedules/often/pause");
  EXPECT_EQ(paused.status, 200);
  EXPECT_TRUE(paused.at("/paused").as_bool());
  EXPECT_TRUE(get("/schedules/often").at("/paused").as_bool());
  const std::int64_t before = get("/tasks/count?kind=report").number("/n");
  EXPECT_FALSE(post("/schedules/often/resume").at("/paused").as_bool());
  EXPECT_TRUE(eventually([&] { return get("/tasks/count?kind=report").number("/n") > before; }));
  EXPECT_TRUE(get("/schedules/often").has("/last_at"));
}

TEST_F(SchedulesOverHttpTest, AScheduleRunsNowWhenItIsTold) {
  post("/schedules", schedule("yearly", "@yearly"));
  const Reply ran = post("/schedules/yearly/run");
  EXPECT_EQ(ran.status, 200);
  EXPECT_TRUE(ran.at("/created").as_bool());
  EXPECT_EQ(get("/tasks/" + ran.text("/id")).text("/kind"), "report");
  EXPECT_NE(post("/schedules/yearly/run").text("/id"), ran.text("/id"));
}

TEST_F(SchedulesOverHttpTest, APreviewShowsWhenItWouldFire) {
  const Reply preview = post(
      "/schedules/preview",
      R"({"spec":"30 2 * * *","zone":"Europe/Berlin","from":"2027-03-26T00:00:00Z","count":4,"gap":"after"})");
  EXPECT_EQ(preview.status, 200) << preview.body;
  ASSERT_EQ(preview.count("/fires"), 4U);
  EXPECT_EQ(preview.text("/fires/0/at"), "2027-03-26T01:30:00Z");
  EXPECT_EQ(preview.text("/fires/3/at"), "2027-03-29T00:30:00Z");
  EXPECT_EQ(post("/schedules/preview", R"({"spec":"@hourly"})").count("/fires"), 10U);
  expect_problem(422, "bad_cron", post("/schedules/preview", R"({"spec":"61 * * * *"})"));
  expect_problem(422, "bad_cron", post("/schedules/preview", R"({"spec":"@sometimes"})"));
  expect_problem(422, "bad_cron", post("/schedules/preview", R"({"spec":"@daily","zone":"Mars/Olympus"})"));
  expect_mistake("/spec", "is missing", post("/schedules/preview", "{}"));
  expect_mistake("/count", "50", post("/schedules/preview", R"({"spec":"@daily","count":51})"));
  expect_mistake("/gap", "skip", post("/schedules/preview", R"({"spec":"@daily","gap":"jump"})"));
  // Nothing comes for a day that never is.
  EXPECT_THAT(post("/schedules/preview", R"({"spec":"0 0 30 2 *"})").status, ::testing::AnyOf(200, 422));
  EXPECT_EQ(ids(), "");
}

}  // namespace

}  // namespace tidemill::testing
