// Tasks that come in over HTTP: one, many, a line each, and what is wrong with them.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class EnqueueOverHttpTest : public ServeTest {};

TEST_F(EnqueueOverHttpTest, ATaskGoesInAndIsShown) {
  const Reply made =
      post("/tasks", R"({"kind":"mail:send","queue":"mail","payload":{"to":"ada","n":90071992547409931.10},
      "id":"m1","delay":"5m","priority":3,"retries_max":7,"crashes_max":2,"timeout":90000,"retention":"1h",
      "headers":{"trace":"7f"},"deadline":"2999-01-01T00:00:00Z","expires_at":"2998-01-01T00:00:00Z"})");
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.body, R"({"id":"m1","created":true})");
  EXPECT_EQ(made.header("Location"), "/api/v1/tasks/m1");
  const Reply task = get("/tasks/m1");
  EXPECT_EQ(task.status, 200);
  EXPECT_EQ(task.text("/kind"), "mail:send");
  EXPECT_EQ(task.text("/state"), "scheduled");
  EXPECT_EQ(task.text("/queue"), "mail");
  EXPECT_EQ(task.number("/priority"), 3);
  EXPECT_EQ(task.number("/retries_max"), 7);
  EXPECT_EQ(task.number("/crashes_max"), 2);
  EXPECT_EQ(task.number("/timeout_ms"), 90'000);
  EXPECT_EQ(task.number("/retention_ms"), 3'600'000);
  EXPECT_EQ(task.text("/headers/trace"), "7f");
  EXPECT_EQ(task.text("/deadline"), "2999-01-01T00:00:00Z");
  EXPECT_EQ(task.number("/attempts_total"), 0);
  EXPECT_EQ(get("/tasks/m1?queue=mail").status, 200);
  expect_problem(404, "not_found", get("/tasks/m1?queue=other"));
  expect_problem(404, "not_found", get("/tasks/absent"));
}

