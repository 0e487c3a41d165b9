// Queues, locks, statistics, and what the server says of itself.
#include "redis_server.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class QueuesOverHttpTest : public ServeTest {
 protected:
  /// Runs a task of this queue as a remote worker, to this end.
  void run_one(const std::string& queue, const std::string& kind, const std::string& outcome) const {
    post("/tasks", fmt::format(R"({{"kind":"{}","queue":"{}"}})", kind, queue));
    const Reply claimed =
        post("/claim", fmt::format(R"({{"worker":{{"id":"w"}},"queues":["{}"],"wait":"20s"}})", queue));
    const Reply reported =
        post("/report", fmt::format(R"({{"items":[{{"token":"{}","outcome":"{}","error":""}}]}})",
                                    claimed.text("/leases/0/token"), outcome));
    EXPECT_TRUE(reported.at("/items/0/applied").as_bool()) << reported.body;
  }
};

TEST_F(QueuesOverHttpTest, QueuesArePausedAndResumed) {
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  EXPECT_EQ(post("/queues/mail/pause").status, 204);
  const Reply paused = get("/queues/mail");
  EXPECT_EQ(paused.text("/name"), "mail");
  EXPECT_TRUE(paused.at("/paused").as_bool());
  EXPECT_EQ(paused.number("/counts/pending"), 1);
  EXPECT_EQ(paused.number("/counts/active"), 0);
  EXPECT_EQ(get("/queues").text("/items/0/name"), "mail");
  EXPECT_TRUE(get("/queues").at("/items/0/paused").as_bool());
  const std::string claim = R"({"worker":{"id":"w"},"queues":["mail"]})";
  EXPECT_EQ(post("/claim", claim).count("/leases"), 0U);
  EXPECT_EQ(post("/queues/mail/resume").status, 204);
  EXPECT_FALSE(get("/queues/mail").at("/paused").as_bool());
  EXPECT_EQ(post("/claim", claim).count("/leases"), 1U);
  expect_problem(404, "not_found", get("/queues/absent"));
  EXPECT_EQ(post("/queues/not-yet/pause").status, 204);
  post("/tasks", R"({"kind":"a","queue":"not-yet"})");
  EXPECT_EQ(post("/claim", R"({"worker":{"id":"w"},"queues":["not-yet"]})").count("/leases"), 0U);
  for (const char* act : {"pause", "resume"})
    expect_problem(400, "invalid", post(fmt::format("/queues/%20/{}", act)));
}

TEST_F(QueuesOverHttpTest, QueuesAreDeleted) {
  expect_problem(404, "not_found", erase("/queues/mail"));
  post("/tasks", R"([{"kind":"a","queue":"mail"},{"kind":"a","queue":"mail","id":"b","delay":"1h"}])");
  const Reply refused = erase("/queues/mail");
  expect_problem(409, "wrong_state", refused);
  EXPECT_THAT(refused.text("/detail"), AllOf(HasSubstr("1 scheduled, 1 pending"), HasSubstr("?force=1")));
  const Reply claimed = post("/claim", R"({"worker":{"id":"w"},"queues":["mail"]})");
  const Reply running = erase("/queues/mail?force=1");
  expect_problem(409, "wrong_state", running);
  EXPECT_THAT(running.text("/detail"), HasSubstr("1 active"));
  EXPECT_EQ(state("b"), "scheduled") << "nothing is deleted while one runs";
  post("/report", fmt::format(R"({{"items":[{{"token":"{}","outcome":"complete"}}]}})",
                              claimed.text("/leases/0/token")));
  EXPECT_EQ(erase("/queues/mail?force=1").status, 204);
  expect_problem(404, "not_found", get("/queues/mail"));
  EXPECT_EQ(state("b"), "not_found");
  EXPECT_EQ(get("/queues").count("/items"), 0U);
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  EXPECT_EQ(get("/queues/mail").number("/counts/pending"), 1);
  expect_problem(400, "invalid", erase("/queues/mail?force=yes"));
  expect_problem(403, "forbidden", erase("/queues/tidemill"));
}

