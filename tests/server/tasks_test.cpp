// Tasks, looked at and acted on over HTTP.
#include <algorithm>
#include <array>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class TasksOverHttpTest : public ServeTest {
 protected:
  /// Takes a task as a remote worker and ends it with what stands in `outcome`.
  void run_one(const std::string& outcome) {
    const Reply claim = post("/claim", R"({"worker":{"id":"w"},"wait":"20s"})");
    ASSERT_EQ(claim.count("/leases"), 1U) << claim.body;
    const Reply report = post("/report", fmt::format(R"({{"items":[{{"token":"{}",{}}}]}})",
                                                     claim.text("/leases/0/token"), outcome));
    ASSERT_TRUE(report.at("/items/0/applied").as_bool()) << report.body;
  }
  std::string ids(const std::string& query) const {
    const Reply list = get("/tasks?" + query);
    if (list.status != 200) return list.code();
    std::vector<std::string> found;
    for (std::size_t i = 0; i < list.count("/items"); ++i)
      found.push_back(list.text(fmt::format("/items/{}/id", i)));
    std::ranges::sort(found);
    return fmt::format("{}", fmt::join(found, " "));
  }
};

TEST_F(TasksOverHttpTest, ActsMoveTasks) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  const Reply held = post("/tasks/one/hold");
  EXPECT_EQ(held.status, 200);
  EXPECT_EQ(held.text("/state"), "held");
  EXPECT_EQ(post("/tasks/one/resume").text("/state"), "pending");
  expect_problem(409, "wrong_state", post("/tasks/one/resume"));
  EXPECT_EQ(post("/tasks/one/cancel").text("/state"), "archived");
  EXPECT_EQ(get("/tasks/one").text("/reason"), "cancelled");
  EXPECT_EQ(post("/tasks/one/run").text("/state"), "pending");
  EXPECT_EQ(post("/tasks/one/archive?queue=default").text("/state"), "archived");
  expect_problem(409, "wrong_state", post("/tasks/one/archive"));
  EXPECT_EQ(erase("/tasks/one").status, 204);
  for (const char* act : {"run", "hold", "resume", "cancel", "archive", "copy"}) {
    expect_problem(404, "not_found", post(fmt::format("/tasks/one/{}", act)));
    expect_problem(404, "not_found", post(fmt::format("/tasks/one/{}?queue=other", act)));
    expect_problem(400, "invalid", post(fmt::format("/tasks/one/{}?quue=other", act)));
  }
  expect_problem(404, "not_found", erase("/tasks/one"));
  expect_problem(404, "not_found", erase("/tasks/one?queue=default"));
  expect_problem(404, "not_found", post("/tasks/one/explode"));
}

TEST_F(TasksOverHttpTest, ARunningTaskIsAskedToStop) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  const Reply claim = post("/claim", R"({"worker":{"id":"w"}})");
  ASSERT_EQ(claim.count("/leases"), 1U);
  expect_problem(409, "wrong_state", erase("/tasks/one"));
  expect_problem(409, "wrong_state", post("/tasks/one/archive"));
  expect_problem(409, "wrong_state", post("/tasks/one/run"));
  EXPECT_EQ(post("/tasks/one/hold").status, 202);
  EXPECT_EQ(post("/tasks/one/cancel").status, 202);
  EXPECT_EQ(state("one"), "active");
}

