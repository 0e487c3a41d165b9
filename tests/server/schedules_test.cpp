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
  const Reply wrong = put("/schedules/a", R"({"spec":"0 25 * * *","task":{"kind":"a"}})");
  expect_problem(422, "bad_cron", wrong);
  EXPECT_EQ(wrong.number("/column"), 3);
  EXPECT_EQ(wrong.text("/errors/0/pointer"), "/spec");
  const Reply nowhere =
      put("/schedules?owner=x", R"([{"id":"a","spec":"@daily","zone":"Mars/Olympus","task":{"kind":"a"}}])");
  expect_problem(422, "unknown_zone", nowhere);
  EXPECT_EQ(nowhere.text("/errors/0/pointer"), "/0/zone");
  expect_mistake("/id", "another", put("/schedules/a", schedule("b")));
  expect_mistake("/missed", "once",
                 post("/schedules", R"({"id":"a","spec":"@daily","missed":"twice","task":{"kind":"a"}})"));
  const auto expect_refused = [&](int status, const std::string& code, const char* body) {
    expect_problem(status, code, post("/schedules", body));
    expect_problem(status, code, put("/schedules?owner=me", fmt::format("[{}]", body)));
  };
  expect_refused(422, "bad_cron", R"({"id":"a","spec":"61 * * * *","task":{"kind":"a"}})");
  expect_refused(422, "bad_cron", R"({"id":"a","spec":"soon","task":{"kind":"a"}})");
  const std::string longest(2000, '1');
  expect_refused(422, "bad_cron",
                 fmt::format(R"({{"id":"a","spec":"{} * * * *","task":{{"kind":"a"}}}})", longest).c_str());
  expect_refused(422, "unknown_zone",
                 R"({"id":"a","spec":"@daily","zone":"Mars/Olympus","task":{"kind":"a"}})");
  expect_refused(422, "bad_cron", R"({"id":"a","spec":"0 0 30 2 *","task":{"kind":"a"}})");
  EXPECT_THAT(put("/schedules/a", R"({"spec":"0 0 31 4,6 *","task":{"kind":"a"}})").text("/detail"),
              ::testing::HasSubstr("never fires"));
  expect_refused(400, "invalid",
                 R"({"id":"a","spec":"@daily","task":{"kind":"a","run_at":"2030-01-01T00:00:00Z"}})");
  expect_refused(400, "invalid", R"({"id":"a","spec":"@daily","task":{"kind":"a","priority":101}})");
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
  EXPECT_EQ(preview.text("/fires/0/local"), "2027-03-26T02:30:00");
  EXPECT_EQ(preview.text("/fires/0/offset"), "+01:00");
  EXPECT_EQ(preview.text("/fires/3/at"), "2027-03-29T00:30:00Z");
  EXPECT_EQ(preview.text("/fires/3/local"), "2027-03-29T02:30:00");
  EXPECT_EQ(preview.text("/fires/3/offset"), "+02:00");
  EXPECT_EQ(post("/schedules/preview", R"({"spec":"@hourly"})").count("/fires"), 10U);
  EXPECT_EQ(post("/schedules/preview",
                 R"({"spec":"@daily","zone":"America/St_Johns","from":"2027-01-01T00:00:00Z"})")
                .text("/fires/0/offset"),
            "-03:30");
  expect_problem(422, "bad_cron", post("/schedules/preview", R"({"spec":"61 * * * *"})"));
  expect_problem(422, "bad_cron", post("/schedules/preview", R"({"spec":"@sometimes"})"));
  expect_problem(422, "unknown_zone",
                 post("/schedules/preview", R"({"spec":"@daily","zone":"Mars/Olympus"})"));
  expect_mistake("/spec", "is missing", post("/schedules/preview", "{}"));
  expect_mistake("/count", "50", post("/schedules/preview", R"({"spec":"@daily","count":51})"));
  expect_mistake("/gap", "skip", post("/schedules/preview", R"({"spec":"@daily","gap":"jump"})"));
  // Nothing comes for a day that never is.
  EXPECT_THAT(post("/schedules/preview", R"({"spec":"0 0 30 2 *"})").status, ::testing::AnyOf(200, 422));
  EXPECT_EQ(ids(), "");
}

