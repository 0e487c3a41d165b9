// Operations: acts on many tasks, carried out by the server.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class OperationTest : public ServeTest {
 protected:
  void enqueue(int count, const std::string& more) const {
    for (int done = 0; done < count; done += 5000) {
      std::string body = "[";
      for (int i = done; i < std::min(count, done + 5000); ++i)
        body += fmt::format(R"({}{{"kind":"a","id":"{}"{}}})", i == done ? "" : ",", i, more);
      ASSERT_EQ(post("/tasks", body + "]").status, 200);
    }
  }
  std::int64_t count(const std::string& query) const { return get("/tasks/count?" + query).number("/n"); }
  Reply operation(const std::string& id) const { return get("/operations/" + id); }
  bool eventually_is_in(const std::string& id, const std::string& wanted) const {
    return eventually([&] { return operation(id).text("/state") == wanted; }, std::chrono::seconds{60});
  }
  std::string begin(const std::string& body) const {
    const Reply made = post("/operations", body);
    EXPECT_EQ(made.status, 202) << made.body;
    EXPECT_EQ(made.header("Location"), "/api/v1/operations/" + made.text("/id"));
    return made.text("/id");
  }
};

TEST_F(OperationTest, AllThatMatchAreChangedAndOthersAreNot) {
  enqueue(1200, R"(,"queue":"mail")");
  post("/tasks", R"({"kind":"b","queue":"mail","id":"other"})");
  const std::string id = begin(R"({"action":"hold","q":"queue:mail kind:a","reason":"the relay is down"})");
  ASSERT_TRUE(eventually_is_in(id, "done"));
  const Reply done = operation(id);
  EXPECT_EQ(done.number("/changed"), 1200);
  EXPECT_EQ(done.number("/skipped"), 0);
  EXPECT_EQ(done.text("/action"), "hold");
  EXPECT_EQ(done.text("/reason"), "the relay is down");
  EXPECT_EQ(done.text("/by"), "anyone");
  EXPECT_THAT(done.text("/q"), HasSubstr("created_before:"));
  EXPECT_EQ(count("queue=mail&state=held"), 1200);
  EXPECT_EQ(state("other"), "pending");
  const Reply list = get("/operations");
  ASSERT_EQ(list.count("/items"), 1U);
  EXPECT_EQ(list.text("/items/0/id"), id);
  expect_problem(409, "wrong_state", post(fmt::format("/operations/{}/pause", id)));
}

TEST_F(OperationTest, EachActionIsCarriedOut) {
  const auto carry_out = [&](const std::string& action, const std::string& q) {
    const std::string id = begin(fmt::format(R"({{"action":"{}","q":"{}"}})", action, q));
    EXPECT_TRUE(eventually_is_in(id, "done"));
    return operation(id).number("/changed");
  };
  enqueue(10, R"(,"queue":"q")");
  EXPECT_EQ(carry_out("hold", "queue:q"), 10);
  EXPECT_EQ(carry_out("resume", "queue:q"), 10);
  EXPECT_EQ(carry_out("archive", "queue:q"), 10);
  EXPECT_EQ(carry_out("run", "queue:q state:archived"), 10);
  EXPECT_EQ(count("queue=q&state=pending"), 10);
  EXPECT_EQ(carry_out("cancel", "queue:q"), 10);
  EXPECT_EQ(carry_out("erase", "queue:q"), 10);
  EXPECT_EQ(count("queue=q"), 0);
}

TEST_F(OperationTest, ListedTasksAreChanged) {
  enqueue(5, "");
  const std::string id = begin(R"({"action":"hold","ids":["1","3","absent"],"queue":"default"})");
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(operation(id).number("/changed"), 2);
  EXPECT_EQ(operation(id).number("/skipped"), 1);
  EXPECT_EQ(state("1"), "held");
  EXPECT_EQ(state("2"), "pending");
}