TEST_F(TasksOverHttpTest, ARunningTaskIsDeletedByForce) {
  post("/tasks", R"([{"kind":"a","id":"one"},{"kind":"a","id":"two","retention":"1h"},
      {"kind":"a","id":"waits","queue":"other"}])");
  EXPECT_EQ(erase("/tasks/waits?force=1").status, 204);
  EXPECT_EQ(state("waits"), "not_found");
  expect_problem(404, "not_found", erase("/tasks/waits?force=1"));
  expect_problem(404, "not_found", erase("/tasks/waits?force=1&queue=other"));
  const Reply claim = post("/claim", R"({"worker":{"id":"w"},"limit":2})");
  ASSERT_EQ(claim.count("/leases"), 2U);
  // Whatever its worker makes of it.
  const std::array outcomes = {R"("outcome":"archive","error":"cancelled")", R"("outcome":"complete")"};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string id = claim.text(fmt::format("/leases/{}/task/id", i));
    const std::string token = claim.text(fmt::format("/leases/{}/token", i));
    const Reply still = erase(fmt::format("/tasks/{}?force=1&timeout=10ms", id));
    expect_problem(409, "wrong_state", still);
    EXPECT_THAT(still.text("/detail"), HasSubstr("still runs"));
    EXPECT_EQ(state(id), "active");
    Reply erased;
    std::thread eraser{[&] { erased = erase(fmt::format("/tasks/{}?force=1", id)); }};
    const std::string renewal = fmt::format(R"({{"worker":{{"id":"w"}},"items":[{{"token":"{}"}}]}})", token);
    EXPECT_TRUE(eventually([&] { return post("/renew", renewal).text("/items/0/signal") == "cancel"; }));
    post("/report", fmt::format(R"({{"items":[{{"token":"{}",{}}}]}})", token, outcomes.at(i)));
    eraser.join();
    EXPECT_EQ(erased.status, 204) << erased.body;
    EXPECT_EQ(state(id), "not_found");
  }
}

TEST_F(TasksOverHttpTest, ATaskThatIsTakenAgainIsStoppedAgain) {
  post("/tasks", R"({"kind":"a","id":"one","retries_max":3})");
  const std::string claim = R"({"worker":{"id":"w"},"wait":"20s"})";
  const std::string first = post("/claim", claim).text("/leases/0/token");
  Reply erased;
  std::thread eraser{[&] { erased = erase("/tasks/one?force=1&queue=default"); }};
  const auto is_told = [&](const std::string& token) {
    return eventually([&] {
      const Reply renewed =
          post("/renew", fmt::format(R"({{"worker":{{"id":"w"}},"items":[{{"token":"{}"}}]}})", token));
      return renewed.has("/items/0/code") || renewed.text("/items/0/signal") == "cancel";
    });
  };
  EXPECT_TRUE(is_told(first));
  // It heeds nobody, and takes the task again in the same moment: mostly before that one is seen to wait.
  const Reply next = post("/report", fmt::format(R"({{"items":[{{"token":"{}","outcome":"retry","in":"0s"}}],
      "claim":{{"worker":{{"id":"w"}}}}}})",
                                                 first));
  if (next.count("/leases") == 1) {
    const std::string second = next.text("/leases/0/token");
    EXPECT_TRUE(is_told(second));
    post("/report", fmt::format(R"({{"items":[{{"token":"{}","outcome":"complete"}}]}})", second));
  }
  eraser.join();
  EXPECT_EQ(erased.status, 204) << erased.body;
  EXPECT_EQ(state("one"), "not_found");
}

TEST_F(TasksOverHttpTest, ForceIsSaidAsItMustBe) {
  post("/tasks", R"([{"kind":"a","id":"x","queue":"q1"},{"kind":"b","id":"x","queue":"q2"}])");
  expect_problem(400, "invalid", erase("/tasks/x?force=yes"));
  expect_problem(400, "invalid", erase("/tasks/x?timeout=1s"));
  expect_problem(400, "invalid", erase("/tasks/x?force=1&timeout=soon"));
  expect_problem(409, "conflict", erase("/tasks/x?force=1"));
  expect_problem(409, "conflict", get("/tasks/x/wait?timeout=0s"));
  EXPECT_EQ(erase("/tasks/x?force=0&queue=q1").status, 204);
  EXPECT_EQ(erase("/tasks/x?force=1").status, 204);
}

TEST_F(TasksOverHttpTest, AnIdInSeveralQueuesNeedsTheQueue) {
  post("/tasks", R"([{"kind":"a","id":"x","queue":"q1"},{"kind":"b","id":"x","queue":"q2"}])");
  const Reply answer = get("/tasks/x");
  expect_problem(409, "conflict", answer);
  EXPECT_THAT(answer.text("/detail"), HasSubstr("q1 or q2"));
  EXPECT_EQ(get("/tasks/x?queue=q2").text("/kind"), "b");
  expect_problem(409, "conflict", post("/tasks/x/hold"));
  EXPECT_EQ(post("/tasks/x/hold?queue=q1").status, 200);
  EXPECT_EQ(get("/tasks/x?queue=q2").text("/state"), "pending");
  EXPECT_EQ(erase("/tasks/x?queue=q1").status, 204);
  EXPECT_EQ(state("x"), "pending");
}