TEST_F(QueuesOverHttpTest, GroupsAreListed) {
  for (const char* group : {"x", "x", "y"})
    post("/tasks", fmt::format(R"({{"kind":"a","queue":"mail","group":"{}"}})", group));
  const Reply all = get("/queues/mail/groups");
  EXPECT_EQ(all.status, 200) << all.body;
  ASSERT_EQ(all.count("/items"), 2U);
  EXPECT_EQ(all.text("/items/0/group"), "x");
  EXPECT_EQ(all.number("/items/0/size"), 2);
  EXPECT_LE(all.text("/items/0/first_at"), all.text("/items/0/last_at"));
  EXPECT_EQ(get("/queues/mail/groups?after=x&limit=1").text("/items/0/group"), "y");
  EXPECT_EQ(get("/queues/absent/groups").count("/items"), 0U);
  expect_problem(400, "invalid", get("/queues/mail/groups?limit=0"));
  expect_problem(400, "invalid", get("/queues/%20/groups"));
}

TEST_F(QueuesOverHttpTest, ManyQueuesArePausedAtOnce) {
  for (const char* queue : {"mail", "img:small", "img:large"})
    post("/tasks", fmt::format(R"({{"kind":"a","queue":"{}"}})", queue));
  EXPECT_EQ(post("/queues/pause", R"({"queues":["img:*","later"]})").body,
            R"({"queues":["img:large","img:small","later"]})");
  EXPECT_TRUE(get("/queues/img:small").at("/paused").as_bool());
  EXPECT_FALSE(get("/queues/mail").at("/paused").as_bool());
  EXPECT_EQ(post("/queues/resume", R"({"queues":["*"]})").status, 200);
  EXPECT_FALSE(get("/queues/img:small").at("/paused").as_bool());
  const std::string id = post("/operations", R"({"action":"hold","q":"kind:x"})").text("/id");
  for (const Reply& refused :
       {post("/queues/tidemill/pause"), post("/queues/pause", R"({"queues":["mail","tidemill"]})")}) {
    expect_problem(403, "forbidden", refused);
    EXPECT_THAT(refused.text("/detail"), ::testing::HasSubstr("server's own work"));
  }
  EXPECT_FALSE(get("/queues/mail").at("/paused").as_bool());
  EXPECT_EQ(post("/queues/pause", R"({"queues":["*"]})").body,
            R"({"queues":["img:large","img:small","mail"]})");
  EXPECT_FALSE(get("/queues/tidemill").at("/paused").as_bool());
  // One that was paused in the store itself goes on.
  EXPECT_EQ(post("/queues/tidemill/resume").status, 204);
  expect_mistake("/queues", "names no queue", post("/queues/pause", R"({"queues":[]})"));
  expect_mistake("/queues", "names no queue", post("/queues/pause", "{}"));
}

TEST_F(QueuesOverHttpTest, QueuesAreFoundAndSorted) {
  post("/tasks",
       R"([{"kind":"a","queue":"a-mail"},{"kind":"a","queue":"b-mail"},{"kind":"a","queue":"b-mail"},
      {"kind":"a","queue":"c"}])");
  const auto names = [&](const std::string& query) {
    const boost::json::value items = get("/queues?fields=name&" + query).at("/items");
    std::string found;
    for (const auto& each : items.as_array()) found += std::string{each.at("name").as_string()} + " ";
    return found;
  };
  EXPECT_EQ(names(""), "a-mail b-mail c ");
  EXPECT_EQ(names("q=mail"), "a-mail b-mail ");
  EXPECT_EQ(names("sort=backlog"), "b-mail a-mail c ");
  EXPECT_EQ(names("sort=oldest&q=c"), "c ");
  expect_problem(400, "invalid", get("/queues?sort=size"));
}