TEST_F(OperationTest, ADryRunChangesNothing) {
  enqueue(7, "");
  const Reply dry = post("/operations", R"({"action":"erase","q":"kind:a","dry_run":true})");
  EXPECT_EQ(dry.status, 200) << dry.body;
  EXPECT_EQ(dry.number("/estimate/n"), 7);
  EXPECT_TRUE(dry.at("/estimate/exact").as_bool());
  EXPECT_EQ(dry.count("/items"), 5U);
  EXPECT_EQ(count(""), 7);
  EXPECT_EQ(get("/operations").count("/items"), 0U);
  enqueue(1001, R"(,"queue":"many")");
  const Reply many = post("/operations", R"({"action":"erase","q":"queue:many","dry_run":true})");
  EXPECT_EQ(many.number("/estimate/n"), 1000);
  EXPECT_FALSE(many.at("/estimate/exact").as_bool());
  const Reply ids =
      post("/operations", R"({"action":"erase","ids":["1","absent"],"queue":"many","dry_run":true})");
  EXPECT_EQ(ids.number("/estimate/n"), 1) << ids.body;
  EXPECT_EQ(ids.text("/items/0/id"), "1");
  EXPECT_EQ(count("queue=many"), 1001);
}

TEST_F(OperationTest, WhatIsWrongIsSaidAndNothingIsDone) {
  enqueue(3, "");
  const auto wrong = [&](const std::string& body, const std::string& pointer, const std::string& what) {
    SCOPED_TRACE(body);
    expect_mistake(pointer, what, post("/operations", body));
  };
  wrong(R"({"action":"erase"})", "/q", "everything");
  for (const char* q : {"", " ", "\\\"\\\""})
    wrong(fmt::format(R"({{"action":"erase","q":"{}"}})", q), "/q", "everything");
  wrong(R"({"q":"kind:a"})", "/action", "is missing");
  wrong(R"({"action":"explode","q":"kind:a"})", "/action", "erase");
  wrong(R"({"action":"run","ids":["1"]})", "/queue", "is missing");
  wrong(R"({"action":"run","ids":["1"],"queue":"default","q":"kind:a"})", "/q", "either");
  wrong(R"({"action":"run","ids":[1],"queue":"default"})", "/ids/0", "text");
  wrong(R"({"action":"run","q":"kind:a","queue":"default"})", "/queue", "queue:NAME");
  wrong(R"({"action":"run","ids":["1"],"queue":"default","refs":[{"queue":"a","id":"1"}]})", "/refs",
        "either");
  wrong(R"({"action":"run","refs":[{"id":"1"}]})", "/refs/0/queue", "is missing");
  wrong(R"({"action":"run","refs":[{"queue":"a","id":"1"}],"created_before":"2026-01-01T00:00:00Z"})",
        "/created_before", "goes with q");
  wrong(R"({"action":"run","q":"kind:a","start_after_ms":-1})", "/start_after_ms", "");
  wrong(R"({"action":"run","q":"kind:a","rate_per_s":0})", "/rate_per_s", "1");
  wrong(R"({"action":"run","q":"kind:a","dry_run":"yes"})", "/dry_run", "true");
  wrong(R"({"action":"run","q":"kind:a","by":"somebody else"})", "/by", "");
  for (const char* q : {"state:", "queue:", "stat:held", "state:hold"})
    expect_problem(400, "bad_filter",
                   post("/operations", fmt::format(R"({{"action":"erase","q":"{}"}})", q)));
  EXPECT_EQ(count(""), 3);
  EXPECT_EQ(get("/operations").body.substr(0, 12), R"({"items":[],)");
  expect_problem(404, "not_found", get("/operations/absent"));
  expect_problem(404, "not_found", get("/operations/absent/failures"));
  for (const char* act : {"pause", "resume", "cancel", "retry_failed"})
    expect_problem(404, "not_found", post(fmt::format("/operations/absent/{}", act)));
}

TEST_F(OperationTest, EverythingIsMeantOnlyWhenItIsSaid) {
  enqueue(3, R"(,"queue":"q1")");
  enqueue(3, R"(,"queue":"q2")");
  const std::string id = begin(R"({"action":"hold","everything":true})");
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(count("state=held"), 6);
}

