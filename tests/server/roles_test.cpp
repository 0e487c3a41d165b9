// Who may do what: tokens, their roles and their queues.
#include <algorithm>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> roles = {"viewer", "operator", "admin", "producer", "worker"};

std::string secret_of(const std::string& role) { return "secret-of-" + role + "-0000"; }

class RolesTest : public ServerTest {
 protected:
  void SetUp() override {
    std::string yaml = "tokens:\n";
    for (const std::string& role : roles)
      yaml += fmt::format("  - {{name: {0}-1, role: {0}, secret: {1}}}\n", role, secret_of(role));
    for (const std::string& role : roles)
      yaml += fmt::format("  - {{name: mail-{0}, role: {0}, secret: mail-{1}, queues: [mail, 'img:*']}}\n",
                          role, secret_of(role));
    yaml += more();
    serve(yaml);
  }
  virtual std::string more() const { return ""; }
  static std::string mail(const std::string& role) { return "mail-" + secret_of(role); }
};

TEST_F(RolesTest, EachRoleMayDoWhatTheDocumentSaysAndNothingElse) {
  token_ = secret_of("admin");
  const auto paths = get("/openapi.json").json().at("paths").as_object();
  for (const auto& [path, methods] : paths) {
    for (const auto& [method, operation] : methods.as_object()) {
      std::string target{path};
      for (std::size_t at = target.find('{'); at != std::string::npos; at = target.find('{'))
        target.replace(at, target.find('}') - at + 1, "nobody");
      std::string name{method};
      std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
      const std::string query = target.ends_with("/wait") ? "?timeout=0s" : "";
      SCOPED_TRACE(name + " " + target);
      const auto status = [&](const std::string& token) {
        token_ = token;
        return send(name, target + query, "[]").status;
      };
      const auto& security = operation.at("security").as_array();
      if (security.empty()) {
        for (const std::string& token : {std::string{}, std::string{"wrong"}, secret_of("viewer")})
          EXPECT_THAT(status(token), ::testing::AllOf(Not(401), Not(403)));
        continue;
      }
      EXPECT_EQ(status(""), 401);
      EXPECT_EQ(status("wrong"), 401);
      const auto& allowed = security.at(0).at("token").as_array();
      for (const std::string& role : roles) {
        const bool may = std::ranges::find(allowed, boost::json::value(role)) != allowed.end();
        const int got = status(secret_of(role));
        EXPECT_EQ(got != 403, may) << role << " got " << got;
        EXPECT_NE(got, 401) << role;
      }
    }
  }
}

TEST_F(RolesTest, RolesAreAsTheyAreMeant) {
  const auto may = [&](const std::string& role, const std::string& method, const std::string& path,
                       const std::string& body = "") {
    return as(secret_of(role), [&] { return send(method, "/api/v1" + path, body).status; }) != 403;
  };
  const auto who = [&](const std::string& method, const std::string& path, const std::string& body = "[]") {
    std::string names;
    for (const std::string& role : roles) names += may(role, method, path, body) ? role.substr(0, 1) : "-";
    return names;
  };
  EXPECT_EQ(who("POST", "/tasks"), "-oap-");
  EXPECT_EQ(who("GET", "/tasks"), "voa--");
  EXPECT_EQ(who("GET", "/tasks/x"), "voap-");
  EXPECT_EQ(who("GET", "/tasks/x/payload"), "-oa--");
  EXPECT_EQ(who("GET", "/tasks/x/result"), "-oap-");
  EXPECT_EQ(who("POST", "/tasks/x/run"), "-oa--");
  EXPECT_EQ(who("DELETE", "/tasks/x"), "-oa--");
  for (const char* verb : {"reschedule", "move"})
    EXPECT_EQ(who("POST", fmt::format("/tasks/x/{}", verb)), "-oa--");
  EXPECT_EQ(who("PATCH", "/tasks/x"), "-oa--");
  EXPECT_EQ(who("POST", "/operations"), "-oa--");
  EXPECT_EQ(who("POST", "/claim"), "--a-w");
  EXPECT_EQ(who("POST", "/report"), "--a-w");
  EXPECT_EQ(who("POST", "/locks/x/acquire"), "-oapw");
  EXPECT_EQ(who("GET", "/server"), "voapw");
}

