// Requests that no well-meant client sends.
#include <sqlite3.h>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class BadRequestTest : public ServeTest {
 protected:
  Reply raw(const std::string& bytes) const {
    Peer peer{port_};
    peer.send(bytes);
    return read_reply(peer);
  }
};

TEST_F(BadRequestTest, AnAnswerIsOfATypeThatIsAccepted) {
  post("/tasks", R"({"kind":"a","id":"one","payload_base64":"/wA="})");
  const auto ask = [&](const std::string& path, const std::string& accept) {
    return send("GET", "/api/v1" + path, "", fmt::format("Accept: {}\r\n", accept));
  };
  for (const char* accept :
       {"*/*", "application/json", "Application/*;q=0.5", "text/html, application/json;q=0.9",
        "text/*,*/*;q=0.1", "", ",", "text/html;q=0, application/json; charset=utf-8"}) {
    EXPECT_EQ(ask("/tasks", accept).status, 200) << accept;
  }
  for (const char* accept : {"text/html", "application/xml, text/*", "application/json;q=0, */*", "*/*;q=0.0",
                             "application", "application/jsonp"}) {
    const Reply refused = ask("/tasks", accept);
    expect_problem(406, "not_acceptable", refused);
    EXPECT_THAT(refused.text("/detail"), ::testing::HasSubstr("application/json"));
    EXPECT_NE(refused.text("/hint"), "");
  }
  EXPECT_EQ(ask("/tasks/one/logs", "text/plain").status, 200);
  EXPECT_EQ(ask("/tasks/one/payload", "application/octet-stream").status, 200);
  expect_problem(406, "not_acceptable", ask("/tasks/one/payload", "application/json"));
  expect_problem(406, "not_acceptable", ask("/events?topics=queues", "application/json"));
  // A problem comes to whoever has one, and what was done is said in the form that there is.
  expect_problem(404, "not_found", ask("/tasks/two", "text/html"));
  EXPECT_EQ(send("POST", "/api/v1/tasks/one/hold", "", "Accept: text/html\r\n").status, 200);
  EXPECT_EQ(send("GET", "/healthz", "", "Accept: application/json\r\n").status, 200);
}

TEST_F(BadRequestTest, AProblemSaysWhatToDo) {
  EXPECT_THAT(get("/tasks?cursor=x").text("/hint"), ::testing::HasSubstr("without a cursor"));
  EXPECT_EQ(get("/problems/lease_lost").text("/hint").substr(0, 16), "Stop the handler");
  EXPECT_FALSE(get("/tasks/absent").has("/hint"));
}

TEST_F(BadRequestTest, AStoreThatIsBusyForAllOfTheTimeIsATimeOut) {
  post("/tasks", R"({"kind":"k","id":"1"})");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "jobs.db").c_str(), &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 10'000);
  EXPECT_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  const Reply answer = post("/queues/default/pause");
  sqlite3_close(db);
  expect_problem(504, "store_timeout", answer);
  EXPECT_EQ(answer.header("Retry-After"), "1");
  EXPECT_EQ(post("/queues/default/pause").status, 204);
}

TEST_F(BadRequestTest, UnknownPathsAndMethodsAreRefused) {
  for (const char* path :
       {"/nothing", "/tasks/", "/tasks//hold", "/tasks/one/hold/more", "/queues/", "/task"})
    expect_problem(404, "not_found", get(path));
  for (const char* path : {"/", "/api", "/api/v2/tasks", "//api/v1/tasks", "/../etc/passwd"})
    expect_problem(404, "not_found", send("GET", path));
  const Reply method = send("PUT", "/api/v1/queues");
  expect_problem(405, "method_not_allowed", method);
  EXPECT_EQ(method.header("Allow"), "GET");
  const Reply tasks = send("PATCH", "/api/v1/tasks");
  expect_problem(405, "method_not_allowed", tasks);
  EXPECT_THAT(tasks.header("Allow"), HasSubstr("POST"));
  EXPECT_THAT(tasks.header("Allow"), HasSubstr("GET"));
  expect_problem(405, "method_not_allowed", send("POST", "/healthz"));
}