// Why: an operation on all tasks would else end others, and what is known of them.
TEST_F(OperationTest, OperationsThemselvesAreLeftAlone) {
  enqueue(3, R"(,"queue":"mail")");
  enqueue(2, R"(,"queue":"img","delay":"1h")");
  const std::string first = begin(R"({"action":"hold","q":"kind:x"})");
  ASSERT_TRUE(eventually_is_in(first, "done"));
  const std::string later = begin(R"({"action":"hold","q":"kind:x","start_after_ms":3600000})");
  EXPECT_EQ(
      post("/operations", R"({"action":"erase","everything":true,"dry_run":true})").number("/estimate/n"), 5);
  const std::string all = begin(R"({"action":"erase","everything":true})");
  ASSERT_TRUE(eventually_is_in(all, "done"));
  EXPECT_EQ(operation(all).number("/changed"), 5);
  EXPECT_EQ(operation(first).text("/state"), "done");
  EXPECT_EQ(operation(later).text("/state"), "waiting");
  for (const std::string& body :
       {std::string{R"({"action":"erase","q":"queue:tidemill"})"},
        fmt::format(R"({{"action":"erase","queue":"tidemill","ids":["{}"]}})", later),
        fmt::format(R"({{"action":"erase","refs":[{{"queue":"tidemill","id":"{}"}}]}})", later)})
    expect_problem(403, "forbidden", post("/operations", body));
  expect_problem(
      403, "forbidden",
      post("/tasks/act",
           fmt::format(R"({{"action":"erase","refs":[{{"queue":"tidemill","id":"{}"}}]}})", later)));
  expect_problem(403, "forbidden", erase(fmt::format("/tasks/{}?queue=tidemill", later)));
  EXPECT_EQ(operation(later).text("/state"), "waiting");
}

TEST_F(OperationTest, OneIsPausedResumedAndCancelled) {
  enqueue(2000, "");
  const std::string id = begin(R"({"action":"hold","q":"kind:a","rate_per_s":20})");
  ASSERT_TRUE(eventually([&] { return operation(id).number("/changed") > 0; }));
  EXPECT_EQ(operation(id).text("/state"), "running");
  EXPECT_EQ(operation(id).number("/rate_per_s"), 20);
  EXPECT_EQ(post(fmt::format("/operations/{}/pause", id)).status, 202);
  ASSERT_TRUE(eventually_is_in(id, "paused"));
  // The batch under way is ended, and counted after that.
  const auto all_are_counted = [&] { return operation(id).number("/changed") == count("state=held&kind=a"); };
  EXPECT_TRUE(eventually(all_are_counted));
  const std::int64_t held = count("state=held&kind=a");
  expect_problem(409, "wrong_state", post(fmt::format("/operations/{}/pause", id)));
  EXPECT_EQ(post(fmt::format("/operations/{}/resume", id)).status, 200);
  ASSERT_TRUE(eventually([&] { return count("state=held&kind=a") > held; }));
  EXPECT_EQ(post(fmt::format("/operations/{}/cancel", id)).status, 202);
  ASSERT_TRUE(eventually_is_in(id, "cancelled"));
  EXPECT_TRUE(eventually(all_are_counted));
  EXPECT_LT(count("state=held&kind=a"), 2000);
}

TEST_F(OperationTest, OneGoesOnAfterTheServerWasKilled) {
  enqueue(300, "");
  const std::string id = begin(R"({"action":"hold","q":"kind:a","rate_per_s":40})");
  ASSERT_TRUE(eventually([&] { return operation(id).number("/changed") > 0; }));
  server_.end(SIGKILL);
  serve();
  post("/tasks", R"({"kind":"a","id":"late"})");
  ASSERT_TRUE(eventually([&] { return operation(id).text("/state") == "done"; }, std::chrono::seconds{120}));
  EXPECT_EQ(count("state=held&kind=a"), 300);
  EXPECT_EQ(state("late"), "pending");
}