TEST_F(TasksOverHttpTest, StrangeIdsAndQueuesAreReached) {
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"a/b c%?&é","queue":"q/1"})").status, 201);
  const std::string path = "/tasks/a%2Fb%20c%25%3F%26%c3%a9";
  EXPECT_EQ(get(path).text("/id"), "a/b c%?&\u00e9");
  EXPECT_EQ(get(path + "?queue=q%2F1").status, 200);
  EXPECT_EQ(get("/queues/q%2F1").text("/name"), "q/1");
  expect_problem(400, "invalid", get("/tasks/a%2"));
  expect_problem(400, "invalid", get("/tasks/a%zz"));
}

TEST_F(TasksOverHttpTest, TheWayOfATaskIsKept) {
  post("/tasks", R"({"kind":"a","id":"one","retention":"1h"})");
  run_one(R"("outcome":"retry","error":{"type":"SmtpError","message":"421","stack":"at 7"},"in":"0s",
          "logs":[{"level":"warning","text":"slow","at":"2026-01-01T00:00:00Z"}])");
  run_one(R"("outcome":"complete","result":{"sent":true},"logs":[{"text":"done"}])");
  const Reply task = get("/tasks/one");
  EXPECT_EQ(task.text("/state"), "completed");
  EXPECT_EQ(task.number("/retries"), 1);
  EXPECT_EQ(task.text("/result/text"), R"({"sent":true})");
  EXPECT_EQ(task.number("/attempts_total"), 2);
  EXPECT_EQ(task.text("/attempts/0/error"), "SmtpError: 421\nat 7");
  const Reply attempts = get("/tasks/one/attempts");
  ASSERT_EQ(attempts.count("/items"), 2U);
  EXPECT_EQ(attempts.number("/items/0/n"), 1);
  EXPECT_EQ(attempts.text("/items/1/worker_id"), "w");
  EXPECT_FALSE(attempts.has("/items/1/error"));
  const Reply logs = get("/tasks/one/logs");
  ASSERT_EQ(logs.count("/lines"), 2U) << logs.body;
  EXPECT_EQ(logs.text("/lines/0/text"), "slow");
  EXPECT_EQ(logs.text("/lines/0/level"), "warning");
  EXPECT_EQ(logs.text("/lines/0/at"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(get("/tasks/one/logs?attempt=2").text("/lines/0/text"), "done");
  EXPECT_EQ(get("/tasks/one/logs?attempt=3").count("/lines"), 0U);
  expect_problem(400, "invalid", get("/tasks/one/logs?attempt=last"));
  // Each line has a number that grows.
  const std::int64_t seq = logs.number("/lines/0/seq");
  EXPECT_GT(logs.number("/lines/1/seq"), seq);
  EXPECT_EQ(logs.number("/first_seq"), seq);
  EXPECT_EQ(logs.number("/last_seq"), logs.number("/lines/1/seq"));
  const Reply newer = get(fmt::format("/tasks/one/logs?after={}", seq));
  ASSERT_EQ(newer.count("/lines"), 1U);
  EXPECT_EQ(newer.text("/lines/0/text"), "done");
  EXPECT_EQ(newer.number("/first_seq"), seq);
  EXPECT_EQ(get(fmt::format("/tasks/one/logs?after={}", logs.number("/last_seq"))).count("/lines"), 0U);
  expect_problem(400, "invalid", get("/tasks/one/logs?after=-1"));
  const Reply raw = get("/tasks/one/result");
  EXPECT_EQ(raw.body, R"({"sent":true})");
  EXPECT_EQ(raw.header("Content-Type"), "application/json");
  EXPECT_EQ(raw.header("Content-Security-Policy"), "sandbox");
  for (const char* what : {"attempts", "logs", "payload", "result"})
    expect_problem(404, "not_found", get(fmt::format("/tasks/absent/{}", what)));
}

TEST_F(TasksOverHttpTest, ATaskThatHasNotEndedHasNoResult) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  expect_problem(409, "wrong_state", get("/tasks/one/result"));
  EXPECT_EQ(get("/tasks/one/attempts").body, R"({"items":[]})");
  EXPECT_EQ(get("/tasks/one/payload").body, "");
}

TEST_F(TasksOverHttpTest, APartOfThePayloadIsRead) {
  post("/tasks", R"([{"kind":"a","id":"one","payload_text":"0123456789"},{"kind":"a","id":"none"}])");
  const auto part = [&](const std::string& range, const std::string& more = "",
                        const std::string& id = "one") {
    return send("GET", fmt::format("/api/v1/tasks/{}/payload", id), "",
                fmt::format("Range: {}\r\n{}", range, more));
  };
  struct Case {
    const char *range, *body, *content_range;
  };
  for (const auto& [range, body, content_range] :
       {Case{"bytes=0-0", "0", "bytes 0-0/10"}, Case{"bytes=2-4", "234", "bytes 2-4/10"},
        Case{"bytes=7-", "789", "bytes 7-9/10"},
        Case{"bytes=7-99999999999999999999999", "789", "bytes 7-9/10"},
        Case{"bytes=-3", "789", "bytes 7-9/10"}, Case{"bytes=-30", "0123456789", "bytes 0-9/10"},
        Case{"Bytes=9-9", "9", "bytes 9-9/10"}}) {
    const Reply reply = part(range);
    EXPECT_EQ(reply.status, 206) << range;
    EXPECT_EQ(reply.body, body) << range;
    EXPECT_EQ(reply.header("Content-Range"), content_range);
    EXPECT_EQ(reply.header("Accept-Ranges"), "bytes");
  }
  // What isn't one part of bytes is no reason to refuse.
  for (const char* range : {"bytes=0-1,3-4", "lines=1-2", "bytes=4-2", "bytes=", "bytes=-", "bytes=a-b",
                            "bytes=1", "bytes=1-2-3", "bytes= 1-2", "1-2"}) {
    const Reply whole = part(range);
    EXPECT_EQ(whole.status, 200) << range;
    EXPECT_EQ(whole.body, "0123456789");
    EXPECT_EQ(whole.header("Accept-Ranges"), "bytes");
    EXPECT_EQ(whole.header("Content-Range"), "");
  }
  EXPECT_EQ(part("bytes=0-1", "If-Range: \"x\"\r\n").status, 200);
  for (const char* range : {"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"}) {
    const Reply none = part(range);
    expect_problem(416, "bad_range", none);
    EXPECT_EQ(none.header("Content-Range"), "bytes */10");
  }
  expect_problem(416, "bad_range", part("bytes=0-", "", "none"));
  EXPECT_EQ(part("bytes=-5", "", "none").status, 200);
  run_one(R"("outcome":"discard")");
  post("/tasks", R"({"kind":"a","id":"two","priority":9,"retention":"1h"})");
  run_one(R"("outcome":"complete","result_text":"abcdef")");
  const Reply result = send("GET", "/api/v1/tasks/two/result", "", "Range: bytes=-2\r\n");
  EXPECT_EQ(result.status, 206);
  EXPECT_EQ(result.body, "ef");
}

TEST_F(TasksOverHttpTest, ACopyRunsAgain) {
  post("/tasks", R"({"kind":"a","id":"one","queue":"q","payload_base64":"/wA=","priority":5,"retries_max":2,
      "headers":{"h":"1"},"retention":"1h","timeout":"7s"})");
  const Reply copy = post("/tasks/one/copy");
  EXPECT_EQ(copy.status, 201);
  EXPECT_NE(copy.text("/id"), "one");
  EXPECT_EQ(copy.header("Location"), "/api/v1/tasks/" + copy.text("/id"));
  EXPECT_EQ(copy.text("/payload/base64"), "/wA=");
  EXPECT_EQ(copy.text("/queue"), "q");
  EXPECT_EQ(copy.number("/priority"), 5);
  EXPECT_EQ(copy.number("/retries_max"), 2);
  EXPECT_EQ(copy.number("/timeout_ms"), 7000);
  EXPECT_EQ(copy.text("/headers/h"), "1");
  EXPECT_EQ(copy.text("/state"), "pending");
}

