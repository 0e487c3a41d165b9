// Workers that are other programs: claim, renew and report over HTTP.
#include <sqlite3.h>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class RemoteWorkerTest : public ServeTest {
 protected:
  Reply claim(const std::string& more = "", const std::string& worker = "w") const {
    return post("/claim",
                fmt::format(R"({{"worker":{{"id":"{}"}}{}}})", worker, more.empty() ? "" : "," + more));
  }
  std::string token_of_one() const {
    const Reply reply = claim(R"("wait":"20s")");
    return reply.count("/leases") == 1 ? reply.text("/leases/0/token") : reply.body;
  }
  Reply report(const std::string& token, const std::string& rest) const {
    return post("/report", fmt::format(R"({{"items":[{{"token":"{}",{}}}]}})", token, rest));
  }
  void expect_applied(const Reply& reply) const {
    EXPECT_TRUE(reply.at("/items/0/applied").as_bool()) << reply.body;
  }
  void expect_lost(const Reply& reply) const {
    EXPECT_EQ(reply.status, 200);
    EXPECT_FALSE(reply.at("/items/0/applied").as_bool()) << reply.body;
    EXPECT_EQ(reply.text("/items/0/code"), "lease_lost");
  }
  Reply renew(const std::string& items = "", const std::string& worker = "w") const {
    return post("/renew", fmt::format(R"({{"worker":{{"id":"{}"}},"items":[{}]}})", worker, items));
  }
  static std::string item(const std::string& token, const std::string& more = "") {
    return fmt::format(R"({{"token":"{}"{}}})", token, more.empty() ? "" : "," + more);
  }
};

TEST_F(RemoteWorkerTest, AClaimLeasesTasksWithAllThatAHandlerNeeds) {
  post("/tasks",
       R"({"kind":"mail","queue":"q","id":"1","payload":{"n":1.50},"headers":{"h":"x"},"timeout":"5s",
      "retries_max":4,"deadline":"2999-01-01T00:00:00Z"})");
  post("/tasks", R"({"kind":"mail","queue":"q","id":"2","payload_base64":"/w=="})");
  const Reply reply = claim(R"("queues":["q"],"limit":10,"lease":"30s")");
  ASSERT_EQ(reply.status, 200) << reply.body;
  ASSERT_EQ(reply.count("/leases"), 2U);
  EXPECT_EQ(reply.text("/leases/0/task/id"), "1");
  EXPECT_EQ(reply.text("/leases/0/task/kind"), "mail");
  EXPECT_EQ(reply.text("/leases/0/task/queue"), "q");
  EXPECT_EQ(reply.text("/leases/0/task/payload/text"), R"({"n":1.50})");
  EXPECT_EQ(reply.text("/leases/0/task/headers/h"), "x");
  EXPECT_EQ(reply.number("/leases/0/task/attempt"), 1);
  EXPECT_EQ(reply.number("/leases/0/task/retries_max"), 4);
  EXPECT_EQ(reply.number("/leases/0/task/timeout_ms"), 5000);
  EXPECT_EQ(reply.text("/leases/0/task/deadline"), "2999-01-01T00:00:00Z");
  EXPECT_EQ(reply.text("/leases/1/task/payload/base64"), "/w==");
  EXPECT_NE(reply.text("/leases/0/token"), reply.text("/leases/1/token"));
  EXPECT_GT(reply.text("/leases/0/until"), reply.text("/server_time"));
  EXPECT_EQ(state("1"), "active");
  EXPECT_EQ(get("/tasks/1").text("/worker_id"), "w");
  EXPECT_EQ(claim(R"("queues":["q"])").count("/leases"), 0U);
}

TEST_F(RemoteWorkerTest, AClaimThatWaitsGetsTheTaskThatComes) {
  Reply reply;
  std::thread waiter{[&] { reply = claim(R"("wait":"30s","queues":[{"name":"a","weight":3},"b"])"); }};
  EXPECT_TRUE(eventually([&] { return get("/workers").count("/items") > 0; }));
  post("/tasks", R"({"kind":"k","queue":"b","id":"1"})");
  waiter.join();
  ASSERT_EQ(reply.count("/leases"), 1U);
  EXPECT_EQ(reply.text("/leases/0/task/id"), "1");
  EXPECT_EQ(claim(R"("wait":"10ms")").body.substr(0, 13), R"({"leases":[],)");
}