TEST_F(RolesTest, WhatIsRefusedIsExplained) {
  const Reply none = get("/tasks");
  expect_problem(401, "unauthenticated", none);
  EXPECT_EQ(none.header("WWW-Authenticate"), "Bearer");
  expect_problem(401, "bad_credentials", as("nobody's secret", [&] { return get("/tasks"); }));
  expect_problem(
      401, "bad_credentials",
      send("GET", "/api/v1/tasks", "", fmt::format("Authorization: Basic {}\r\n", secret_of("admin"))));
  for (const char* const scheme : {"bearer", "BEARER"})
    EXPECT_EQ(
        send("GET", "/api/v1/tasks", "", fmt::format("Authorization: {} {}\r\n", scheme, secret_of("viewer")))
            .status,
        200);
  const Reply role = as(secret_of("viewer"), [&] { return post("/queues/q/pause"); });
  expect_problem(403, "forbidden", role);
  EXPECT_THAT(role.text("/detail"), HasSubstr("operator or admin"));
  EXPECT_THAT(role.body, Not(HasSubstr(secret_of("viewer"))));
  expect_problem(404, "not_found", get("/nothing"));
}

TEST_F(RolesTest, ATokenOfSomeQueuesReachesNoOthers) {
  token_ = secret_of("admin");
  post("/tasks", R"([{"kind":"a","id":"m","queue":"mail"},{"kind":"b","id":"i","queue":"img:small"},
      {"kind":"c","id":"p","queue":"pay"}])");
  post("/schedules", R"({"id":"sm","spec":"@daily","task":{"kind":"a","queue":"mail"}})");
  post("/schedules", R"({"id":"sp","spec":"@daily","task":{"kind":"a","queue":"pay"}})");
  put("/schedules?owner=code:pay", R"([{"id":"owned","spec":"@daily","task":{"kind":"a","queue":"pay"}}])");
  const std::string op_mail = post("/operations", R"({"action":"hold","q":"queue:mail kind:x"})").text("/id");
  const std::string op_pay = post("/operations", R"({"action":"hold","q":"queue:pay kind:x"})").text("/id");
  const std::string op_all = post("/operations", R"({"action":"hold","q":"kind:x"})").text("/id");
  post("/renew", R"({"worker":{"id":"idle"}})");

  token_ = mail("operator");
  EXPECT_EQ(get("/queues").count("/items"), 2U);
  EXPECT_EQ(get("/tasks").count("/items"), 2U);
  EXPECT_EQ(get("/tasks/count").number("/n"), 2);
  EXPECT_EQ(get("/tasks/count?kind=c").number("/n"), 0);
  EXPECT_EQ(get("/schedules").count("/items"), 1U);
  EXPECT_EQ(get("/suggest?field=queue").body, R"({"values":["img:small","mail"]})");
  const Reply operations = get("/operations");
  ASSERT_EQ(operations.count("/items"), 1U);
  EXPECT_EQ(operations.text("/items/0/id"), op_mail);
  EXPECT_EQ(get("/operations/" + op_mail).status, 200);
  EXPECT_EQ(get("/tasks/m").status, 200);
  EXPECT_EQ(get("/schedules/sm").status, 200);
  EXPECT_EQ(post("/tasks/i/hold").status, 200);
  EXPECT_EQ(post("/queues/mail/pause").status, 204);
  EXPECT_EQ(get("/tasks/p/wait?timeout=0s").text("/state"), "gone");
  expect_problem(404, "not_found", get("/tasks/p"));
  expect_problem(404, "not_found", get("/workers/idle"));
  for (const char* const signal : {"quiet", "resume", "stop"})
    expect_problem(404, "not_found", post(fmt::format("/workers/idle/{}", signal)));
  for (const std::string& path : {std::string{"/tasks?queue=pay"},
                                  std::string{"/tasks?q=queue:pay"},
                                  std::string{"/stats/series?queue=pay"},
                                  std::string{"/stats/minutes?queue=pay"},
                                  std::string{"/stats/daily?queue=pay"},
                                  std::string{"/stats/kinds?queue=pay"},
                                  std::string{"/suggest?queue=pay"},
                                  std::string{"/suggest?field=queue&queue=pay"},
                                  std::string{"/tasks/export?queue=pay"},
                                  std::string{"/queues/pay"},
                                  std::string{"/queues/pay/groups"},
                                  std::string{"/tasks/count?queue=pay"},
                                  std::string{"/tasks/p?queue=pay"},
                                  std::string{"/tasks/p/payload?queue=pay"},
                                  std::string{"/tasks/p/wait?queue=pay"},
                                  std::string{"/queues/pay"},
                                  std::string{"/schedules/sp"},
                                  "/operations/" + op_pay,
                                  "/operations/" + op_all,
                                  std::string{"/events?topics=queues"}}) {
    SCOPED_TRACE(path);
    expect_problem(403, "forbidden", get(path));
  }
  expect_problem(403, "forbidden", send("GET", "/metrics"));
  for (const std::string& path :
       {std::string{"/tasks/p/hold?queue=pay"}, std::string{"/tasks/p/copy?queue=pay"},
        std::string{"/queues/pay/pause"}, std::string{"/schedules/sp/run"},
        std::string{"/schedules/sp/pause"}, fmt::format("/operations/{}/cancel", op_pay),
        fmt::format("/operations/{}/retry_failed", op_pay)}) {
    SCOPED_TRACE(path);
    expect_problem(403, "forbidden", post(path));
  }
  // A move needs both queues.
  expect_problem(403, "forbidden", post("/tasks/m/move", R"({"queue":"pay"})"));
  expect_problem(403, "forbidden", post("/tasks/p/move?queue=pay", R"({"queue":"mail"})"));
  expect_problem(403, "forbidden", post("/tasks/p/reschedule?queue=pay", R"({"delay":"1h"})"));
  expect_problem(403, "forbidden", send("PATCH", "/api/v1/tasks/p?queue=pay", R"({"priority":1})"));
  for (const std::string& both : {std::string{R"("mail","id":"m"}],"params":{"queue":"pay"})"},
                                  std::string{R"("pay","id":"p"}],"params":{"queue":"mail"})"}}) {
    expect_problem(403, "forbidden",
                   post("/tasks/act", fmt::format(R"({{"action":"move","refs":[{{"queue":{}}})", both)));
  }
  expect_problem(403, "forbidden",
                 post("/operations", R"({"action":"move","q":"queue:mail","params":{"queue":"pay"}})"));
  expect_problem(403, "forbidden",
                 post("/operations", R"({"action":"move","q":"queue:pay","params":{"queue":"mail"}})"));
  EXPECT_EQ(post("/tasks/m/move", R"({"queue":"img:large"})").text("/queue"), "img:large");
  EXPECT_EQ(post("/tasks/m/move", R"({"queue":"mail"})").status, 200);
  expect_problem(403, "forbidden", erase("/schedules/sp"));
  expect_problem(403, "forbidden", erase("/tasks/p?queue=pay"));
  expect_problem(403, "forbidden", erase("/tasks/p?queue=pay&force=1"));
  expect_problem(404, "not_found", erase("/tasks/p?force=1"));
  const std::string to_pay = R"({"kind":"a","queue":"pay"})";
  const std::string schedule = R"({"id":"sp","spec":"@daily","task":{"kind":"a","queue":"mail"}})";
  expect_problem(403, "forbidden", post("/tasks", to_pay));
  expect_problem(403, "forbidden", post("/tasks", R"({"kind":"a"})"));
  expect_problem(403, "forbidden", put("/schedules/sp", schedule));
  expect_problem(403, "forbidden", put("/schedules?owner=code:pay", "[]"));
  expect_problem(403, "forbidden", post("/operations", R"({"action":"hold","q":"kind:a"})"));
  expect_problem(403, "forbidden", post("/operations", R"({"action":"hold","everything":true})"));
  expect_problem(403, "forbidden", post("/operations", R"({"action":"hold","ids":["p"],"queue":"pay"})"));
  expect_problem(403, "forbidden",
                 post("/operations",
                      R"({"action":"hold","refs":[{"queue":"mail","id":"m"},{"queue":"pay","id":"p"}]})"));
  expect_problem(403, "forbidden", send("PATCH", "/api/v1/operations/" + op_pay, R"({"rate_per_s":1})"));
  expect_problem(403, "forbidden", get(fmt::format("/operations/{}/failures", op_pay)));
  const Reply many = post("/tasks", fmt::format(R"([{},{{"kind":"a","queue":"img:large"}}])", to_pay));
  EXPECT_EQ(many.text("/results/0/problem/code"), "forbidden");
  EXPECT_TRUE(many.at("/results/1/created").as_bool());
  token_ = mail("worker");
  expect_problem(403, "forbidden", post("/claim", R"({"worker":{"id":"w"}})"));
  expect_problem(403, "forbidden", post("/claim", R"({"worker":{"id":"w"},"queues":["mail","pay"]})"));
  EXPECT_EQ(post("/claim", R"({"worker":{"id":"w"},"queues":["img:large"]})").count("/leases"), 1U);
  token_ = secret_of("admin");
  EXPECT_EQ(get("/tasks/p").text("/state"), "pending");
}

