// Server-sent events: what is told, and to whom.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// One event stream.
class Listening {
 public:
  /// A buffer of zero bytes: as the system has it.
  Listening(std::uint16_t port, const std::string& topics, const std::string& headers = "", int buffer = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const std::string request =
        fmt::format("GET /api/v1/events?topics={} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", topics, headers);
    EXPECT_EQ(::send(fd_, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
  }
  ~Listening() { ::close(fd_); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  /// Reads on until this has come.
  bool hears(const std::string& what) {
    return eventually([&] {
      read();
      return all_.find(what) != std::string::npos;
    });
  }
  /// What has come so far.
  const std::string& all() const { return all_; }
  void forget() { all_.clear(); }
  /// Reads on to the end.
  bool ends() {
    return eventually([&] {
      read();
      return ended_;
    });
  }
  /// Of the last event that had one.
  std::string last_id() const {
    const std::size_t at = all_.rfind("\nid: ");
    return at == std::string::npos ? "" : all_.substr(at + 5, all_.find('\n', at + 5) - at - 5);
  }

 private:
  void read() {
    char buffer[65536];
    ssize_t count = 0;
    while ((count = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
      all_.append(buffer, static_cast<std::size_t>(count));
    ended_ = count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
  }

  int fd_;
  bool ended_ = false;
  std::string all_;
};

class EventsTest : public ServeTest {};

TEST_F(EventsTest, AStreamSaysHelloAndTellsOfQueues) {
  Listening events{port_, "queues,stats"};
  ASSERT_TRUE(events.hears("event: hello"));
  EXPECT_THAT(events.all(), HasSubstr("HTTP/1.1 200 OK"));
  EXPECT_THAT(events.all(), HasSubstr("text/event-stream"));
  EXPECT_THAT(events.all(), HasSubstr("retry: 2000\n"));
  EXPECT_THAT(events.all(), HasSubstr(R"("boot":")"));
  driven().insert("GET /api/v1/events");
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  ASSERT_TRUE(events.hears(R"("name":"mail","paused":false)"));
  EXPECT_THAT(events.all(), HasSubstr("event: queues\ndata: ["));
  ASSERT_TRUE(events.hears(R"("backlog":1)"));
  post("/queues/mail/pause");
  ASSERT_TRUE(events.hears(R"("name":"mail","paused":true)"));
  EXPECT_THAT(events.all(), Not(HasSubstr("event: worker")));
  EXPECT_THAT(events.all(), Not(HasSubstr("event: schedule")));
}

TEST_F(EventsTest, AStreamTellsOfWorkersAndSchedules) {
  Listening events{port_, "worker,schedule"};
  ASSERT_TRUE(events.hears("event: hello"));
  post("/schedules", R"({"id":"nightly","spec":"@daily","task":{"kind":"a"}})");
  ASSERT_TRUE(events.hears("nightly"));
  post("/renew", R"({"worker":{"id":"py-1"}})");
  ASSERT_TRUE(events.hears("py-1"));
  EXPECT_THAT(events.all(), HasSubstr("event: schedule"));
  EXPECT_THAT(events.all(), HasSubstr("event: worker"));
  EXPECT_THAT(events.all(), Not(HasSubstr("event: queues")));
}

TEST_F(EventsTest, AStreamTellsWhatWantsAttention) {
  Listening events{port_, "attention,store"};
  ASSERT_TRUE(events.hears(R"(data: {"reachable":true})"));
  EXPECT_THAT(events.all(), HasSubstr("event: store"));
  post("/tasks", R"({"kind":"a","queue":"mail"})");
  post("/queues/mail/pause");
  ASSERT_TRUE(events.hears(R"("code":"queue_paused","level":"warning","text":"queue \"mail\" is paused)"));
  EXPECT_THAT(events.all(), HasSubstr("event: attention"));
  events.forget();
  post("/queues/mail/resume");
  ASSERT_TRUE(events.hears("event: attention"));
  EXPECT_THAT(events.all(), Not(HasSubstr("queue_paused")));
  EXPECT_THAT(events.all(), Not(HasSubstr("event: queues")));
}

TEST_F(EventsTest, AStreamFollowsATask) {
  post("/tasks", R"([{"kind":"a","id":"one"},{"kind":"a","id":"two"}])");
  Listening events{port_, "task:one"};
  ASSERT_TRUE(events.hears(R"("id":"one","kind":"a","queue":"default","state":"pending")"));
  post("/tasks/one/hold");
  ASSERT_TRUE(events.hears(R"("id":"one","kind":"a","queue":"default","state":"held")"));
  EXPECT_THAT(events.all(), Not(HasSubstr(R"("id":"two")")));
}

TEST_F(EventsTest, AStreamFollowsOperations) {
  post("/tasks", R"([{"kind":"a"},{"kind":"a"}])");
  Listening events{port_, "op"};
  ASSERT_TRUE(events.hears("event: hello"));
  const std::string waits =
      post("/operations", R"({"action":"run","q":"kind:b","start_after_ms":"1h"})").text("/id");
  ASSERT_TRUE(events.hears(fmt::format(R"(event: op{}data: {{"id":"{}")", "\n", waits)));
  EXPECT_THAT(events.all(), HasSubstr(R"("state":"waiting")"));
  const std::string held =
      post("/operations", R"({"action":"hold","q":"kind:a","rate_per_s":1})").text("/id");
  ASSERT_TRUE(events.hears(fmt::format(R"("id":"{}")", held)));
  events.forget();
  ASSERT_TRUE(events.hears(R"("state":"done")"));
  EXPECT_THAT(events.all(), HasSubstr(R"("changed":2)"));
  EXPECT_EQ(post(fmt::format("/operations/{}/cancel", waits)).status, 200);
  ASSERT_TRUE(events.hears(R"("state":"cancelled")"));
  EXPECT_THAT(events.all(), Not(HasSubstr("event: queues")));
}

TEST_F(EventsTest, AStreamFollowsALog) {
  post("/tasks", R"([{"kind":"a","id":"one","retention":"1h"}])");
  const auto run_one = [&](const std::string& outcome) {
    const Reply claim = post("/claim", R"({"worker":{"id":"w"},"wait":"20s"})");
    ASSERT_EQ(claim.count("/leases"), 1U) << claim.body;
    post("/report",
         fmt::format(R"({{"items":[{{"token":"{}",{}}}]}})", claim.text("/leases/0/token"), outcome));
  };
  run_one(R"("outcome":"retry","in":"0s","logs":[{"text":"before"}])");
  Listening events{port_, "log:one,task:one"};
  // It has had a first look.
  ASSERT_TRUE(events.hears("event: task"));
  ASSERT_TRUE(eventually(
      [&] { return events.hears("\"state\":\"pending\"") || events.hears("\"state\":\"retry\""); }));
  Listening later{port_, "queues"};
  ASSERT_TRUE(later.hears("event: queues"));
  run_one(R"("outcome":"complete","logs":[{"text":"half"},{"text":"done","level":"debug"}])");
  ASSERT_TRUE(events.hears("event: log"));
  ASSERT_TRUE(events.hears("\"done\""));
  EXPECT_THAT(events.all(), HasSubstr(R"("id":"one","queue":"default","lines":[{"attempt":2,"seq":)"));
  EXPECT_THAT(events.all(), Not(HasSubstr("before")));
}

TEST_F(EventsTest, WhoeverComesBackGetsWhatHeMissed) {
  std::string seen;
  {
    Listening events{port_, "queues"};
    post("/tasks", R"({"kind":"a","queue":"first"})");
    ASSERT_TRUE(events.hears(R"("name":"first")"));
    seen = events.last_id();
  }
  Listening other{port_, "queues"};
  ASSERT_TRUE(other.hears("event: hello"));
  post("/tasks", R"({"kind":"a","queue":"second"})");
  ASSERT_TRUE(other.hears(R"("name":"second")"));
  Listening again{port_, "queues", fmt::format("Last-Event-ID: {}\r\n", seen)};
  ASSERT_TRUE(again.hears(R"("name":"second")"));
  EXPECT_THAT(again.all(), Not(HasSubstr("event: reset")));
  EXPECT_THAT(again.all(), Not(HasSubstr(fmt::format("id: {}\n", seen))));
}

TEST_F(EventsTest, WhoeverWasAtAnotherServerStartsAnew) {
  for (const char* id : {"deadbeef-3", "nonsense", "-"}) {
    Listening events{port_, "queues", fmt::format("Last-Event-ID: {}\r\n", id)};
    EXPECT_TRUE(events.hears("event: reset")) << id;
  }
}

TEST_F(EventsTest, AStreamSaysByeWhenTheServerStops) {
  Listening events{port_, "queues"};
  ASSERT_TRUE(events.hears("event: hello"));
  server_.signal(SIGTERM);
  EXPECT_TRUE(events.hears("event: bye"));
  EXPECT_TRUE(events.ends());
  EXPECT_THAT(events.all(), HasSubstr("shutdown"));
  EXPECT_EQ(server_.wait(), 0);
}

TEST_F(EventsTest, AReaderThatDoesNotReadIsDroppedAndOthersAreNot) {
  // Each event is of several hundred kilobytes, as all these queues change all the time.
  for (int i = 0; i < 3; ++i) {
    std::string tasks = "[";
    for (int n = 0; n < 1000; ++n)
      tasks += fmt::format(R"({}{{"kind":"a","queue":"queue-with-a-rather-long-name-{:200}-{}"}})",
                           n == 0 ? "" : ",", i, n);
    ASSERT_EQ(post("/tasks", tasks + "]").status, 200);
  }
  Listening slow{port_, "queues", "", 4096};
  Listening quick{port_, "queues"};
  // More than the system keeps for a connection, and the server on top.
  std::size_t heard = 0;
  while (heard < (10U << 20U) && quick.hears("event: queues")) {
    heard += quick.all().size();
    quick.forget();
  }
  EXPECT_GE(heard, 10U << 20U);
  EXPECT_TRUE(slow.ends());
  quick.forget();
  EXPECT_TRUE(quick.hears("event: queues"));
}

TEST_F(EventsTest, TopicsMustBeKnown) {
  expect_problem(400, "invalid", get("/events"));
  const Reply unknown = get("/events?topics=queues,weather");
  expect_problem(400, "invalid", unknown);
  EXPECT_THAT(unknown.text("/detail"), HasSubstr("stats, queues, schedule"));
  std::string many = "task:0";
  for (int i = 1; i <= 50; ++i) many += fmt::format(",task:{}", i);
  expect_problem(400, "invalid", get("/events?topics=" + many));
}

}  // namespace

}  // namespace tidemill::testing