TEST_F(EnqueueOverHttpTest, PayloadsOfAllKindsComeBackAsTheyWere) {
  const auto payload = [&](const std::string& member) {
    const Reply made = post("/tasks", fmt::format(R"({{"kind":"a",{}}})", member));
    EXPECT_EQ(made.status, 201) << made.body;
    return get("/tasks/" + made.text("/id"));
  };
  const Reply json = payload(R"("payload": {"n": 90071992547409931.10} )");
  EXPECT_EQ(json.text("/payload/format"), "json");
  EXPECT_EQ(json.text("/payload/text"), R"({"n": 90071992547409931.10})");
  EXPECT_EQ(json.number("/payload/bytes"), 27);
  const Reply null = payload(R"("payload":null)");
  EXPECT_EQ(null.text("/payload/text"), "null");
  const Reply text = payload(R"("payload_text":"h\u00e9llo, \"ada\"\n")");
  EXPECT_EQ(text.text("/payload/format"), "text");
  EXPECT_EQ(text.text("/payload/text"), "h\u00e9llo, \"ada\"\n");
  const Reply binary = payload(R"("payload_base64":"/wAB/g==")");
  EXPECT_EQ(binary.text("/payload/format"), "binary");
  EXPECT_EQ(binary.text("/payload/base64"), "/wAB/g==");
  EXPECT_EQ(binary.number("/payload/bytes"), 4);
  const Reply none = post("/tasks", R"({"kind":"a","id":"none"})");
  EXPECT_EQ(get("/tasks/none").number("/payload/bytes"), 0);
  const Reply raw = get("/tasks/" + binary.text("/id") + "/payload");
  EXPECT_EQ(raw.body, std::string("\xff\x00\x01\xfe", 4));
  EXPECT_EQ(raw.header("Content-Type"), "application/octet-stream");
  EXPECT_EQ(raw.header("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(get("/tasks/" + json.text("/id") + "/payload").header("Content-Type"), "application/json");
  // A list shows the beginning of each, whatever bytes they are.
  EXPECT_EQ(get("/tasks").count("/items"), 5U);
  EXPECT_EQ(get("/tasks?limit=1").number("/items/0/preview/bytes"), 27);
}

TEST_F(EnqueueOverHttpTest, TheTraceOfTheRequestGoesOnWithTheTask) {
  const std::string json = "Content-Type: application/json\r\n";
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  send("POST", "/api/v1/tasks", R"({"kind":"a","id":"1"})",
       fmt::format("{}traceparent: {}\r\ntracestate: a=b\r\n", json, trace));
  EXPECT_EQ(get("/tasks/1").text("/headers/traceparent"), trace);
  EXPECT_EQ(get("/tasks/1").text("/headers/tracestate"), "a=b");
  send("POST", "/api/v1/tasks", R"({"kind":"a","id":"2","headers":{"traceparent":"mine"}})",
       fmt::format("{}traceparent: {}\r\ntracestate: a=b\r\n", json, trace));
  EXPECT_EQ(get("/tasks/2").text("/headers/traceparent"), "mine");
  EXPECT_FALSE(get("/tasks/2").has("/headers/tracestate"));
}

TEST_F(EnqueueOverHttpTest, ATraceThatDoesNotReadIsLeftOut) {
  const std::string trace = "0af7651916cd43dd8448eb211c80319c";
  const std::string parent = "b7ad6b7169203331";
  auto taken = [&, number = 0](const std::string& sent) mutable {
    const std::string id = std::to_string(++number);
    const Reply made = send("POST", "/api/v1/tasks", fmt::format(R"({{"kind":"a","id":"{}"}})", id),
                            fmt::format("Content-Type: application/json\r\ntraceparent: {}\r\n"
                                        "tracestate: a=b\r\n",
                                        sent));
    EXPECT_EQ(made.status, 201) << made.body;
    const Reply task = get("/tasks/" + id);
    EXPECT_EQ(task.has("/headers/tracestate"), task.has("/headers/traceparent"));
    return task.has("/headers/traceparent");
  };
  EXPECT_TRUE(taken(fmt::format("00-{}-{}-00", trace, parent)));
  EXPECT_TRUE(taken(fmt::format("cc-{}-{}-01-what-comes-later", trace, parent)));
  EXPECT_FALSE(taken(""));
  EXPECT_FALSE(taken("00-7f-01-01"));
  EXPECT_FALSE(taken(fmt::format("ff-{}-{}-01", trace, parent)));
  EXPECT_FALSE(taken(fmt::format("00-{}-{}-01-more", trace, parent)));
  EXPECT_FALSE(taken(fmt::format("cc-{}-{}-01more", trace, parent)));
  EXPECT_FALSE(taken(fmt::format("00-{}-{}-01", std::string(32, '0'), parent)));
  EXPECT_FALSE(taken(fmt::format("00-{}-{}-01", trace, std::string(16, '0'))));
  EXPECT_FALSE(taken(fmt::format("00-{}-{}-0x", trace, parent)));
  EXPECT_FALSE(taken(fmt::format("00-{}-{}-01", "0AF7651916CD43DD8448EB211C80319C", parent)));
  EXPECT_FALSE(taken(fmt::format("00_{}-{}-01", trace, parent)));
}

TEST_F(EnqueueOverHttpTest, AnIdThatIsThereIsNotEmpty) {
  expect_mistake("/id", "leave it out", post("/tasks", R"({"kind":"a","id":""})"));
  const Reply many = post("/tasks", R"([{"kind":"a","id":""},{"kind":"a"}])");
  EXPECT_EQ(many.text("/results/0/problem/code"), "invalid");
  EXPECT_EQ(many.number("/created"), 1);
}

TEST_F(EnqueueOverHttpTest, ASecondTaskWithItsIdOrKeyIsNone) {
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"one"})").status, 201);
  const Reply again = post("/tasks", R"({"kind":"a","id":"one"})");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, R"({"id":"one","created":false})");
  EXPECT_EQ(again.header("Location"), "");
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"two","unique":{"key":"k","for":"1h"}})").status, 201);
  EXPECT_EQ(post("/tasks", R"({"kind":"a","unique":{"key":"k","for":"1h"}})").body,
            R"({"id":"two","created":false})");
  expect_problem(409, "unique_conflict",
                 post("/tasks", R"({"kind":"a","unique":{"key":"k","for":"1h","on_conflict":"reject"}})"));
  const Reply replaced =
      post("/tasks", R"({"kind":"b","unique":{"key":"k","for":"1h","on_conflict":"replace"}})");
  EXPECT_EQ(replaced.status, 200);
  EXPECT_TRUE(replaced.at("/replaced").as_bool());
  EXPECT_EQ(get("/tasks/" + replaced.text("/id")).text("/kind"), "b");
}