class OpenRoutesTest : public RolesTest {
 protected:
  std::string more() const override { return "open_routes: [POST /api/v1/tasks]\n"; }
};

TEST_F(OpenRoutesTest, OpenRoutesNeedNoToken) {
  EXPECT_EQ(post("/tasks", R"({"kind":"a","id":"1"})").status, 201);
  EXPECT_THAT(log(), HasSubstr("needs no token"));
  expect_problem(401, "unauthenticated", get("/tasks"));
  expect_problem(401, "bad_credentials", as("wrong", [&] { return post("/tasks", R"({"kind":"a"})"); }));
  expect_problem(403, "forbidden",
                 as(secret_of("viewer"), [&] { return post("/tasks", R"({"kind":"a"})"); }));
}

class RateTest : public ServerTest {
 protected:
  void SetUp() override { serve(yaml(3)); }
  static std::string yaml(int rate) {
    return fmt::format(
        "tokens:\n  - {{name: slow, role: viewer, secret: slow-secret-0000, requests_per_minute: {}}}\n"
        "  - {{name: free, role: viewer, secret: free-secret-0000}}\n",
        rate);
  }
};

TEST_F(RateTest, ATokenMaySendSoManyRequestsAMinute) {
  token_ = "slow-secret-0000";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get("/queues").status, 200);
  // One comes back every 20 s, so on a very slow machine a few more may pass.
  Reply refused;
  EXPECT_TRUE(eventually([&] {
    refused = get("/queues");
    return refused.status == 429;
  }));
  expect_problem(429, "rate_limited", refused);
  const int wait = std::stoi(refused.header("Retry-After"));
  EXPECT_GE(wait, 1);
  EXPECT_LE(wait, 20);
  EXPECT_EQ(send("GET", "/healthz").status, 200);
  token_ = "free-secret-0000";
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get("/queues").status, 200);
}

