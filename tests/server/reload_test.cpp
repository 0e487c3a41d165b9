// A new configuration for a server that runs, and the server's end.
#include <atomic>

#include "http_receiver.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

std::string tokens(const std::string& secret) {
  return fmt::format("tokens: [{{name: a, role: admin, secret: {}}}]\n", secret);
}

class ReloadTest : public ServerTest {
 protected:
  void reload(const std::string& yaml) {
    configure(yaml);
    server_.signal(SIGHUP);
  }
  int status(const std::string& secret) {
    return as(secret, [&] { return get("/queues").status; });
  }
};

TEST_F(ReloadTest, NewTokensAreTakenOver) {
  serve(tokens("the-first-secret"));
  EXPECT_EQ(status("the-first-secret"), 200);
  EXPECT_EQ(status("the-second-secret"), 401);
  reload(tokens("the-second-secret"));
  EXPECT_TRUE(eventually([&] { return status("the-second-secret") == 200; }));
  EXPECT_EQ(status("the-first-secret"), 401);
}

TEST_F(ReloadTest, AWrongConfigurationChangesNothing) {
  serve(tokens("the-first-secret") + "schedules: [{id: one, spec: '@daily', task: {kind: a}}]\n");
  for (const std::string& wrong :
       {tokens("the-second-secret") + "schedules: [{id: one, spec: '@never', task: {kind: a}}]\n",
        tokens("the-second-secret") + "open_routes: [POST /nowhere]\nschedules: []\n",
        tokens("the-second-secret") + "deliveries: [{kinds: [a], http: 'ftp://x/'}]\nschedules: []\n",
        std::string{"tokens: [{name: a"}}) {
    const std::size_t before = log().size();
    reload(wrong);
    ASSERT_TRUE(eventually([&] { return log().find("the old one stays", before) != std::string::npos; }))
        << wrong;
    EXPECT_EQ(status("the-first-secret"), 200);
    EXPECT_EQ(status("the-second-secret"), 401);
    EXPECT_EQ(as("the-first-secret", [&] { return get("/schedules/one"); }).text("/spec"), "@daily");
  }
}

TEST_F(ReloadTest, WhatNeedsARestartIsSaid) {
  serve("queues: [a]\n");
  reload("queues: [b]\nlimits: {body: 1MiB}\nlog: {level: debug}\n");
  EXPECT_TRUE(eventually_logs("the configuration was read again"));
  EXPECT_THAT(log(), HasSubstr("until a restart settings=\"limits, log\""));
}

TEST_F(ReloadTest, SchedulesBecomeThoseOfTheFile) {
  serve(
      "schedules: [{id: one, spec: '@daily', task: {kind: a}}, {id: two, spec: '@daily', task: {kind: "
      "a}}]\n");
  post("/schedules", R"({"id":"mine","spec":"@daily","task":{"kind":"a"}})");
  EXPECT_EQ(get("/schedules").count("/items"), 3U);
  EXPECT_EQ(get("/schedules/one").text("/owner"), "file");
  reload("schedules: [{id: two, spec: '@weekly', task: {kind: b}}]\n");
  EXPECT_TRUE(eventually([&] { return get("/schedules/one").status == 404; }));
  EXPECT_EQ(get("/schedules/two").text("/spec"), "@weekly");
  EXPECT_EQ(get("/schedules/mine").status, 200);
}

/// With a file of periodic tasks beside its configuration.
class PeriodicTest : public ReloadTest {
 protected:
  void write_tasks(const std::string& yaml) const { write_file(directory_ / "p.yaml", yaml); }
  std::set<std::string> kinds() {
    std::set<std::string> found;
    const auto all = get("/schedules").at("/items");
    for (const auto& each : all.as_array()) found.emplace(each.at_pointer("/task/kind").as_string());
    return found;
  }
  bool becomes(const std::set<std::string>& wanted) {
    return eventually([&] { return kinds() == wanted; });
  }
};

TEST_F(PeriodicTest, AFileIsReadAgainByItself) {
  write_tasks("configs: [{cronspec: '@daily', task_type: a, payload: {n: 1}}]\n");
  serve("schedules: {file: p.yaml, sync_interval: 100ms}\n");
  EXPECT_EQ(kinds(), std::set<std::string>{"a"});
  EXPECT_EQ(get("/schedules").text("/items/0/owner"), "file");
  EXPECT_EQ(get("/schedules").number("/items/0/task/payload/n"), 1);
  write_tasks(
      "configs:\n- {cronspec: '@daily', task_type: a, payload: {n: 1}}\n- {cronspec: '@every 1s', task_type: "
      "b}\n");
  EXPECT_TRUE(becomes({"a", "b"}));
  EXPECT_TRUE(eventually([&] { return get("/tasks?kind=b").count("/items") > 0; })) << "it fires";
  // A mistake changes nothing, and is said with its place.
  write_tasks("configs:\n- {cronspec: '@daily', task_type: c}\n- {cronspec: '61 * * * *', task_type: d}\n");
  EXPECT_TRUE(eventually_logs("p.yaml:3:3: cron spec"));
  EXPECT_EQ(kinds(), (std::set<std::string>{"a", "b"}));
  write_tasks("configs: [{cronspec: '@daily', task_type: c}]\n");
  EXPECT_TRUE(becomes({"c"}));
}

