// `tidemill serve`: the real program over HTTP, every route with what it does and refuses.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cli/cli_fixture.hpp"
#include "http_peer.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Reply {
  int status = 0;
  std::string head = {};
  std::string body = {};
  boost::json::value json() const { return boost::json::parse(body); }
  std::string code() const { return text(json().as_object(), "code"); }
};

class ServeTest : public CliTest {
 protected:
  void SetUp() override {
    server_ = start({"serve", "--listen", "127.0.0.1:0"}, "server");
    ASSERT_TRUE(eventually([&] { return said().find('\n') != std::string::npos; })) << said();
    port_ = static_cast<std::uint16_t>(std::stoi(said().substr(said().rfind(':') + 1)));
  }
  std::string said() const { return read_file(directory_ / "server.out"); }

  static Reply reply(Peer& peer) {
    const std::string all = peer.response();
    const std::size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return {0, all, ""};
    return {std::stoi(all.substr(9, 3)), all.substr(0, end), all.substr(end + 4)};
  }
  Reply send(const std::string& method, const std::string& target, const std::string& body = "",
             const std::string& headers = "Content-Type: application/json\r\n") {
    Peer peer{port_};
    peer.send(fmt::format("{} {} HTTP/1.1\r\nHost: localhost:1\r\n{}Content-Length: {}\r\n\r\n{}", method,
                          target, headers, body.size(), body));
    return reply(peer);
  }
  Reply get(const std::string& target) { return send("GET", "/api/v1" + target); }
  Reply post(const std::string& target, const std::string& body = "") {
    return send("POST", "/api/v1" + target, body);
  }
  std::string state(const std::string& id) { return text(get("/tasks/" + id).json().as_object(), "state"); }
  void expect_problem(int status, const std::string& code, const Reply& answer) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_THAT(answer.head, HasSubstr("application/problem+json"));
    EXPECT_EQ(answer.code(), code) << answer.body;
  }

  Process server_;
  std::uint16_t port_ = 0;
};

TEST_F(ServeTest, ATaskGoesInAndIsShown) {
  const Reply made =
      post("/tasks", R"({"kind":"mail:send","queue":"mail","payload":{"to":"ada","n":90071992547409931.10},
      "id":"m1","delay":"5m","priority":3,"retries_max":7,"timeout":90000,"retention":"1h","headers":{"trace":"7f"}})");
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.body, R"({"id":"m1","created":true})");
  EXPECT_THAT(made.head, HasSubstr("Location: /api/v1/tasks/m1"));
  const Reply shown = get("/tasks/m1");
  EXPECT_EQ(shown.status, 200);
  EXPECT_THAT(shown.body, HasSubstr(R"("text":"{\"to\":\"ada\",\"n\":90071992547409931.10}")"));
  const auto task = shown.json().as_object();
  EXPECT_EQ(text(task, "state"), "scheduled");
  EXPECT_EQ(text(task, "queue"), "mail");
  EXPECT_EQ(task.at("priority").as_int64(), 3);
  EXPECT_EQ(task.at("retries_max").as_int64(), 7);
  EXPECT_EQ(task.at("timeout_ms").as_int64(), 90'000);
  EXPECT_EQ(task.at("retention_ms").as_int64(), 3'600'000);
  EXPECT_EQ(task.at("headers").as_object().at("trace").as_string(), "7f");
  EXPECT_EQ(get("/tasks/m1?queue=mail").status, 200);
  expect_problem(404, "not_found", get("/tasks/m1?queue=other"));
  expect_problem(404, "not_found", get("/tasks/absent"));
}

TEST_F(ServeTest, ASecondTaskWithItsIdOrKeyIsNone) {
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"one"})").status, 201);
  const Reply again = post("/tasks", R"({"kind":"a","id":"one"})");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, R"({"id":"one","created":false})");
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"two","unique":{"key":"k","for":"1h"}})").status, 201);
  EXPECT_EQ(post("/tasks", R"({"kind":"a","unique":{"key":"k","for":"1h"}})").body,
            R"({"id":"two","created":false})");
  expect_problem(409, "unique_conflict",
                 post("/tasks", R"({"kind":"a","unique":{"key":"k","for":"1h","on_conflict":"reject"}})"));
}

TEST_F(ServeTest, OneOfManyHarmsNoOther) {
  const Reply answer =
      post("/tasks", R"([{"kind":"a","id":"1"}, {"id":"2"}, {"kind":"a","id":"3","payload":[1, 2]},
      {"kind":"a","priority":1000}, 7, {"kind":"a","id":"1"}])");
  EXPECT_EQ(answer.status, 200);
  const auto results = answer.json().at("results").as_array();
  ASSERT_EQ(results.size(), 6U);
  EXPECT_EQ(text(results[0].as_object(), "id"), "1");
  EXPECT_THAT(boost::json::serialize(results[1]), HasSubstr(R"("pointer":"/1/kind")"));
  EXPECT_EQ(text(results[2].as_object(), "id"), "3");
  EXPECT_THAT(boost::json::serialize(results[3]), HasSubstr("priority"));
  EXPECT_TRUE(results[4].as_object().contains("problem"));
  EXPECT_FALSE(results[5].at("created").as_bool());
  EXPECT_EQ(answer.json().at("created").as_int64(), 2);
  EXPECT_EQ(answer.json().at("failed").as_int64(), 3);
  EXPECT_THAT(get("/tasks/3").body, HasSubstr(R"("text":"[1, 2]")"));
}