TEST_F(RateTest, ANewConfigurationChangesIt) {
  token_ = "slow-secret-0000";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get("/queues").status, 200);
  configure(yaml(1'000'000));
  server_.signal(SIGHUP);
  EXPECT_TRUE(eventually_logs("was read again"));
  EXPECT_TRUE(eventually([&] { return get("/queues").status == 200; }));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(get("/queues").status, 200);
}

class ListenTest : public ServerTest {};

TEST_F(ListenTest, BeyondThisMachineItNeedsTokens) {
  bad(1, "there are no tokens", "serve", "--listen", "0.0.0.0:0");
  configure("listen: 0.0.0.0:0\n");
  bad(1, "tidemill.yaml: \"0.0.0.0\" may be reached", "check-config", config_file());
  configure("tokens: [{name: a, role: admin, secret: 0123456789abcdef}]\nlisten: 0.0.0.0:0\n");
  Process server = start({"serve", "--config", config_file()}, "beyond");
  EXPECT_TRUE(eventually([&] {
    return read_file(directory_ / "beyond.out").find("listening on http://0.0.0.0:") != std::string::npos;
  }));
  EXPECT_EQ(server.end(SIGTERM), 0);
}

TEST_F(ListenTest, WhereItCantListenIsSaid) {
  serve();
  bad(1, "Address already in use", "serve", "--listen", fmt::format("127.0.0.1:{}", port_));
  bad(1, "no HOST:PORT", "serve", "--listen", "8470");
  bad(1, "65535", "serve", "--listen", "127.0.0.1:99999");
}