TEST_F(RemoteWorkerTest, TwoClaimsThatWaitGetOneTaskOnce) {
  std::vector<Reply> replies(2);
  std::vector<std::thread> waiters;
  for (std::size_t i = 0; i < 2; ++i)
    waiters.emplace_back([&, i] { replies[i] = claim(R"("wait":"30s")", fmt::format("w{}", i)); });
  EXPECT_TRUE(
      eventually([&] { return get("/workers/w0").status == 200 && get("/workers/w1").status == 200; }));
  post("/tasks", R"({"kind":"k","id":"1"})");
  EXPECT_TRUE(eventually_is("1", "active"));
  post("/tasks", R"({"kind":"k","id":"2"})");
  for (std::thread& waiter : waiters) waiter.join();
  ASSERT_EQ(replies[0].count("/leases") + replies[1].count("/leases"), 2U);
  EXPECT_NE(replies[0].text("/leases/0/task/id"), replies[1].text("/leases/0/task/id"));
}

TEST_F(RemoteWorkerTest, AClientThatGoesAwayWhileItWaitsLeavesNoLease) {
  {
    Peer peer{port_};
    peer.send(request("POST", "/api/v1/claim", R"({"worker":{"id":"gone"},"wait":"30s"})"));
    EXPECT_TRUE(eventually([&] { return get("/workers/gone").status == 200; }));
  }
  post("/tasks", R"({"kind":"k","id":"1"})");
  const Reply next = claim(R"("wait":"20s")", "next");
  ASSERT_EQ(next.count("/leases"), 1U);
  EXPECT_EQ(next.number("/leases/0/task/attempt"), 1);
}

TEST_F(RemoteWorkerTest, ClaimsThatAreWrongAreRefused) {
  expect_mistake("/worker/id", "is missing", post("/claim", "{}"));
  expect_mistake("/worker", "object", post("/claim", R"({"worker":"w"})"));
  expect_mistake("/worker", "worker id", post("/claim", R"({"worker":{"id":" "}})"));
  expect_mistake("/worker/slots", "number",
                 claim().status == 200 ? post("/claim", R"({"worker":{"id":"w","slots":-1}})") : Reply{});
  expect_mistake("/limit", "1000", claim(R"("limit":1001)"));
  expect_mistake("/limit", "1", claim(R"("limit":0)"));
  expect_mistake("/wait", "30s", claim(R"("wait":"31s")"));
  expect_mistake("/lease", "5s", claim(R"("lease":"4s")"));
  expect_mistake("/lease", "1h", claim(R"("lease":"2h")"));
  expect_mistake("/queues", "array", claim(R"("queues":"q")"));
  expect_mistake("/queues/0", "queue", claim(R"("queues":[""])"));
  expect_mistake("/queues/1/weight", "1000", claim(R"("queues":["a",{"name":"b","weight":0}])"));
  expect_mistake("/strict", "true", claim(R"("strict":1)"));
}

TEST_F(RemoteWorkerTest, QueuesAreTakenInOrderWhenItIsStrict) {
  post("/tasks", R"([{"kind":"k","queue":"low","id":"l1"},{"kind":"k","queue":"low","id":"l2"},
      {"kind":"k","queue":"high","id":"h1"},{"kind":"k","queue":"high","id":"h2"}])");
  const Reply reply = claim(R"("strict":true,"limit":3,"queues":["high","low"])");
  ASSERT_EQ(reply.count("/leases"), 3U);
  EXPECT_EQ(reply.text("/leases/0/task/id"), "h1");
  EXPECT_EQ(reply.text("/leases/1/task/id"), "h2");
  EXPECT_EQ(reply.text("/leases/2/task/id"), "l1");
}