TEST_F(ServeTest, WhatIsWrongWithATaskIsSaid) {
  const auto wrong = [&](const std::string& body, const std::string& pointer, const std::string& what) {
    const Reply answer = post("/tasks", body);
    expect_problem(400, "invalid", answer);
    EXPECT_THAT(answer.body, HasSubstr(what)) << body;
    EXPECT_THAT(answer.body, HasSubstr(pointer.empty() ? "" : fmt::format("\"pointer\":\"{}\"", pointer)));
  };
  wrong("", "", "no JSON");
  wrong(R"({"kind":"a")", "", "no JSON");
  wrong(R"("a")", "", "must be an object");
  wrong("{}", "/kind", "is missing");
  wrong(R"({"kind":7})", "/kind", "must be a text");
  wrong(R"({"kind":""})", "", "kind");
  wrong(R"({"kind":"a","prioritee":1})", "/prioritee", "did you mean");
  wrong(R"({"kind":"a","priority":"high"})", "/priority", "whole number");
  wrong(R"({"kind":"a","delay":"soon"})", "/delay", "90s");
  wrong(R"({"kind":"a","delay":-1})", "/delay", "out of range");
  wrong(R"({"kind":"a","run_at":"tomorrow"})", "/run_at", "tomorrow");
  wrong(R"({"kind":"a","hold":1})", "/hold", "true or false");
  wrong(R"({"kind":"a","headers":["x"]})", "/headers", "must be an object");
  wrong(R"({"kind":"a","headers":{"x":1}})", "/headers/x", "must be a text");
  wrong(R"({"kind":"a","unique":"k"})", "/unique", "must be an object");
  wrong(R"({"kind":"a","unique":{"on_conflict":"maybe"}})", "/unique/on_conflict", "keep");
  wrong(R"({"kind":"a","payload":1,"payload_text":"1"})", "/payload_text", "one of them");
  wrong("[" + std::string(200, '['), "", "no JSON");
  EXPECT_THAT(get("/tasks").body, StartsWith(R"({"items":[])"));
}

TEST_F(ServeTest, ActsMoveTasks) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  EXPECT_EQ(post("/tasks/one/hold").status, 200);
  EXPECT_EQ(state("one"), "held");
  EXPECT_EQ(post("/tasks/one/resume").status, 200);
  EXPECT_EQ(state("one"), "pending");
  expect_problem(409, "wrong_state", post("/tasks/one/resume"));
  EXPECT_EQ(post("/tasks/one/cancel").status, 200);
  EXPECT_EQ(state("one"), "archived");
  EXPECT_EQ(post("/tasks/one/run").status, 200);
  EXPECT_EQ(state("one"), "pending");
  EXPECT_EQ(post("/tasks/one/archive?queue=default").status, 200);
  EXPECT_EQ(send("DELETE", "/api/v1/tasks/one").status, 204);
  expect_problem(404, "not_found", send("DELETE", "/api/v1/tasks/one"));
  expect_problem(404, "not_found", post("/tasks/one/run"));
}

TEST_F(ServeTest, ListsAreFilteredAndPaged) {
  post("/tasks",
       R"([{"kind":"mail:a","id":"1"},{"kind":"mail:b","id":"2"},{"kind":"other","id":"3","hold":true}])");
  EXPECT_EQ(get("/tasks?kind=mail:*").json().at("items").as_array().size(), 2U);
  EXPECT_EQ(get("/tasks?kind=mail%3A*&state=held").json().at("items").as_array().size(), 0U);
  EXPECT_EQ(get("/tasks?state=held,pending").json().at("items").as_array().size(), 3U);
  const auto page = get("/tasks?limit=2").json();
  EXPECT_EQ(page.at("items").as_array().size(), 2U);
  const std::string next{page.at("next").as_string()};
  const auto last = get("/tasks?limit=2&cursor=" + next).json();
  EXPECT_EQ(last.at("items").as_array().size(), 1U);
  EXPECT_TRUE(last.at("next").is_null());
  expect_problem(400, "bad_filter", get("/tasks?state=hold"));
  expect_problem(400, "invalid", get("/tasks?limit=0"));
  expect_problem(400, "invalid", get("/tasks?limit=many"));
  expect_problem(400, "invalid", get("/tasks?limitt=1"));
  expect_problem(400, "invalid", get("/tasks?kind=%zz"));
  expect_problem(400, "invalid", get("/tasks?cursor=nonsense"));
}