TEST_F(QueuesOverHttpTest, AQueueTellsOfItsWorkersRatesAndTroubles) {
  run_one("mail", "good", "complete");
  run_one("mail", "bad", "archive");
  post("/tasks", R"([{"kind":"a","queue":"mail"},{"kind":"a","queue":"mail"}])");
  post("/claim", R"({"worker":{"id":"py-1","slots":3},"queues":["mail"]})");
  const auto sum = [](const Reply& reply, const std::string& pointer) {
    std::int64_t all = 0;
    for (std::size_t i = 0; i < reply.count(pointer); ++i)
      all += reply.number(fmt::format("{}/{}", pointer, i));
    return all;
  };
  ASSERT_TRUE(eventually([&] { return sum(get("/queues/mail?spark=1"), "/spark/completed") == 1; }));
  const Reply queue = get("/queues/mail?spark=1");
  EXPECT_EQ(queue.count("/spark/completed"), 30U);
  EXPECT_EQ(queue.count("/spark/failed"), 30U);
  EXPECT_EQ(sum(queue, "/spark/failed"), 1);
  EXPECT_EQ(queue.number("/spark/step_ms"), 60'000);
  EXPECT_GT(queue.at("/rates/completed").as_double(), 1.0 / 301);
  EXPECT_LE(queue.at("/rates/completed").as_double(), 1.0 / 240);
  EXPECT_GT(queue.at("/rates/failed").as_double(), 0);
  EXPECT_EQ(queue.at("/rates/crashed").to_number<double>(), 0);
  EXPECT_EQ(queue.number("/workers"), 2);
  EXPECT_EQ(queue.number("/slots/busy"), 1);
  EXPECT_GE(queue.number("/slots/total"), 3);
  EXPECT_EQ(queue.count("/warnings"), 0U);
  EXPECT_FALSE(get("/queues/mail").has("/spark"));
  EXPECT_EQ(get("/queues?spark=1&q=mail").at("/items/0/spark"), queue.at("/spark"));
  post("/queues/mail/pause");
  EXPECT_EQ(get("/queues/mail").text("/warnings/0/code"), "queue_paused");
  EXPECT_EQ(get("/queues/mail").text("/warnings/0/target"), "mail");
  expect_problem(400, "invalid", get("/queues?spark=yes"));
}

TEST_F(QueuesOverHttpTest, TheOverviewShowsEverythingAtAGlance) {
  const Reply empty = get("/overview");
  EXPECT_EQ(empty.number("/backlog"), 0);
  EXPECT_FALSE(empty.has("/oldest"));
  EXPECT_FALSE(empty.has("/schedules/next_at"));
  EXPECT_TRUE(empty.at("/stores/0/reachable").as_bool());
  post("/tasks",
       R"([{"kind":"a","queue":"a"},{"kind":"a","queue":"b"},{"kind":"a","queue":"b","delay":"1h"}])");
  put("/schedules/yearly", R"({"spec":"@yearly","task":{"kind":"a"}})");
  post("/queues/b/pause");
  const Reply full = get("/overview");
  EXPECT_EQ(full.number("/backlog"), 3);
  EXPECT_GE(full.number("/oldest/ms"), 0);
  EXPECT_EQ(full.text("/queues/0/name"), "b") << "the fullest first";
  EXPECT_EQ(full.number("/queues/0/counts/scheduled"), 1);
  EXPECT_TRUE(full.has("/queues/1/rates/completed"));
  EXPECT_EQ(full.text("/schedules/next_at"), get("/schedules/yearly").text("/next_at"));
  EXPECT_EQ(full.number("/schedules/missed"), 0);
  EXPECT_EQ(full.number("/workers/lost"), 0);
  EXPECT_TRUE(full.has("/rates/failed"));
  EXPECT_TRUE(full.has("/slots/total"));
  ASSERT_EQ(full.count("/attention"), 1U) << full.body;
  EXPECT_EQ(full.text("/attention/0/code"), "queue_paused");
  EXPECT_EQ(full.text("/attention/0/level"), "warning");
  EXPECT_THAT(full.text("/attention/0/advice"), HasSubstr("queues resume b"));
}

TEST_F(QueuesOverHttpTest, LocksAreTakenKeptAndGivenBack) {
  const Reply taken = post("/locks/nightly%2Fjob/acquire", R"({"owner":"node-1","ttl":"10m"})");
  EXPECT_EQ(taken.status, 200) << taken.body;
  EXPECT_EQ(taken.text("/name"), "nightly/job");
  const std::int64_t fence = taken.number("/fence");
  EXPECT_EQ(post("/locks/nightly%2Fjob/acquire", R"({"owner":"node-1","ttl":"10m"})").number("/fence"),
            fence);
  for (const std::string& name : {std::string{"a%00b"}, std::string{"%20a"}, std::string(256, 'a')})
    expect_problem(400, "invalid", post(fmt::format("/locks/{}/acquire", name), R"({"owner":"node-1"})"));
  expect_problem(400, "invalid", post("/locks/a/acquire", R"({"owner":"a\nb"})"));
  const Reply held = post("/locks/nightly%2Fjob/acquire", R"({"owner":"node-2"})");
  expect_problem(409, "lock_held", held);
  EXPECT_THAT(held.text("/detail"), HasSubstr("node-1"));
  const auto body = [](const std::string& owner, std::int64_t number) {
    return fmt::format(R"({{"owner":"{}","fence":{},"ttl":"20m"}})", owner, number);
  };
  const Reply extended = post("/locks/nightly%2Fjob/extend", body("node-1", fence));
  EXPECT_EQ(extended.status, 200);
  EXPECT_GT(extended.text("/until"), taken.text("/until"));
  EXPECT_EQ(extended.number("/fence"), fence);
  const Reply list = get("/locks");
  ASSERT_EQ(list.count("/items"), 1U);
  EXPECT_EQ(list.text("/items/0/owner"), "node-1");
  EXPECT_EQ(get("/locks?after=nightly%2Fjob").count("/items"), 0U);
  for (const char* act : {"extend", "release"}) {
    const std::string path = fmt::format("/locks/nightly%2Fjob/{}", act);
    expect_problem(409, "lease_lost", post(path, body("node-2", fence)));
    expect_problem(409, "lease_lost", post(path, body("node-1", fence + 1)));
    expect_problem(409, "lease_lost", post(fmt::format("/locks/absent/{}", act), body("node-1", fence)));
    expect_mistake("/fence", "is missing", post(path, R"({"owner":"node-1"})"));
    expect_mistake("/owner", "is missing", post(path, R"({"fence":1})"));
  }
  EXPECT_EQ(post("/locks/nightly%2Fjob/release", body("node-1", fence)).status, 204);
  expect_problem(409, "lease_lost", post("/locks/nightly%2Fjob/release", body("node-1", fence)));
  const Reply next = post("/locks/nightly%2Fjob/acquire", R"({"owner":"node-2"})");
  EXPECT_GT(next.number("/fence"), fence);
  expect_mistake("/owner", "is missing", post("/locks/a/acquire", "{}"));
  expect_mistake("/ttl", "90s", post("/locks/a/acquire", R"({"owner":"o","ttl":"long"})"));
  for (const char* ttl : {"0s", "9000h"})
    expect_problem(400, "invalid",
                   post("/locks/a/acquire", fmt::format(R"({{"owner":"o","ttl":"{}"}})", ttl)));
}

TEST_F(QueuesOverHttpTest, ALockRunsOut) {
  EXPECT_EQ(post("/locks/a/acquire", R"({"owner":"one","ttl":"1ms"})").status, 200);
  EXPECT_TRUE(eventually([&] { return post("/locks/a/acquire", R"({"owner":"two"})").status == 200; }));
}

TEST_F(QueuesOverHttpTest, StatisticsTellOfWhatEnded) {
  run_one("q1", "good", "complete");
  run_one("q1", "good", "complete");
  run_one("q2", "bad", "archive");
  // They come with the next beat of whoever counted.
  const auto completed = [&](const std::string& query) {
    std::int64_t sum = 0;
    const Reply series = get("/stats/series?metric=completed" + query);
    for (std::size_t i = 0; i < series.count("/series/0/values"); ++i)
      sum += series.number(fmt::format("/series/0/values/{}", i));
    return sum;
  };
  ASSERT_TRUE(eventually([&] { return completed("") == 2; }));
  EXPECT_EQ(completed("&queue=q1"), 2);
  EXPECT_EQ(completed("&queue=q2"), 0);
  EXPECT_EQ(completed("&kind=good"), 2);
  EXPECT_EQ(completed("&kind=bad"), 0);
  EXPECT_EQ(completed("&from=2020-01-01T00:00:00Z"), 2);
  EXPECT_EQ(completed("&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z"), 0);
  const Reply all = get("/stats/series?step=60");
  EXPECT_EQ(all.count("/series"), 4U);
  EXPECT_EQ(all.text("/source"), "minute");
  EXPECT_EQ(all.number("/step_ms"), 60'000);
  EXPECT_EQ(get("/stats/series?from=2020-01-01T00:00:00Z").text("/source"), "day");
  EXPECT_LE(get("/stats/series?from=2000-01-01T00:00:00Z").count("/series/0/values"), 1000U);
  const Reply kinds = get("/stats/kinds");
  ASSERT_EQ(kinds.count("/items"), 2U);
  EXPECT_EQ(kinds.text("/items/0/kind"), "bad");
  EXPECT_EQ(kinds.number("/items/0/failed"), 1);
  EXPECT_EQ(kinds.number("/items/1/completed"), 2);
  EXPECT_EQ(get("/stats/kinds?queue=q2&window=72h").count("/items"), 1U);
  for (const char* rows : {"/stats/daily", "/stats/minutes"}) {
    EXPECT_THAT(get(rows).body,
                AllOf(HasSubstr(R"("kind":"good","completed":2)"), HasSubstr(R"("kind":"bad")")));
    EXPECT_THAT(get(fmt::format("{}?queue=q1", rows)).body, ::testing::Not(HasSubstr(R"("kind":"bad")")));
  }
  EXPECT_EQ(get("/stats/daily?days=1").status, 200);
  EXPECT_EQ(get("/stats/minutes?hours=48").status, 200);
  EXPECT_EQ(get("/suggest?field=kind&prefix=go").body, R"({"values":["good"]})");
  EXPECT_EQ(get("/suggest?field=kind&queue=q2").body, R"({"values":["bad"]})");
  EXPECT_EQ(get("/suggest?field=queue&prefix=q").body, R"({"values":["q1","q2"]})");
  EXPECT_EQ(get("/suggest?prefix=x").body, R"({"values":[]})");
}

TEST_F(QueuesOverHttpTest, MetricsAreForPrometheus) {
  run_one("mail", R"(go\"od)", "complete");
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  const Reply metrics = send("GET", "/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_THAT(metrics.header("Content-Type"), HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(metrics.body,
              AllOf(HasSubstr("\ntidemill_queue_tasks{queue=\"mail\",state=\"pending\"} 1\n"),
                    HasSubstr("\ntidemill_attempts_total{kind=\"go\\\"od\",outcome=\"completed\"} 1\n"),
                    HasSubstr("\ntidemill_tasks_enqueued_total{kind=\"go\\\"od\"} 1\n"),
                    HasSubstr("tidemill_store_call_seconds_bucket{verb=\"claim\",le=\"+Inf\"}"),
                    HasSubstr("\ntidemill_run_seconds_count{kind=\"go\\\"od\"} 1\n"),
                    HasSubstr("tidemill_info{version=")));
  std::string line;
  for (std::size_t at = 0; at < metrics.body.size(); at += line.size() + 1) {
    line = metrics.body.substr(at, metrics.body.find('\n', at) - at);
    EXPECT_TRUE(line.starts_with("# ") || line.rfind(' ') != std::string::npos) << line;
    EXPECT_TRUE(line.starts_with("# HELP tidemill_") || line.starts_with("# TYPE tidemill_") ||
                line.starts_with("tidemill_"))
        << line;
  }
}

TEST_F(ServerTest, MetricsHaveTheStoresGauges) {
  TIDEMILL_NEEDS_REDIS();
  const RedisServer redis;
  serve("", {"--store", redis.url()});
  const std::string body = send("GET", "/metrics").body;
  EXPECT_THAT(body,
              AllOf(HasSubstr("\n# HELP tidemill_store_memory_bytes "),
                    HasSubstr("\n# TYPE tidemill_store_memory_bytes gauge\ntidemill_store_memory_bytes "),
                    HasSubstr("\ntidemill_store_memory_bytes_max 0\n")));
}

TEST_F(QueuesOverHttpTest, TheServerSaysThatItLivesAndIsReady) {
  EXPECT_EQ(send("GET", "/healthz").body, "ok\n");
  EXPECT_TRUE(eventually([&] { return send("GET", "/readyz").status == 200; }));
  const Reply server = get("/server");
  EXPECT_EQ(server.text("/name"), "tidemill");
  EXPECT_NE(server.text("/version"), "");
  EXPECT_GT(server.number("/limits/task_bytes"), 0);
}

TEST_F(QueuesOverHttpTest, CodesOfProblemsAreExplained) {
  const Reply lost = get("/problems/lease_lost");
  EXPECT_EQ(lost.status, 200);
  EXPECT_EQ(lost.body, R"({"code":"lease_lost","title":"The lease is lost",)"
                       R"("hint":"Stop the handler: another worker has the task, or will have it."})");
  expect_problem(404, "not_found", get("/problems/nothing"));
  const Reply nothing = get("/nothing");
  EXPECT_EQ(nothing.text("/request_id"), nothing.header("X-Request-Id"));
  EXPECT_EQ(send("GET", "/api/v1/tasks/x", "", "X-Request-Id: a\"b\r\n").text("/request_id"), "a\"b");
  EXPECT_EQ(get(get("/nothing").text("/type").substr(7)).status, 200);
}

}  // namespace

}  // namespace tidemill::testing