TEST_F(TasksOverHttpTest, ListsAreFiltered) {
  post("/tasks",
       R"([{"kind":"mail:a","id":"1","queue":"m"},{"kind":"mail:b","id":"2","payload":{"who":"ada"}},
      {"kind":"other","id":"3","hold":true,"payload":{"who":"bob b"}},{"kind":"a","id":"4","group":"g"}])");
  EXPECT_EQ(ids("kind=mail:*"), "1 2");
  EXPECT_EQ(ids("kind=mail%3A*&state=held"), "");
  EXPECT_EQ(ids("state=held,pending"), "1 2 3");
  EXPECT_EQ(ids("queue=m"), "1");
  EXPECT_EQ(ids("group=g"), "4");
  EXPECT_EQ(ids("text=ada"), "2");
  EXPECT_EQ(ids("created_before=2000-01-01T00:00:00Z"), "");
  EXPECT_EQ(ids("q=state:held"), "3");
  EXPECT_EQ(ids("q=queue:default+kind:mail:*"), "2");
  EXPECT_EQ(ids("q=ada"), "2");
  EXPECT_EQ(ids("q=%22bob%20b%22"), "3");
  EXPECT_EQ(ids("q=kind:mail:*&queue=m"), "1");
  EXPECT_EQ(get("/tasks?q=%20state:held%20%20bob&kind=other").text("/q"), "state:held kind:other text:bob");
  for (const char* query :
       {"state=hold", "q=state:hold", "q=stat:held", "q=%22open", "created_before=now",
        "q=state:held&state=pending", "q=created:-1h..&created_from=2000-01-01T00:00:00Z"}) {
    expect_problem(400, "bad_filter", get(fmt::format("/tasks?{}", query)));
    expect_problem(400, "bad_filter", get(fmt::format("/tasks/count?{}", query)));
  }
  EXPECT_THAT(get("/tasks?state=hold").text("/detail"), HasSubstr("held"));
}