TEST_F(SchedulesOverHttpTest, APreviewSaysInWordsWhatTheClocksDo) {
  const std::string body =
      R"({"spec":"30 2 * * *","zone":"Europe/Berlin","from":"2027-03-26T00:00:00Z","count":4})";
  const Reply preview = post("/schedules/preview", body);
  EXPECT_EQ(preview.text("/text"), "At 02:30 every day, Europe/Berlin");
  EXPECT_FALSE(preview.has("/fires/1/note"));
  EXPECT_EQ(preview.text("/fires/2/note"), "02:30 does not exist on this day; runs at 03:00");
  EXPECT_EQ(preview.text("/fires/2/local"), "2027-03-28T03:00:00");
  EXPECT_EQ(preview.count("/clock_changes"), 1U);
  EXPECT_EQ(preview.at("/clock_changes/0"), preview.at("/fires/2"));
  EXPECT_EQ(preview.count("/warnings"), 0U);
  const Reply never = post("/schedules/preview", R"({"spec":"0 0 30 2 *"})");
  EXPECT_EQ(never.count("/fires"), 0U);
  EXPECT_EQ(never.text("/warnings/0"), "it never fires: February has no day 30");
  EXPECT_EQ(post("/schedules/preview",
                 R"({"spec":"CRON_TZ=Asia/Tokyo 0 9 * * *","from":"2026-12-31T12:00:00Z","count":1})")
                .text("/fires/0/local"),
            "2027-01-01T09:00:00")
      << "the zone of the spec wins";
}

TEST_F(SchedulesOverHttpTest, WhatBecameOfInstantsIsTold) {
  EXPECT_EQ(put("/schedules/often", R"({"spec":"* * * * * *","overlap":"skip","task":{"kind":"a"}})").status,
            201);
  EXPECT_EQ(get("/schedules/often").text("/text"), "Every second, UTC");
  EXPECT_EQ(get("/schedules/often").count("/strip"), 0U);
  ASSERT_TRUE(eventually([&] { return get("/schedules/often/firings").count("/items") >= 2; }));
  ASSERT_EQ(post("/schedules/often/pause").status, 200);
  const Reply past = get("/schedules/often/firings");
  const std::string first = fmt::format("/items/{}", past.count("/items") - 1);
  EXPECT_EQ(past.text(first + "/outcome"), "enqueued");
  EXPECT_EQ(past.text(first + "/state"), "pending");
  EXPECT_GE(past.text(first + "/fired_at"), past.text(first + "/instant").substr(0, 19));
  EXPECT_EQ(past.text("/items/0/outcome"), "skipped_overlap");
  EXPECT_EQ(past.text("/items/0/task_id"), past.text(first + "/task_id"));
  EXPECT_EQ(state(past.text(first + "/task_id")), "pending");
  const Reply shown = get("/schedules/often");
  EXPECT_EQ(shown.at("/last"), past.at("/items/0"));
  EXPECT_EQ(shown.count("/strip"), past.count("/items"));
  EXPECT_EQ(shown.text("/strip/0"), "skipped_overlap");
  EXPECT_EQ(get("/schedules").at("/items/0/last"), shown.at("/last"));
  EXPECT_EQ(erase("/tasks/" + past.text(first + "/task_id")).status, 204);
  EXPECT_FALSE(get("/schedules/often/firings").has(first + "/state")) << "the task is gone";
  EXPECT_EQ(erase("/schedules/often").status, 204);
  expect_problem(404, "not_found", get("/schedules/often/firings"));
}

// ---- Tags

class ScheduleTagsTest : public SchedulesOverHttpTest {
 protected:
  Reply with(const std::string& match, const std::string& method, const std::string& target,
             const std::string& body = "") const {
    return send(method, "/api/v1" + target, body,
                fmt::format("Content-Type: application/json\r\nIf-Match: {}\r\n", match));
  }
};