TEST_F(EnqueueOverHttpTest, OneOfManyHarmsNoOther) {
  const Reply answer =
      post("/tasks", R"([{"kind":"a","id":"1"}, {"id":"2"}, {"kind":"a","id":"3","payload":[1, 2]},
      {"kind":"a","priority":1000}, 7, {"kind":"a","id":"1"}])");
  EXPECT_EQ(answer.status, 200);
  ASSERT_EQ(answer.count("/results"), 6U);
  EXPECT_EQ(answer.text("/results/0/id"), "1");
  EXPECT_EQ(answer.text("/results/1/problem/errors/0/pointer"), "/1/kind");
  EXPECT_EQ(answer.text("/results/2/id"), "3");
  EXPECT_THAT(answer.text("/results/3/problem/detail"), HasSubstr("priority"));
  EXPECT_EQ(answer.text("/results/4/problem/errors/0/pointer"), "/4");
  EXPECT_FALSE(answer.at("/results/5/created").as_bool());
  EXPECT_EQ(answer.number("/created"), 2);
  EXPECT_EQ(answer.number("/failed"), 3);
  EXPECT_EQ(get("/tasks/3").text("/payload/text"), "[1, 2]");
  EXPECT_EQ(post("/tasks", "[]").body, R"({"results":[],"created":0,"failed":0})");
}

TEST_F(EnqueueOverHttpTest, TasksComeALineEach) {
  const auto lines = [&](const std::string& body) {
    return send("POST", "/api/v1/tasks", body, "Content-Type: application/x-ndjson\r\n");
  };
  const Reply answer = lines(
      "{\"kind\":\"a\",\"id\":\"1\"}\n\n{broken\n{\"kind\":\"a\",\"id\":\"2\"}\r\n"
      "{\"kind\":\"a\",\"id\":\"3\"}");
  EXPECT_EQ(answer.status, 200);
  ASSERT_EQ(answer.count("/results"), 4U);
  EXPECT_EQ(answer.text("/results/0/id"), "1");
  EXPECT_THAT(answer.text("/results/1/problem/errors/0/detail"), HasSubstr("no JSON"));
  EXPECT_EQ(answer.text("/results/2/id"), "2");
  EXPECT_EQ(answer.text("/results/3/id"), "3");
  EXPECT_EQ(lines("").body, R"({"results":[],"created":0,"failed":0})");
  EXPECT_EQ(get("/tasks/count").number("/n"), 3);
}

TEST_F(EnqueueOverHttpTest, TooManyAtOnceAreRefusedAndNoneGoesIn) {
  std::string array = "[";
  std::string lines;
  for (int i = 0; i < 10'001; ++i) {
    array += fmt::format(R"({}{{"kind":"a"}})", i == 0 ? "" : ",");
    lines += "{\"kind\":\"a\"}\n";
  }
  expect_problem(413, "too_large", post("/tasks", array + "]"));
  expect_problem(413, "too_large",
                 send("POST", "/api/v1/tasks", lines, "Content-Type: application/x-ndjson\r\n"));
  EXPECT_EQ(get("/tasks/count").number("/n"), 0);
}