TEST_F(TasksOverHttpTest, AFilterThatDoesNotReadSaysWhere) {
  post("/tasks",
       R"([{"kind":"a","id":"ab1","queue":"q"},{"kind":"a","id":"ab2","queue":"q"},{"kind":"a","id":"b"}])");
  EXPECT_EQ(get("/tasks?q=id:ab").count("/items"), 2U);
  EXPECT_EQ(get("/tasks?id=ab2").count("/items"), 1U);
  EXPECT_EQ(get("/tasks/count?q=id:ab").number("/n"), 2);
  EXPECT_EQ(get("/tasks?q=created:-1h..%20queue:q").count("/items"), 2U);
  EXPECT_EQ(get("/tasks?q=created:..-1h").count("/items"), 0U);
  EXPECT_EQ(get("/tasks?created_from=2999-01-01T00:00:00Z").count("/items"), 0U);
  const Reply wrong = get("/tasks?q=queue:q%20-state:held");
  expect_problem(400, "bad_filter", wrong);
  EXPECT_EQ(wrong.number("/column"), 9);
  expect_problem(400, "bad_filter", get("/tasks/count?q=worker:w"));
  const Reply operation = post("/operations", R"({"action":"hold","q":"queue:q payload.user:1"})");
  expect_problem(400, "bad_filter", operation);
  EXPECT_EQ(operation.number("/column"), 9);
  EXPECT_EQ(operation.text("/errors/0/pointer"), "/q");
  const Reply made = post("/operations", R"({"action":"hold","q":"id:ab1 created:-1h.."})");
  EXPECT_EQ(made.status, 202) << made.body;
  EXPECT_TRUE(eventually_is("ab1", "held"));
  EXPECT_EQ(state("ab2"), "pending");
}

TEST_F(TasksOverHttpTest, WhatTheAnswerSaysOfTheFilterMeansTheSame) {
  post("/tasks",
       R"([{"kind":"a b","id":"1","payload_text":"x"},{"kind":"a","id":"2","payload_text":"say \"hi\""}])");
  for (const char* query : {"kind=a%20b", "text=say%20%22hi%22", "q=created_before:2999-01-01T00:00:00Z"}) {
    const std::string q = get(fmt::format("/tasks?{}", query)).text("/q");
    std::string escaped;
    for (const char c : q) escaped += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    EXPECT_EQ(ids("q=" + escaped), ids(query)) << q;
    EXPECT_NE(ids(query), "") << q;
  }
}