TEST_F(OperationTest, OneThatIsRefusedSomeTasksNamesThemAndTriesThemAgain) {
  enqueue(300, R"(,"queue":"a")");
  // Their ids are taken where they shall go.
  post("/tasks", R"([{"kind":"a","id":"7","queue":"b"},{"kind":"a","id":"20","queue":"b"}])");
  const std::string id =
      begin(R"({"action":"move","q":"queue:a","params":{"queue":"b"},"rate_per_s":15,"reason":"a is full"})");
  ASSERT_TRUE(eventually([&] { return operation(id).number("/changed") > 0; }));
  expect_problem(409, "wrong_state", post(fmt::format("/operations/{}/retry_failed", id)));
  server_.end(SIGKILL);
  serve();
  EXPECT_EQ(send("PATCH", "/api/v1/operations/" + id, R"({"rate_per_s":null})").status, 200);
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(operation(id).number("/failed"), 2);
  EXPECT_EQ(operation(id).number("/skipped"), 0);
  const Reply failures = get(fmt::format("/operations/{}/failures", id));
  ASSERT_EQ(failures.count("/items"), 2U) << failures.body;
  std::set<std::string> ids;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(failures.text(fmt::format("/items/{}/queue", i)), "a");
    EXPECT_EQ(failures.text(fmt::format("/items/{}/code", i)), "conflict");
    EXPECT_THAT(failures.text(fmt::format("/items/{}/detail", i)), HasSubstr("queue b has a task"));
    ids.insert(failures.text(fmt::format("/items/{}/id", i)));
  }
  EXPECT_EQ(ids, (std::set<std::string>{"20", "7"}));
  EXPECT_EQ(count("queue=a"), 2);
  // One of them has room by now.
  EXPECT_EQ(erase("/tasks/7?queue=b").status, 204);
  const Reply again = post(fmt::format("/operations/{}/retry_failed", id));
  ASSERT_EQ(again.status, 202) << again.body;
  const std::string second = again.text("/id");
  EXPECT_NE(second, id);
  EXPECT_EQ(again.header("Location"), "/api/v1/operations/" + second);
  EXPECT_EQ(again.text("/action"), "move");
  EXPECT_EQ(again.text("/reason"), "a is full");
  EXPECT_EQ(again.count("/refs"), 2U);
  EXPECT_FALSE(again.has("/q"));
  ASSERT_TRUE(eventually_is_in(second, "done"));
  EXPECT_EQ(operation(second).number("/changed"), 1);
  EXPECT_EQ(operation(second).number("/failed"), 1);
  EXPECT_EQ(get("/tasks/7").text("/queue"), "b");
  EXPECT_EQ(get(fmt::format("/operations/{}/failures", second)).text("/items/0/id"), "20");
  EXPECT_EQ(erase("/tasks/20?queue=b").status, 204);
  const std::string third = post(fmt::format("/operations/{}/retry_failed", second)).text("/id");
  ASSERT_TRUE(eventually_is_in(third, "done"));
  EXPECT_EQ(get(fmt::format("/operations/{}/failures", third)).body, R"({"items":[]})");
  expect_problem(409, "wrong_state", post(fmt::format("/operations/{}/retry_failed", third)));
}