TEST_F(PeriodicTest, AFileIsReadAgainOnSighup) {
  write_tasks("configs: [{cronspec: '@daily', task_type: a}]\n");
  serve("schedules: {file: p.yaml, sync_interval: 1h}\n");
  EXPECT_EQ(kinds(), std::set<std::string>{"a"});
  write_tasks("configs: [{cronspec: '@daily', task_type: b}]\n");
  server_.signal(SIGHUP);
  EXPECT_TRUE(becomes({"b"}));
  write_tasks("configs: [{cronspec: '@daily'}]\n");
  server_.signal(SIGHUP);
  EXPECT_TRUE(eventually_logs("the old one stays"));
  EXPECT_EQ(kinds(), std::set<std::string>{"b"});
  // Another way to name them takes the file's place, and nobody reads that any more.
  reload("schedules: [{id: one, spec: '@every 1s', task: {kind: inline}}]\n");
  EXPECT_TRUE(becomes({"inline"}));
  EXPECT_TRUE(eventually([&] { return get("/tasks?kind=inline").count("/items") > 0; })) << "it fires";
}

TEST_F(ReloadTest, DeliveriesBecomeThoseOfTheFile) {
  std::atomic<int> calls{0};
  Receiver receiver{[&](Received& received) {
    while (received.request()) {
      ++calls;
      received.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  }};
  serve("concurrency: 4\n");
  post("/tasks", R"({"kind":"mail","id":"1","retention":"1h"})");
  reload(
      fmt::format("outgoing: {{allow_networks: [127.0.0.0/8]}}\n"
                  "deliveries: [{{kinds: [mail], http: 'http://127.0.0.1:{}/x'}}]\n",
                  receiver.port()));
  EXPECT_TRUE(eventually_is("1", "completed"));
  reload(
      fmt::format("outgoing: {{allow_networks: [127.0.0.0/8]}}\n"
                  "deliveries: [{{kinds: [sms], http: 'http://127.0.0.1:{}/x'}}]\n",
                  receiver.port()));
  ASSERT_TRUE(eventually(
      [&] { return log().find("read again", log().find("read again") + 1) != std::string::npos; }));
  post("/tasks", R"({"kind":"sms","id":"2","retention":"1h"})");
  EXPECT_TRUE(eventually_is("2", "completed"));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(server_.end(SIGTERM), 0);
}

TEST_F(ReloadTest, WithoutAFileItSaysSo) {
  serve();
  server_.signal(SIGHUP);
  EXPECT_TRUE(eventually_logs("no configuration file"));
  EXPECT_EQ(get("/queues").status, 200);
}

TEST_F(ReloadTest, PagesWithANameOfTheirOwnAreRefusedOnceTheTokensAreGone) {
  serve(tokens("the-first-secret"));
  const auto rebound = [&] {
    Peer peer{port_};
    peer.send("GET /api/v1/queues HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    return read_reply(peer);
  };
  expect_problem(401, "unauthenticated", rebound());
  reload("concurrency: 1\n");
  ASSERT_TRUE(eventually([&] { return status("") == 200; }));
  expect_problem(403, "bad_host", rebound());
}

class EndOfServerTest : public ServeTest {};

TEST_F(EndOfServerTest, WhatWasAcknowledgedIsThereAfterSigterm) {
  std::vector<std::thread> producers;
  std::atomic<int> acknowledged{0};
  for (int i = 0; i < 8; ++i) {
    producers.emplace_back([&] {
      Peer peer{port_};
      while (peer.send(request("POST", "/api/v1/tasks", R"({"kind":"a"})"))) {
        const Reply answer = read_reply(peer);
        if (answer.status == 201) ++acknowledged;
        if (answer.status == 0) return;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return acknowledged > 100; }));
  EXPECT_EQ(server_.end(SIGTERM), 0);
  for (std::thread& producer : producers) producer.join();
  EXPECT_EQ(good("queues", "--json").objects().at(0).at("pending").as_int64(), acknowledged.load());
}

class WithoutApiTest : public ServerTest {};

TEST_F(WithoutApiTest, OtherRolesRunWithoutTheApi) {
  configure("schedules: [{id: often, spec: '@every 1s', task: {kind: a}}]\n");
  Process server = start({"serve", "--roles", "scheduler,worker", "--config", config_file()}, "quiet");
  EXPECT_TRUE(eventually([&] { return !read_file(directory_ / "quiet.out").empty(); }));
  EXPECT_EQ(read_file(directory_ / "quiet.out"), "running without an API\n");
  EXPECT_TRUE(eventually([&] { return run("queues", "--json").out.find("pending") != std::string::npos; }));
  EXPECT_EQ(server.end(SIGTERM), 0);
  bad(2, "scheduler", "serve", "--roles", "api,schedular");
}

}  // namespace

}  // namespace tidemill::testing