TEST_F(TasksOverHttpTest, ListsArePaged) {
  std::string many = "[";
  for (int i = 0; i < 25; ++i) many += fmt::format(R"({}{{"kind":"k{}"}})", i == 0 ? "" : ",", i % 2);
  post("/tasks", many + "]");
  std::set<std::string> seen;
  std::string cursor;
  int pages = 0;
  do {
    const Reply page = get("/tasks?limit=10" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200) << page.body;
    for (std::size_t i = 0; i < page.count("/items"); ++i)
      EXPECT_TRUE(seen.insert(page.text(fmt::format("/items/{}/id", i))).second);
    cursor = page.at("/next").is_null() ? "" : page.text("/next");
    ++pages;
  } while (!cursor.empty());
  EXPECT_EQ(seen.size(), 25U);
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(get("/tasks").count("/items"), 25U);
  for (const char* query : {"limit=0", "limit=1001", "limit=many", "limit=-1", "limitt=1", "kind=%zz"})
    expect_problem(400, "invalid", get(fmt::format("/tasks?{}", query)));
  expect_problem(400, "bad_cursor", get("/tasks?cursor=nonsense"));
  expect_problem(400, "bad_cursor", get("/operations?cursor=nonsense"));
}

TEST_F(TasksOverHttpTest, TasksAreCounted) {
  post("/tasks", R"([{"kind":"a","queue":"q"},{"kind":"b","queue":"q","hold":true},{"kind":"a"}])");
  EXPECT_EQ(get("/tasks/count").body, R"({"n":3,"exact":true})");
  EXPECT_EQ(get("/tasks/count?queue=q").number("/n"), 2);
  EXPECT_EQ(get("/tasks/count?state=held").number("/n"), 1);
  EXPECT_EQ(get("/tasks/count?kind=a").body, R"({"n":2,"exact":true})");
  EXPECT_EQ(get("/tasks/count?q=state:pending+kind:a+queue:q").number("/n"), 1);
  EXPECT_EQ(get("/tasks/count?queue=absent").number("/n"), 0);
  expect_problem(400, "invalid", get("/tasks/count?limit=1"));
}

TEST_F(TasksOverHttpTest, WhoeverWaitsHearsOfTheEnd) {
  post("/tasks", R"({"kind":"a","id":"one","retention":"1h"})");
  Reply answer;
  std::thread waiter{[&] { answer = get("/tasks/one/wait?timeout=60s"); }};
  run_one(R"("outcome":"complete","result_text":"well")");
  waiter.join();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text("/state"), "completed");
  EXPECT_EQ(answer.text("/result/text"), "well");
  EXPECT_EQ(get("/tasks/one/wait?queue=default").text("/state"), "completed");
}

TEST_F(TasksOverHttpTest, WhoeverWaitsTooLongIsToldTheState) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  EXPECT_EQ(get("/tasks/one/wait?timeout=50ms").body, R"({"state":"pending"})");
  EXPECT_EQ(get("/tasks/one/wait?timeout=0s").body, R"({"state":"pending"})");
  EXPECT_EQ(get("/tasks/absent/wait").body, R"({"state":"gone"})");
  EXPECT_EQ(get("/tasks/one/wait?queue=absent").body, R"({"state":"gone"})");
  expect_problem(400, "invalid", get("/tasks/one/wait?timeout=soon"));
  post("/tasks/one/cancel");
  EXPECT_EQ(get("/tasks/one/wait").text("/reason"), "cancelled");
}

TEST_F(TasksOverHttpTest, AWorkerBesideTheServerRunsWhatItTook) {
  Process worker = start({"work", "--on", "greet=cat", "--log-level", "warning"}, "worker");
  post("/tasks", R"({"kind":"greet","id":"g","payload_text":"hello","retention":"1h"})");
  EXPECT_EQ(get("/tasks/g/wait?timeout=60s").text("/result/text"), "hello");
  EXPECT_EQ(get("/tasks/g/attempts").count("/items"), 1U);
}

}  // namespace

}  // namespace tidemill::testing