TEST_F(OperationTest, ItsRateIsChangedWhileItRuns) {
  enqueue(2000, "");
  const std::string id = begin(R"({"action":"hold","q":"kind:a","rate_per_s":4})");
  const std::string path = "/operations/" + id;
  ASSERT_TRUE(eventually([&] { return operation(id).number("/changed") > 0; }));
  const auto set = [&](const std::string& body) { return send("PATCH", "/api/v1" + path, body); };
  expect_mistake("/rate_per_s", "is missing", set("{}"));
  expect_mistake("/rate_per_s", "1", set(R"({"rate_per_s":0})"));
  expect_mistake("/rate", "did you mean", set(R"({"rate":7})"));
  expect_problem(404, "not_found", send("PATCH", "/api/v1/operations/absent", R"({"rate_per_s":7})"));
  const Reply faster = set(R"({"rate_per_s":7})");
  EXPECT_EQ(faster.status, 200) << faster.body;
  EXPECT_EQ(faster.number("/rate_per_s"), 7);
  EXPECT_EQ(get("/operations").number("/items/0/rate_per_s"), 7);
  server_.end(SIGKILL);
  serve();
  EXPECT_EQ(operation(id).number("/rate_per_s"), 7);
  ASSERT_TRUE(
      eventually([&] { return operation(id).text("/state") == "running"; }, std::chrono::seconds{60}));
  // At seven a second it would take minutes.
  EXPECT_FALSE(set(R"({"rate_per_s":null})").has("/rate_per_s"));
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(count("state=held&kind=a"), 2000);
  expect_problem(409, "wrong_state", set(R"({"rate_per_s":7})"));
}

TEST_F(OperationTest, OneMayStartLaterAndLeaveYoungerTasksAlone) {
  enqueue(3, R"(,"queue":"old")");
  const std::string between = get("/tasks/0").text("/created_at");
  ASSERT_TRUE(eventually([&] { return get("/server").text("/time") > between; }));
  const std::string now = get("/server").text("/time");
  enqueue(3, R"(,"queue":"young")");
  const std::string id = begin(fmt::format(
      R"({{"action":"hold","everything":true,"created_before":"{}","start_after_ms":"1h"}})", now));
  const Reply waits = operation(id);
  EXPECT_EQ(waits.text("/state"), "waiting");
  EXPECT_GT(waits.text("/start_after"), now);
  EXPECT_EQ(waits.text("/q"), "created_before:" + now);
  const std::string soon = begin(
      fmt::format(R"({{"action":"hold","everything":true,"created_before":"{}","start_after_ms":10}})", now));
  ASSERT_TRUE(eventually_is_in(soon, "done"));
  EXPECT_EQ(operation(soon).number("/changed"), 3);
  EXPECT_EQ(count("queue=old&state=held"), 3);
  EXPECT_EQ(count("queue=young&state=held"), 0);
  EXPECT_EQ(operation(id).text("/state"), "waiting");
  EXPECT_EQ(post(fmt::format("/operations/{}/cancel", id)).status, 200);
  EXPECT_EQ(operation(id).text("/state"), "cancelled");
  // A later end than now is none.
  const Reply later =
      post("/operations", R"({"action":"run","everything":true,"created_before":"2999-01-01T00:00:00Z"})");
  EXPECT_LT(later.text("/q"), "created_before:2999");
}

TEST_F(OperationTest, TasksOfSeveralQueuesAreListed) {
  enqueue(2, R"(,"queue":"x")");
  enqueue(2, R"(,"queue":"y")");
  const std::string id = begin(
      R"({"action":"hold","refs":[{"queue":"x","id":"0"},{"queue":"y","id":"1"},{"queue":"y","id":"9"}]})");
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(operation(id).number("/changed"), 2);
  EXPECT_EQ(operation(id).number("/skipped"), 1);
  EXPECT_EQ(operation(id).number("/failed"), 0);
  EXPECT_EQ(get("/tasks/0?queue=x").text("/state"), "held");
  EXPECT_EQ(get("/tasks/1?queue=y").text("/state"), "held");
  EXPECT_EQ(count("state=held"), 2);
}

TEST_F(OperationTest, OneGoesOnAfterTheServerWasStopped) {
  enqueue(300, "");
  const std::string id = begin(R"({"action":"hold","q":"kind:a","rate_per_s":100})");
  ASSERT_TRUE(eventually([&] { return operation(id).number("/changed") > 0; }));
  EXPECT_EQ(server_.end(SIGTERM), 0);
  serve();
  ASSERT_TRUE(eventually_is_in(id, "done"));
  EXPECT_EQ(count("state=held&kind=a"), 300);
  EXPECT_EQ(operation(id).number("/changed"), 300);
}

}  // namespace

}  // namespace tidemill::testing