TEST_F(ServeTest, QueuesArePausedAndResumed) {
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  EXPECT_EQ(post("/queues/mail/pause").status, 204);
  const auto paused = get("/queues").json().at("items").as_array().at(0).as_object();
  EXPECT_EQ(text(paused, "name"), "mail");
  EXPECT_TRUE(paused.at("paused").as_bool());
  EXPECT_EQ(paused.at("counts").at("pending").as_int64(), 1);
  EXPECT_EQ(post("/queues/mail/resume").status, 204);
  EXPECT_FALSE(get("/queues").json().at("items").as_array().at(0).at("paused").as_bool());
}

TEST_F(ServeTest, AWorkerBesideItRunsWhatItTook) {
  Process worker = start({"work", "--on", "greet=cat", "--log-level", "warning"}, "worker");
  post("/tasks", R"({"kind":"greet","id":"g","payload_text":"hello","retention":"1h"})");
  EXPECT_TRUE(eventually([&] { return state("g") == "completed"; }));
  EXPECT_EQ(text(get("/tasks/g").json().at("result").as_object(), "text"), "hello");
  EXPECT_EQ(get("/tasks/g/attempts").json().at("items").as_array().size(), 1U);
}

TEST_F(ServeTest, OpenApiListsTheRoutes) {
  const auto paths = get("/openapi.json").json().at("paths").as_object();
  EXPECT_EQ(send("GET", "/healthz").body, "ok\n");
  std::size_t operations = 0;
  for (const auto& [path, methods] : paths) {
    for (const auto& [method, operation] : methods.as_object()) {
      ++operations;
      EXPECT_FALSE(operation.at("summary").as_string().empty());
      // Each is there: nothing that is asked of a task or queue that isn't there answers as an unknown path
      // does.
      std::string target{path};
      for (std::size_t at = target.find('{'); at != std::string::npos; at = target.find('{')) {
        target.replace(at, target.find('}') - at + 1, "nobody");
      }
      std::string upper{method};
      std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
      EXPECT_THAT(send(upper, target).body, ::testing::Not(HasSubstr("there is nothing at")))
          << upper << " " << target;
    }
  }
  EXPECT_EQ(operations, 61U);
}

TEST_F(ServeTest, OtherPathsMethodsTypesAndSitesAreRefused) {
  expect_problem(404, "not_found", get("/nothing"));
  expect_problem(404, "not_found", send("GET", "/"));
  expect_problem(404, "not_found", get("/tasks/"));
  const Reply method = send("PUT", "/api/v1/queues");
  expect_problem(405, "method_not_allowed", method);
  EXPECT_THAT(method.head, HasSubstr("Allow: GET"));
  expect_problem(415, "unsupported_media_type", send("POST", "/api/v1/tasks", R"({"kind":"a"})", ""));
  expect_problem(403, "forbidden",
                 send("POST", "/api/v1/queues/q/pause", "", "Origin: http://evil.example\r\n"));
  EXPECT_EQ(send("POST", "/api/v1/queues/q/pause", "", "Origin: http://localhost:1\r\n").status, 204);
  Peer rebound{port_};
  rebound.send("GET /api/v1/tasks HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  expect_problem(403, "bad_host", reply(rebound));
  Peer nonsense{port_};
  nonsense.send("nonsense\r\n\r\n");
  expect_problem(400, "invalid", reply(nonsense));
  Peer large{port_};
  large.send("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n");
  expect_problem(413, "too_large", reply(large));
}

TEST_F(ServeTest, SigtermEndsItAndNothingIsLost) {
  std::vector<std::thread> producers;
  std::atomic<int> acknowledged{0};
  std::atomic<bool> over{false};
  for (int i = 0; i < 8; ++i) {
    producers.emplace_back([&] {
      Peer peer{port_};
      const std::string body = R"({"kind":"a"})";
      while (!over && peer.send(fmt::format("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                            "application/json\r\nContent-Length: {}\r\n\r\n{}",
                                            body.size(), body))) {
        const Reply answer = reply(peer);
        if (answer.status == 201) ++acknowledged;
        if (answer.status == 0) return;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return acknowledged > 100; }));
  kill(server_.pid(), SIGTERM);
  EXPECT_EQ(server_.wait(), 0);
  over = true;
  for (std::thread& producer : producers) producer.join();
  const Ran queues = good("queues", "--json");
  EXPECT_EQ(queues.objects().at(0).at("pending").as_int64(), acknowledged.load());
}

TEST_F(ServeTest, WhereItCantListenIsSaid) {
  bad(1, "Address already in use", "serve", "--listen", fmt::format("127.0.0.1:{}", port_));
  bad(1, "there are no tokens", "serve", "--listen", "0.0.0.0:8470");
  bad(1, "no HOST:PORT", "serve", "--listen", "8470");
  bad(1, "65535", "serve", "--listen", "127.0.0.1:99999");
}

}  // namespace

}  // namespace tidemill::testing