TEST_F(RemoteWorkerTest, EachOutcomeDoesWhatItSays) {
  const auto ended = [&](const std::string& rest) {
    const Reply made = post("/tasks", R"({"kind":"k","retention":"1h","retries_max":3})");
    const std::string token = token_of_one();
    expect_applied(report(token, rest));
    return get("/tasks/" + made.text("/id"));
  };
  const Reply complete = ended(R"("outcome":"complete","result":{"a": 1})");
  EXPECT_EQ(complete.text("/state"), "completed");
  EXPECT_EQ(complete.text("/result/text"), R"({"a": 1})");
  EXPECT_EQ(ended(R"("outcome":"complete","result_text":"x")").text("/result/text"), "x");
  EXPECT_EQ(ended(R"("outcome":"complete","result_base64":"/w==")").text("/result/base64"), "/w==");
  EXPECT_FALSE(ended(R"("outcome":"complete")").has("/result"));
  const Reply retry = ended(R"("outcome":"retry","error":"bad luck","in":"1h")");
  EXPECT_EQ(retry.text("/state"), "retry");
  EXPECT_EQ(retry.text("/error"), "bad luck");
  EXPECT_EQ(retry.number("/retries"), 1);
  EXPECT_EQ(ended(R"("outcome":"retry","error":"by the policy")").text("/state"), "retry");
  const Reply snoozed = ended(R"("outcome":"snooze","in":"1h")");
  EXPECT_EQ(snoozed.text("/state"), "scheduled");
  EXPECT_EQ(snoozed.number("/retries"), 0);
  const Reply again = ended(R"("outcome":"again","in":"1h")");
  EXPECT_EQ(again.text("/state"), "scheduled");
  const Reply archived = ended(R"("outcome":"archive","error":{"message":"no such user"})");
  EXPECT_EQ(archived.text("/state"), "archived");
  EXPECT_EQ(archived.text("/error"), "no such user");
  EXPECT_EQ(ended(R"("outcome":"discard","error":"pointless")").code(), "not_found");
  EXPECT_EQ(ended(R"("outcome":"hold")").text("/state"), "held");
  const Reply released = ended(R"("outcome":"release")");
  EXPECT_EQ(released.text("/state"), "pending");
  EXPECT_EQ(released.number("/attempts_total"), 0);
}

TEST_F(RemoteWorkerTest, ATaskWithoutRetriesLeftIsArchived) {
  post("/tasks", R"({"kind":"k","id":"1","retries_max":0})");
  expect_applied(report(token_of_one(), R"("outcome":"retry","error":"bad")"));
  EXPECT_EQ(state("1"), "archived");
}

TEST_F(RemoteWorkerTest, ARepeatedReportIsAnsweredTheSame) {
  post("/tasks", R"({"kind":"k","id":"1"})");
  const std::string token = token_of_one();
  expect_applied(report(token, R"("outcome":"retry","error":"x","in":"0s")"));
  expect_applied(report(token, R"("outcome":"retry","error":"x","in":"0s")"));
  EXPECT_EQ(get("/tasks/1").number("/retries"), 1);
  // Another attempt has the lease now.
  const std::string next = token_of_one();
  expect_applied(report(token, R"("outcome":"retry","error":"x","in":"0s")"));
  EXPECT_EQ(state("1"), "active");
  expect_applied(report(next, R"("outcome":"complete")"));
}

TEST_F(RemoteWorkerTest, AReportMayClaimTheNextTasks) {
  post("/tasks", R"([{"kind":"k","id":"1"},{"kind":"k","id":"2","payload":{"n":1.50}},{"kind":"k","id":"3"},
      {"kind":"k","id":"4","queue":"q"}])");
  const auto with_claim = [&](const std::string& token, const std::string& more) {
    return post("/report", fmt::format(R"({{"items":[{}],"claim":{{"worker":{{"id":"w"}}{}}}}})",
                                       token.empty() ? "" : item(token, R"("outcome":"complete")"), more));
  };
  const Reply next = with_claim(token_of_one(), "");
  expect_applied(next);
  ASSERT_EQ(next.count("/leases"), 1U) << next.body;
  EXPECT_EQ(next.text("/leases/0/task/id"), "2");
  EXPECT_EQ(next.text("/leases/0/task/payload/text"), R"({"n":1.50})");
  EXPECT_GT(next.text("/leases/0/until"), next.text("/server_time"));
  EXPECT_EQ(get("/tasks/2").text("/worker_id"), "w");
  const Reply more = with_claim(next.text("/leases/0/token"), R"(,"limit":9,"queues":["default","q"])");
  expect_applied(more);
  ASSERT_EQ(more.count("/leases"), 2U) << more.body;
  // A lost lease keeps nobody from the next task, and none is due.
  const Reply none = with_claim(next.text("/leases/0/token") + "x", "");
  EXPECT_FALSE(none.at("/items/0/applied").as_bool());
  EXPECT_EQ(none.count("/leases"), 0U);
  EXPECT_EQ(with_claim("", "").count("/leases"), 0U);
  EXPECT_FALSE(report(more.text("/leases/0/token"), R"("outcome":"complete")").has("/leases"));
}