// What `serve` would say, and nothing is made for it.
TEST_F(ListenTest, ACheckOfAConfigurationSaysWhatServeWould) {
  configure(
      "store: sqlte:jobs.db\nlisten: 0.0.0.0:0\nopen_routes: [POST /api/v1/task]\n"
      "queues: [' a']\ndeliveries: [{kinds: [a], command: 'true'}]\n");
  const Ran ran = run("check-config", config_file());
  EXPECT_EQ(ran.code, 1);
  for (const char* const mistake :
       {"tidemill.yaml: there is no store \"sqlte:\"", "\"0.0.0.0\" may be reached",
        "did you mean \"POST /api/v1/tasks\"", "tidemill.yaml: the queue \" a\" begins"})
    EXPECT_THAT(ran.err, HasSubstr(mistake));
  const auto store = [&](const std::string& url, const std::string& what) {
    configure(fmt::format("store: '{}'\n", url));
    bad(1, what, "check-config", config_file());
  };
  store("sqlite:", "names no file");
  store("sqlite:jobs.db?synchronous=off", "full or normal");
  store("sqlite:jobs.db?sync=full", "sync");
  store("redis://localhost/x", "tidemill.yaml: store URL");
  store("redis://localhost?archive_max=0", "archive_max");
  store("memory:", "ends with this command");
  store("http://localhost:8470", "not over a server");
  configure(fmt::format("store: 'sqlite:{}'\nopen_routes: [POST /api/v1/tasks]\n",
                        (directory_ / "none.db").string()));
  good("check-config", config_file());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "none.db"));
}

TEST_F(ListenTest, LinesOfStatementsHaveTheirSource) {
  serve(fmt::format("log: {{source: true, statements: {}}}\n", (directory_ / "statements.log").string()));
  EXPECT_TRUE(eventually([&] {
    return read_file(directory_ / "statements.log").find("metered_store.cpp:") != std::string::npos;
  }));
}

TEST_F(ListenTest, ConfigurationsThatAreWrongAreRefusedWithAllTheirMistakes) {
  configure(
      "tokens: [{name: a, role: amdin, secret: 0123456789abcdef}, {name: b, role: admin, secret: short}]\n"
      "lissten: 127.0.0.1:0\n");
  const Ran ran = run("serve", "--config", config_file());
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("tidemill.yaml:1:"));
  EXPECT_THAT(ran.err, HasSubstr("admin"));
  EXPECT_THAT(ran.err, HasSubstr("16"));
  EXPECT_THAT(ran.err, HasSubstr("tidemill.yaml:2:"));
  EXPECT_THAT(ran.err, HasSubstr("listen"));
  configure("open_routes: [POST /api/v1/task]\ntokens: [{name: a, role: admin, secret: 0123456789abcdef}]\n");
  bad(1, "did you mean \"POST /api/v1/tasks\"", "serve", "--listen", "127.0.0.1:0", "--config",
      config_file());
  bad(1, "can't be read", "serve", "--config", "/nowhere/tidemill.yaml");
}

}  // namespace

}  // namespace tidemill::testing