TEST_F(EnqueueOverHttpTest, WhatIsWrongWithATaskIsSaid) {
  const auto wrong = [&](const std::string& body, const std::string& pointer, const std::string& what) {
    SCOPED_TRACE(body);
    expect_mistake(pointer, what, post("/tasks", body));
  };
  wrong("", "", "no JSON");
  wrong(R"({"kind":"a")", "", "no JSON");
  wrong(R"({"kind":"a"} x)", "", "no JSON");
  wrong("{\"kind\":\"\xff\"}", "", "no JSON");
  wrong(R"("a")", "", "must be an object");
  wrong("null", "", "must be an object");
  wrong("{}", "/kind", "is missing");
  wrong(R"({"kind":7})", "/kind", "must be a text");
  wrong(R"({"kind":null})", "/kind", "must be a text");
  wrong(R"({"kind":"a","prioritee":1})", "/prioritee", "did you mean");
  wrong(R"({"kind":"a","a/b~c":1})", "/a~1b~0c", "");
  wrong(R"({"kind":"a","priority":"high"})", "/priority", "whole number");
  wrong(R"({"kind":"a","priority":1.5})", "/priority", "whole number");
  wrong(R"({"kind":"a","delay":"soon"})", "/delay", "90s");
  wrong(R"({"kind":"a","delay":-1})", "/delay", "out of range");
  wrong(R"({"kind":"a","delay":99999999999999999999})", "/delay", "");
  wrong(R"({"kind":"a","run_at":"tomorrow"})", "/run_at", "tomorrow");
  wrong(R"({"kind":"a","run_at":7})", "/run_at", "must be a text");
  wrong(R"({"kind":"a","hold":1})", "/hold", "true or false");
  wrong(R"({"kind":"a","headers":["x"]})", "/headers", "must be an object");
  wrong(R"({"kind":"a","headers":{"x":1}})", "/headers/x", "must be a text");
  wrong(R"({"kind":"a","unique":"k"})", "/unique", "must be an object");
  wrong(R"({"kind":"a","unique":{"on_conflict":"maybe"}})", "/unique/on_conflict", "keep");
  wrong(R"({"kind":"a","unique":{"keys":"maybe"}})", "/unique/keys", "key");
  wrong(R"({"kind":"a","payload":1,"payload_text":"1"})", "/payload_text", "one of them");
  wrong(R"({"kind":"a","payload_base64":"not base64"})", "/payload_base64", "base64");
  wrong("[" + std::string(200, '['), "", "no JSON");
  wrong(std::string(100'000, '['), "", "no JSON");
  EXPECT_EQ(get("/tasks/count").number("/n"), 0);
}

TEST_F(EnqueueOverHttpTest, WhatNoTaskMayBeIsSaid) {
  const auto wrong = [&](const std::string& members, const std::string& what) {
    const Reply answer = post("/tasks", fmt::format("{{{}}}", members));
    expect_problem(400, "invalid", answer);
    EXPECT_THAT(answer.body, HasSubstr(what)) << members;
  };
  wrong(R"("kind":"")", "kind");
  wrong(R"("kind":" a")", "kind");
  wrong(R"("kind":"a","queue":"")", "queue");
  wrong(R"("kind":"a","queue":"a\nb")", "queue");
  wrong(R"("kind":"a","id":" ")", "id");
  wrong(R"("kind":"a","priority":101)", "priority");
  wrong(R"("kind":"a","retries_max":-1)", "retries_max");
  wrong(R"("kind":"a","retries_max":99999999999)", "retries_max");
  wrong(R"("kind":"a","delay":"1m","run_at":"2999-01-01T00:00:00Z")", "run_at");
  wrong(fmt::format(R"("kind":"{}")", std::string(256, 'k')), "kind");
  EXPECT_EQ(get("/tasks/count").number("/n"), 0);
}

TEST_F(EnqueueOverHttpTest, ANameTwiceMeansTheLastOne) {
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"1","kind":"b","payload":[1],"x":1})").status, 400);
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"1","payload":[2],"kind":"b"})").status, 201);
  EXPECT_EQ(get("/tasks/1").text("/kind"), "b");
  EXPECT_EQ(get("/tasks/1").text("/payload/text"), "[2]");
}

TEST_F(EnqueueOverHttpTest, NobodyEnqueuesTheServersOwnWork) {
  post("/tasks", R"({"kind":"a","id":"1"})");
  const Reply answer = post(
      "/tasks",
      R"({"kind":"tidemill:operation","queue":"tidemill","payload":{"action":"erase","everything":true}})");
  expect_problem(403, "forbidden", answer);
  expect_problem(403, "forbidden", put("/schedules/evil", R"({"spec":"* * * * *","task":
      {"kind":"tidemill:operation","queue":"tidemill","payload":{"action":"erase","everything":true}}})"));
  expect_problem(403, "forbidden", post("/claim", R"({"worker":{"id":"w"},"queues":["tidemill"]})"));
}

}  // namespace

}  // namespace tidemill::testing