TEST_F(BadRequestTest, TheHeadOfAnAnswerHasNoBody) {
  post("/tasks", R"({"kind":"a","id":"1"})");
  for (const char* path : {"/api/v1/tasks/1", "/healthz", "/api/v1/queues"}) {
    Peer peer{port_};
    peer.send(fmt::format("HEAD {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path));
    const std::string all = peer.rest();
    EXPECT_EQ(all.substr(0, 15), "HTTP/1.1 200 OK") << path;
    EXPECT_EQ(all.substr(all.find("\r\n\r\n")), "\r\n\r\n") << path;
  }
}

TEST_F(BadRequestTest, AnswersGoOutInTheOrderOfTheRequests) {
  post("/tasks", R"({"kind":"a","id":"1"})");
  Peer peer{port_};
  peer.send(request("GET", "/api/v1/tasks/1/wait?timeout=100ms") + request("GET", "/healthz") +
            request("GET", "/api/v1/tasks/absent"));
  EXPECT_EQ(read_reply(peer).body, R"({"state":"pending"})");
  EXPECT_EQ(read_reply(peer).body, "ok\n");
  EXPECT_EQ(read_reply(peer).status, 404);
}

TEST_F(BadRequestTest, WhatTakesNoBodyDoesNotPassOverOne) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  for (const char* const target : {"/tasks/one/hold", "/tasks/one/copy", "/queues/default/pause"}) {
    SCOPED_TRACE(target);
    const Reply refused = post(target, R"({"queue":"other"})");
    expect_problem(400, "invalid", refused);
    EXPECT_THAT(refused.text("/detail"), HasSubstr("takes no body"));
  }
  EXPECT_EQ(get("/tasks/one").text("/state"), "pending");
  EXPECT_EQ(post("/tasks/one/hold", "{}").status, 200);
}

TEST_F(BadRequestTest, BodiesMustSayThatTheyAreJson) {
  for (const char* route : {"POST /tasks", "POST /claim", "POST /renew", "POST /report", "POST /operations",
                            "POST /schedules", "PUT /schedules/a", "POST /schedules/preview",
                            "POST /locks/a/acquire", "POST /locks/a/extend", "POST /locks/a/release"}) {
    const std::string text{route};
    const std::string method = text.substr(0, text.find(' '));
    const std::string target = "/api/v1" + text.substr(text.find(' ') + 1);
    expect_problem(415, "unsupported_media_type", send(method, target, "{}", ""));
    expect_problem(415, "unsupported_media_type",
                   send(method, target, "{}", "Content-Type: application/x-www-form-urlencoded\r\n"));
    for (const char* body : {"", "{", "[1", "{\"a\":}", "\xff", "{} {}"}) {
      SCOPED_TRACE(fmt::format("{} {}", route, body));
      expect_mistake("", "no JSON", send(method, target, body));
    }
    for (const char* body : {"7", "null", "\"text\"", "true"}) {
      SCOPED_TRACE(fmt::format("{} {}", route, body));
      expect_problem(400, "invalid", send(method, target, body));
    }
    const Reply unknown = send(method, target, R"({"nobody_knows_this":1})");
    expect_mistake("/nobody_knows_this", "", unknown);
    EXPECT_EQ(send(method, target, R"({"nobody_knows_this":1})",
                   "Content-Type: Application/JSON; charset=utf-8\r\n")
                  .status,
              400);
    expect_problem(415, "unsupported_media_type",
                   send(method, target, "{}", "Content-Type: application/jsonl\r\n"));
  }
}

TEST_F(BadRequestTest, PagesOfOtherSitesCantSendRequests) {
  const auto pause = [&](const std::string& headers) {
    return send("POST", "/api/v1/queues/q/pause", "", headers);
  };
  expect_problem(403, "forbidden", pause("Origin: http://evil.example\r\n"));
  expect_problem(403, "forbidden", pause("Origin: null\r\n"));
  expect_problem(403, "forbidden", pause("Origin: http://localhost:2\r\n"));
  EXPECT_EQ(pause("Origin: http://localhost:1\r\n").status, 204);
  expect_problem(403, "bad_host", raw("GET /api/v1/tasks HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
  expect_problem(403, "bad_host", raw("GET /api/v1/tasks HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(raw("GET /api/v1/tasks HTTP/1.1\r\nHost: [::1]:8470\r\n\r\n").status, 200);
  EXPECT_EQ(raw("GET /api/v1/tasks HTTP/1.1\r\nHost: LocalHost\r\n\r\n").status, 200);
  EXPECT_EQ(raw("GET http://localhost/api/v1/tasks HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 200);
  expect_problem(403, "bad_host",
                 raw("GET http://evil.example/api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n"));
}

TEST_F(BadRequestTest, WhatIsNoRequestIsRefused) {
  expect_problem(400, "invalid", raw("nonsense\r\n\r\n"));
  expect_problem(400, "invalid", raw("GET /api/v1/tasks HTTP/1.1\r\nContent-Length: many\r\n\r\n"));
  expect_problem(413, "too_large",
                 raw("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"));
  expect_problem(
      431, "too_large",
      raw("GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n"));
  Peer half{port_};
  half.send(
      "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "100\r\n\r\n{\"kind\":\"a\"}");
  half.finish();
  (void)half.rest();
  EXPECT_EQ(get("/tasks/count").number("/n"), 0);
}

TEST_F(BadRequestTest, ATaskAsLargeAsARequestMayBeGoesIn) {
  const std::string text(7U << 20U, 'x');
  const Reply made = post("/tasks", fmt::format(R"({{"kind":"a","id":"1","payload":"{}"}})", text));
  EXPECT_EQ(made.status, 201) << made.body.substr(0, 300);
  EXPECT_EQ(get("/tasks/1").number("/payload/bytes"), (7 << 20) + 2);
  EXPECT_EQ(get("/tasks").status, 200);
}

TEST_F(BadRequestTest, ParametersMustBeKnownAndReadable) {
  for (const char* target : {"/tasks?x=1",
                             "/tasks?limit=1&limit=2",
                             "/queues?x=1",
                             "/queues/q?x=1",
                             "/workers?x=1",
                             "/schedules?x=1",
                             "/operations?x=1",
                             "/operations?limit=x",
                             "/locks?limit=0",
                             "/locks?x",
                             "/server?x=",
                             "/events?x=1",
                             "/suggest?x=1",
                             "/suggest?field=payload",
                             "/stats/series?x=1",
                             "/stats/series?metric=nothing",
                             "/stats/series?from=then",
                             "/stats/series?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
                             "/stats/series?step=-1",
                             "/stats/minutes?hours=0",
                             "/stats/minutes?hours=49",
                             "/stats/daily?days=367",
                             "/stats/kinds?window=long",
                             "/events",
                             "/events?topics=weather",
                             "/events?topics=task:",
                             "/tasks/1/wait?x=1"})
    expect_problem(400, "invalid", get(target));
  EXPECT_THAT(get("/suggest?feild=kind").text("/detail"), HasSubstr("did you mean"));
}

TEST_F(BadRequestTest, TimesOfOldAndFarAwayHarmNothing) {
  for (const char* target :
       {"/stats/series?from=1000-01-01T00:00:00Z&to=9000-01-01T00:00:00Z",
        "/stats/series?from=1970-01-01T00:00:00Z",
        "/stats/series?from=1000-01-01T00:00:00Z&to=1000-01-01T00:00:01Z", "/stats/kinds?window=36500d",
        "/stats/kinds?window=0s", "/tasks?created_before=9999-12-31T23:59:59Z"}) {
    EXPECT_THAT(get(target).status, ::testing::AnyOf(200, 400)) << target;
  }
  EXPECT_EQ(send("GET", "/healthz").status, 200);
}

}  // namespace

}  // namespace tidemill::testing