TEST_F(RemoteWorkerTest, AReportWhoseClaimIsWrongIsRefusedWhole) {
  post("/tasks", R"([{"kind":"k","id":"1"},{"kind":"k","id":"2"}])");
  const std::string done = item(token_of_one(), R"("outcome":"complete")");
  const auto wrong = [&](const std::string& pointer, const std::string& what, const std::string& claim) {
    expect_mistake(pointer, what,
                   post("/report", fmt::format(R"({{"items":[{}],"claim":{}}})", done, claim)));
  };
  wrong("/claim", "object", "true");
  wrong("/claim/worker/id", "is missing", "{}");
  wrong("/claim/wait", "POST /claim", R"({"worker":{"id":"w"},"wait":"1s"})");
  wrong("/claim/limit", "1000", R"({"worker":{"id":"w"},"limit":0})");
  wrong("/claim/queues/0", "queue", R"({"worker":{"id":"w"},"queues":[""]})");
  EXPECT_EQ(state("1"), "active");
  EXPECT_EQ(state("2"), "pending");
}

TEST_F(RemoteWorkerTest, AClientThatGoesAwayWhileItReportsLeavesNoLease) {
  post("/tasks", R"([{"kind":"k","id":"1"},{"kind":"k","id":"2"}])");
  const std::string done = item(token_of_one(), R"("outcome":"complete")");
  {
    // Nobody else may write now, so the report waits.
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ / "jobs.db").c_str(), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10'000);
    EXPECT_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    {
      Peer peer{port_};
      peer.send(
          request("POST", "/api/v1/report",
                  fmt::format(R"({{"items":[{}],"claim":{{"worker":{{"id":"w"}},"lease":"1h"}}}})", done)));
      // The one thread of all connections has read what came before these, and then seen the end of it.
      for (int i = 0; i < 2; ++i) EXPECT_EQ(send("GET", "/healthz").status, 200);
    }
    for (int i = 0; i < 2; ++i) EXPECT_EQ(send("GET", "/healthz").status, 200);
    EXPECT_EQ(sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
  }
  EXPECT_TRUE(eventually_is("1", "not_found"));
  const Reply next = claim(R"("wait":"20s")", "next");
  ASSERT_EQ(next.count("/leases"), 1U);
  EXPECT_EQ(next.text("/leases/0/task/id"), "2");
  EXPECT_EQ(next.number("/leases/0/task/attempt"), 1);
}

TEST_F(RemoteWorkerTest, AReportWithoutTheLeaseChangesNothing) {
  post("/tasks", R"({"kind":"k","id":"1"})");
  const std::string token = token_of_one();
  for (const std::string& wrong : {std::string{"nonsense"}, std::string{}, token + "x", token.substr(0, 20),
                                   std::string{"9.99999999999999999999.1.x"}, std::string{"-1.1.1.x"}}) {
    const Reply reply = report(wrong, R"("outcome":"complete")");
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_FALSE(reply.at("/items/0/applied").as_bool()) << wrong;
  }
  EXPECT_EQ(state("1"), "active");
  expect_lost(report("nonsense", R"("outcome":"complete")"));
  const Reply mixed =
      post("/report", fmt::format(R"({{"items":[{},{},{}]}})", item("x", R"("outcome":"complete")"),
                                  item(token, R"("outcome":"complete")"), item("y", R"("outcome":"retry")")));
  EXPECT_FALSE(mixed.at("/items/0/applied").as_bool());
  EXPECT_TRUE(mixed.at("/items/1/applied").as_bool());
  EXPECT_FALSE(mixed.at("/items/2/applied").as_bool());
  EXPECT_EQ(post("/report", R"({"items":[]})").body, R"({"items":[]})");
}