TEST_F(ScheduleTagsTest, AChangeOfWhatOthersHaveChangedIsRefused) {
  const std::string first = put("/schedules/a", schedule("a")).header("ETag");
  EXPECT_EQ(first, fmt::format("\"{}\"", get("/schedules/a").text("/etag")));
  EXPECT_EQ(get("/schedules").text("/items/0/etag"), get("/schedules/a").text("/etag"));
  const Reply second = with(first, "PUT", "/schedules/a", schedule("a", "0 4 * * *"));
  EXPECT_EQ(second.status, 200) << second.body;
  EXPECT_NE(second.header("ETag"), first);
  const Reply late = with(first, "PUT", "/schedules/a", schedule("a", "0 5 * * *"));
  expect_problem(412, "changed", late);
  EXPECT_EQ(late.header("ETag"), second.header("ETag"));
  EXPECT_EQ(get("/schedules/a").text("/spec"), "0 4 * * *");
  expect_problem(412, "changed", with(first, "POST", "/schedules/a/pause"));
  expect_problem(412, "changed", with(first, "DELETE", "/schedules/a"));
  const Reply paused = with(second.header("ETag"), "POST", "/schedules/a/pause");
  EXPECT_EQ(paused.status, 200);
  EXPECT_NE(paused.header("ETag"), second.header("ETag"));
  const std::string list = fmt::format("{}, {}", first, paused.header("ETag"));
  EXPECT_EQ(with(list, "POST", "/schedules/a/resume").header("ETag"), second.header("ETag"));
  EXPECT_EQ(with("*", "PUT", "/schedules/a", schedule("a")).header("ETag"), first);
  EXPECT_EQ(with(first, "DELETE", "/schedules/a").status, 204);
}

TEST_F(ScheduleTagsTest, WhatIsNotThereMatchesNoTag) {
  expect_problem(412, "changed", with("*", "PUT", "/schedules/a", schedule("a")));
  expect_problem(412, "changed", with("\"x\"", "PUT", "/schedules/a", schedule("a")));
  expect_problem(404, "not_found", with("*", "DELETE", "/schedules/a"));
  const std::string tag = put("/schedules/a", schedule("a")).header("ETag");
  expect_problem(412, "changed", with("W/" + tag, "DELETE", "/schedules/a"));
  expect_problem(400, "invalid", with("abc", "DELETE", "/schedules/a"));
}

// ---- Backfills

class BackfillTest : public SchedulesOverHttpTest {
 protected:
  Reply done(const Reply& made) const {
    Reply operation;
    EXPECT_EQ(made.status, 202) << made.body;
    EXPECT_TRUE(eventually([&] {
      operation = get(made.header("Location").substr(7));
      return operation.text("/state") == "done";
    })) << operation.body;
    return operation;
  }
  static std::string week(const std::string& more = "") {
    return fmt::format(R"({{"from":"2024-11-01T00:00:00Z","to":"2024-11-08T00:00:00Z"{}}})", more);
  }
};

TEST_F(BackfillTest, EachInstantOfATimeThatIsPastGetsATaskOnce) {
  put("/schedules/a",
      R"({"spec":"0 3 * * *","overlap":"skip","task":{"kind":"report","queue":"r","payload":{"n":1}}})");
  const Reply estimate = post("/schedules/a/backfill", week(R"(,"dry_run":true)"));
  EXPECT_EQ(estimate.status, 200) << estimate.body;
  EXPECT_EQ(estimate.number("/estimate/n"), 7);
  EXPECT_TRUE(estimate.at("/estimate/exact").as_bool());
  EXPECT_EQ(estimate.text("/instants/0"), "2024-11-01T03:00:00Z");
  EXPECT_EQ(get("/tasks/count?queue=r").number("/n"), 0);

  const Reply operation = done(post("/schedules/a/backfill", week(R"(,"reason":"the disk was full")")));
  EXPECT_EQ(operation.text("/action"), "backfill");
  EXPECT_EQ(operation.text("/schedule"), "a");
  EXPECT_EQ(operation.text("/reason"), "the disk was full");
  EXPECT_EQ(operation.number("/changed"), 7);
  const Reply tasks = get("/tasks?queue=r&detail=full");
  ASSERT_EQ(tasks.count("/items"), 7U);
  std::set<std::string> instants;
  for (std::size_t i = 0; i < 7; ++i)
    instants.insert(tasks.text(fmt::format("/items/{}/headers/schedule-instant", i)));
  EXPECT_EQ(instants.size(), 7U);
  EXPECT_TRUE(instants.contains("2024-11-07T03:00:00Z"));
  EXPECT_EQ(tasks.text("/items/0/payload/text"), R"({"n":1})");

  // Also when they are gone.
  post("/operations", R"({"action":"erase","q":"queue:r"})");
  EXPECT_TRUE(eventually([&] { return get("/tasks/count?queue=r").number("/n") == 0; }));
  const Reply again = done(post("/schedules/a/backfill", week()));
  EXPECT_EQ(again.number("/changed"), 0);
  EXPECT_EQ(again.number("/skipped"), 7);
  EXPECT_EQ(get("/tasks/count?queue=r").number("/n"), 0);
}

TEST_F(BackfillTest, ALongOneIsMadeInSteps) {
  put("/schedules/m", R"({"spec":"* * * * *","task":{"kind":"a","queue":"r"}})");
  const Reply operation = done(
      post("/schedules/m/backfill",
           R"({"from":"2024-11-01T00:00:00Z","to":"2024-11-01T05:00:00Z","max":300,"rate_per_s":100000})"));
  EXPECT_EQ(operation.number("/changed"), 300);
  EXPECT_EQ(get("/tasks/count?queue=r").number("/n"), 300);
}

TEST_F(BackfillTest, WhatIsWrongWithABackfillIsSaid) {
  put("/schedules/a", schedule("a"));
  put("/schedules/i", schedule("i", "@every 1h"));
  expect_problem(404, "not_found", post("/schedules/absent/backfill", week()));
  expect_mistake("/from", "is missing", post("/schedules/a/backfill", "{}"));
  expect_mistake(
      "/to", "after from",
      post("/schedules/a/backfill", R"({"from":"2024-11-02T00:00:00Z","to":"2024-11-01T00:00:00Z"})"));
  expect_mistake(
      "/to", "still to come",
      post("/schedules/a/backfill", R"({"from":"2024-11-02T00:00:00Z","to":"2999-11-01T00:00:00Z"})"));
  expect_mistake("/to", "more than 3 instants", post("/schedules/a/backfill", week(R"(,"max":3)")));
  const Reply some = post("/schedules/a/backfill", week(R"(,"max":3,"dry_run":true)"));
  EXPECT_EQ(some.number("/estimate/n"), 3);
  EXPECT_FALSE(some.at("/estimate/exact").as_bool());
  const Reply interval = post("/schedules/i/backfill", week());
  expect_problem(400, "invalid", interval);
  EXPECT_THAT(interval.text("/detail"), HasSubstr("@every 1h"));
  expect_mistake("/action", "/backfill", post("/operations", R"({"action":"backfill"})"));
  expect_mistake("/action", "/backfill", post("/operations", R"({"action":"run","q":"x","schedule":"a"})"));
}

// ---- Time zones

TEST_F(SchedulesOverHttpTest, TimeZonesAreListed) {
  const Reply all = get("/time-zones");
  EXPECT_GT(all.count("/items"), 300U);
  EXPECT_NE(all.text("/version"), "");
  EXPECT_THAT(all.body, HasSubstr("\"UTC\""));
  EXPECT_EQ(get("/time-zones?prefix=Europe/Berl").at("/items"), boost::json::parse(R"(["Europe/Berlin"])"));
  for (const char* name : {"localtime", "posixrules", "zone.tab"})
    EXPECT_THAT(all.body, ::testing::Not(HasSubstr(fmt::format("\"{}\"", name))));
}

}  // namespace

}  // namespace tidemill::testing