TEST_F(RemoteWorkerTest, ReportsThatAreWrongAreRefusedWhole) {
  post("/tasks", R"({"kind":"k","id":"1"})");
  const std::string token = token_of_one();
  expect_mistake("/items/0/outcome", "snooze", report(token, R"("outcome":"finished")"));
  expect_mistake("/items/0/outcome", "complete", report(token, R"("error":"x")"));
  expect_mistake("/items/0/in", "90s", report(token, R"("outcome":"snooze","in":"soon")"));
  expect_mistake("/items/0/result_base64", "base64",
                 report(token, R"("outcome":"complete","result_base64":"?")"));
  expect_mistake("/items/0/error", "object", report(token, R"("outcome":"retry","error":7)"));
  expect_mistake("/items/0/error/code", "", report(token, R"("outcome":"retry","error":{"code":1})"));
  expect_mistake("/items/0/logs/0/level", "warning",
                 report(token, R"("outcome":"retry","logs":[{"level":"loud"}])"));
  expect_mistake(
      "/items/1/outcome", "",
      post("/report", fmt::format(R"({{"items":[{},{{}}]}})", item(token, R"("outcome":"complete")"))));
  expect_mistake("/items", "array", post("/report", R"({"items":{}})"));
  EXPECT_EQ(state("1"), "active");
}

TEST_F(RemoteWorkerTest, ARenewalKeepsTheLeaseAndTellsHowFarItIs) {
  post("/tasks", R"({"kind":"k","id":"1","retention":"1h"})");
  const std::string token = token_of_one();
  const Reply renewed = renew(item(token, R"("progress":"50 %","logs":[{"text":"half"}])"));
  EXPECT_EQ(renewed.status, 200) << renewed.body;
  EXPECT_EQ(renewed.text("/items/0/signal"), "none");
  EXPECT_EQ(renewed.text("/items/0/token"), token);
  EXPECT_NE(renewed.text("/items/0/until"), "");
  EXPECT_EQ(renewed.text("/worker/signal"), "none");
  EXPECT_EQ(get("/tasks/1").text("/progress"), "50 %");
  expect_applied(report(token, R"("outcome":"complete","logs":[{"text":"done","level":"debug"}])"));
  const Reply logs = get("/tasks/1/logs");
  ASSERT_EQ(logs.count("/lines"), 2U) << logs.body;
  EXPECT_EQ(logs.text("/lines/0/text"), "half");
  EXPECT_EQ(logs.text("/lines/0/level"), "info");
  EXPECT_EQ(logs.text("/lines/1/text"), "done");
  EXPECT_EQ(get("/tasks/1/logs?tail=1").text("/lines/0/text"), "done");
  EXPECT_EQ(get("/tasks/1/logs?tail=9&level=info").count("/lines"), 1U);
  EXPECT_EQ(get("/tasks/1/logs?attempt=2").count("/lines"), 0U);
  const Reply text = send("GET", "/api/v1/tasks/1/logs", "", "Accept: text/plain\r\n");
  EXPECT_EQ(text.header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_NE(text.body.find(" 1 debug   done\n"), std::string::npos) << text.body;
  expect_problem(400, "invalid", get("/tasks/1/logs?level=loud"));
  expect_problem(400, "invalid", get("/tasks/1/logs?tail=0"));
  const Reply lost = renew(item(token) + "," + item("nonsense"));
  EXPECT_EQ(lost.text("/items/0/code"), "lease_lost");
  EXPECT_EQ(lost.text("/items/1/code"), "lease_lost");
  EXPECT_EQ(renew().body, R"({"items":[],"worker":{"signal":"none"}})");
  expect_mistake("/worker/id", "is missing", post("/renew", R"({"items":[]})"));
  expect_mistake("/items/0/progress", "text", renew(item(token, R"("progress":50)")));
  expect_mistake("/lease", "5s", post("/renew", R"({"worker":{"id":"w"},"lease":"1s"})"));
}

TEST_F(RemoteWorkerTest, ARenewalTellsOfCancelAndHold) {
  post("/tasks", R"([{"kind":"k","id":"1"},{"kind":"k","id":"2"}])");
  const Reply leases = claim(R"("limit":2)");
  const std::string one = leases.text("/leases/0/token");
  const std::string two = leases.text("/leases/1/token");
  EXPECT_EQ(post("/tasks/1/cancel").status, 202);
  EXPECT_EQ(post("/tasks/2/hold").status, 202);
  const Reply renewed = renew(item(one) + "," + item(two));
  EXPECT_EQ(renewed.text("/items/0/signal"), "cancel");
  EXPECT_EQ(renewed.text("/items/1/signal"), "hold");
  expect_applied(report(one, R"("outcome":"archive","error":"stopped")"));
  expect_applied(report(two, R"("outcome":"hold")"));
  EXPECT_EQ(state("1"), "archived");
  EXPECT_EQ(state("2"), "held");
}

TEST_F(RemoteWorkerTest, ARenewalTellsToStopWhenTheTimeIsOver) {
  post("/tasks", R"({"kind":"k","id":"1","timeout":"10ms","retries_max":3})");
  const std::string token = token_of_one();
  EXPECT_TRUE(eventually([&] { return renew(item(token)).text("/items/0/signal") == "stop"; }));
  expect_applied(report(token, R"("outcome":"retry","error":"stopped by timeout","in":"1h")"));
  EXPECT_EQ(state("1"), "retry");
  EXPECT_THAT(get("/tasks/1").text("/error"), HasSubstr("stopped by timeout"));
}

TEST_F(RemoteWorkerTest, AWorkerIsShownAndHearsOfSignals) {
  post("/renew", R"({"worker":{"id":"py-1","name":"mail-host","slots":8}})");
  const Reply worker = get("/workers/py-1");
  EXPECT_EQ(worker.status, 200);
  EXPECT_EQ(worker.text("/host"), "mail-host");
  EXPECT_EQ(worker.number("/slots/total"), 8);
  EXPECT_EQ(worker.text("/status"), "running");
  EXPECT_THAT(get("/workers").body, HasSubstr("py-1"));
  EXPECT_EQ(post("/workers/py-1/quiet").status, 202);
  EXPECT_EQ(renew("", "py-1").text("/worker/signal"), "quiet");
  EXPECT_EQ(post("/workers/py-1/resume").status, 202);
  EXPECT_EQ(renew("", "py-1").text("/worker/signal"), "resume");
  EXPECT_EQ(post("/workers/py-1/stop").status, 202);
  EXPECT_EQ(renew("", "py-1").text("/worker/signal"), "stop");
  expect_problem(404, "not_found", get("/workers/absent"));
  for (const char* act : {"quiet", "resume", "stop"})
    expect_problem(404, "not_found", post(fmt::format("/workers/absent/{}", act)));
}

TEST_F(RemoteWorkerTest, AWorkerOnTheServersUrlHasThePortsOwnVerbs) {
  post("/tasks", R"({"kind":"a","id":"1","payload":[1],"retention":"1h"})");
  const Reply claimed = post(
      "/port/claim", R"({"worker":"p","wants":[{"queue":"default","limit":5}],"limit":5,"lease":"25s"})");
  ASSERT_EQ(claimed.count("/leases"), 1U) << claimed.body;
  const std::string lease =
      fmt::format(R"("token":"{}","queue":"default","id":"1")", claimed.text("/leases/0/token"));
  const Reply renewed =
      post("/port/renew", fmt::format(R"({{"worker":{{"id":"p","slots":{{"total":1}}}},"lease":"25s",
      "beats":[{{{},"started":true,"progress":"half"}}]}})",
                                      lease));
  EXPECT_EQ(renewed.status, 200) << renewed.body;
  EXPECT_EQ(get("/tasks/1").text("/progress"), "half");
  const Reply reported =
      post("/port/report", fmt::format(R"({{"items":[{{{},"to":"completed","keep":"1h","attempt":1,
      "tally":"success"}}]}})",
                                       lease));
  EXPECT_EQ(reported.status, 200) << reported.body;
  EXPECT_EQ(get("/tasks/1").text("/state"), "completed");
}

}  // namespace

}  // namespace tidemill::testing
