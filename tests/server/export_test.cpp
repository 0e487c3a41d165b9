// Tasks in bulk and in part: exports, chosen fields, and requests that come packed.
#include "gzip.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ExportTest : public ServeTest {
 protected:
  /// An answer that ends with its connection.
  Reply whole(const std::string& target, const std::string& method = "GET") const {
    Peer peer{port_};
    peer.send(request(method, "/api/v1" + target));
    const std::string all = peer.rest();
    const std::size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return {0, all, ""};
    driven().insert(fmt::format("GET /api/v1{}", target.substr(0, target.find('?'))));
    return {std::stoi(all.substr(9, 3)), all.substr(0, end + 2), all.substr(end + 4)};
  }
  static std::vector<boost::json::value> lines(const Reply& reply) {
    std::vector<boost::json::value> found;
    for (std::size_t at = 0; at < reply.body.size();) {
      const std::size_t end = reply.body.find('\n', at);
      found.push_back(boost::json::parse(reply.body.substr(at, end - at)));
      at = end + 1;
    }
    return found;
  }
  void enqueue(std::size_t count, const std::string& queue, const std::string& payload = "1") const {
    std::string body;
    for (std::size_t i = 0; i < count; ++i)
      body +=
          fmt::format(R"({{"kind":"a","id":"{}-{}","queue":"{}","payload":{}}})", queue, i, queue, payload) +
          "\n";
    const Reply reply = send("POST", "/api/v1/tasks", body, "Content-Type: application/x-ndjson\r\n");
    ASSERT_EQ(reply.number("/created"), static_cast<std::int64_t>(count)) << reply.body;
  }
  /// 300 tasks of more bytes than the system takes in for a reader that doesn't read.
  void enqueue_much() const {
    for (int i = 0; i < 5; ++i)
      enqueue(60, fmt::format("mail{}", i), fmt::format("\"{}\"", std::string(100'000, 'x')));
  }
};

TEST_F(ExportTest, AnExportHasATaskALineAndSaysHowMany) {
  enqueue(450, "mail", R"({"n": 90071992547409931.10})");
  enqueue(3, "other");
  const Reply reply = whole("/tasks/export?q=queue:mail");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "application/x-ndjson");
  const auto all = lines(reply);
  ASSERT_EQ(all.size(), 451U);
  std::set<std::string> ids;
  for (std::size_t i = 0; i < 450; ++i) {
    ids.insert(std::string{all[i].at("id").as_string()});
    EXPECT_EQ(all[i].at("queue").as_string(), "mail");
    EXPECT_EQ(all[i].at_pointer("/payload/text").as_string(), R"({"n": 90071992547409931.10})");
  }
  EXPECT_EQ(ids.size(), 450U);
  EXPECT_EQ(boost::json::serialize(all.back()), R"({"_end":{"n":450,"complete":true}})");
  EXPECT_EQ(whole("/tasks/export?state=held").body, "{\"_end\":{\"n\":0,\"complete\":true}}\n");
}

TEST_F(ExportTest, AnExportEndsWhereItIsToldTo) {
  enqueue(250, "mail");
  const auto some = lines(whole("/tasks/export?limit=203&fields=id"));
  ASSERT_EQ(some.size(), 204U);
  EXPECT_EQ(boost::json::serialize(some.front()), R"({"id":"mail-0"})");
  EXPECT_EQ(boost::json::serialize(some.back()), R"({"_end":{"n":203,"complete":false}})");
  EXPECT_EQ(boost::json::serialize(lines(whole("/tasks/export?limit=250")).back()),
            R"({"_end":{"n":250,"complete":true}})");
}

TEST_F(ExportTest, WhatIsWrongWithAnExportIsSaidBeforeItBegins) {
  expect_problem(400, "bad_filter", get("/tasks/export?q=state:nowhere"));
  expect_problem(400, "invalid", get("/tasks/export?limit=100001"));
  expect_problem(400, "invalid", get("/tasks/export?cursor=x"));
  expect_problem(400, "invalid", get("/tasks/export?fields=id,,state"));
}

TEST_F(ExportTest, TheHeadOfAnExportHasNoLines) {
  enqueue(3, "mail");
  const Reply head = whole("/tasks/export", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
}

TEST_F(ExportTest, ReadersThatDontReadHoldUpNoOthers) {
  enqueue_much();
  std::vector<std::unique_ptr<Peer>> slow;
  for (int i = 0; i < 2; ++i) {
    slow.push_back(std::make_unique<Peer>(port_));
    slow.back()->send(request("GET", "/api/v1/tasks/export"));
    EXPECT_THAT(slow.back()->response(), StartsWith("HTTP/1.1 200 OK"));
  }
  Reply third;
  EXPECT_TRUE(eventually([&] {
    Peer peer{port_};
    peer.send(request("GET", "/api/v1/tasks/export?limit=1"));
    third = read_reply(peer);
    return third.status == 429;
  }));
  expect_problem(429, "too_many_streams", third);
  EXPECT_NE(third.header("Retry-After"), "");
  EXPECT_EQ(get("/tasks?limit=1").count("/items"), 1U);
  const std::string all = slow.front()->rest();
  EXPECT_THAT(all.substr(all.size() - 40), HasSubstr(R"({"_end":{"n":300,"complete":true}})"));
  slow.clear();  // One that goes away makes room.
  EXPECT_TRUE(eventually([&] { return whole("/tasks/export?limit=1").status == 200; }));
}

TEST_F(ExportTest, AServerThatStopsCutsAnExport) {
  enqueue_much();
  Peer peer{port_};
  peer.send(request("GET", "/api/v1/tasks/export"));
  EXPECT_THAT(peer.response(), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_EQ(server_.end(SIGTERM), 0);
  EXPECT_THAT(peer.rest(), Not(HasSubstr("\"complete\":true")));
}

TEST_F(ExportTest, OnlyTheFieldsThatAreAskedForCome) {
  enqueue(2, "mail", R"({"n": 1.50})");
  EXPECT_EQ(get("/tasks?fields=id,state&limit=1&q=queue:mail").at("/items"),
            boost::json::parse(R"([{"id":"mail-0","state":"pending"}])"));
  EXPECT_TRUE(get("/tasks?fields=id&limit=1").has("/next"));
  EXPECT_EQ(get("/tasks/mail-1?fields=kind,attempts,error").body, R"({"kind":"a","attempts":[]})");
  EXPECT_EQ(get("/queues?fields=name").body, R"({"items":[{"name":"mail"}]})");
  EXPECT_EQ(get("/queues/mail?fields=paused").body, R"({"paused":false})");
  put("/schedules/s", R"({"spec":"@daily","task":{"kind":"a","payload":{"n": 1.50}}})");
  EXPECT_THAT(get("/schedules/s?fields=task").body, HasSubstr(R"("payload":{"n": 1.50})"));
  EXPECT_EQ(get("/schedules?fields=id").body, R"({"items":[{"id":"s"}]})");
  EXPECT_EQ(get("/workers?fields=pid,host").at("/items/0").as_object().size(), 2U);
  const std::string id = post("/operations", R"({"action":"hold","q":"kind:x"})").text("/id");
  EXPECT_EQ(get(fmt::format("/operations/{}?fields=action", id)).body, R"({"action":"hold"})");
  EXPECT_EQ(get("/operations?fields=id").text("/items/0/id"), id);
  expect_problem(404, "not_found", get("/tasks/absent?fields=id"));
  expect_problem(400, "invalid", get("/tasks?fields=,id"));
  expect_problem(400, "invalid", get("/server?fields=name"));
}

// Why: a name that no field has is mistyped, and the answer without it would hide that.
TEST_F(ExportTest, AFieldThatThereIsNotIsRefused) {
  enqueue(1, "mail", "1");
  put("/schedules/s", R"({"spec":"@daily","task":{"kind":"a"}})");
  const std::string id = post("/operations", R"({"action":"hold","q":"kind:x"})").text("/id");
  for (const std::string& path :
       {std::string{"/tasks"}, std::string{"/tasks/mail-0"}, std::string{"/tasks/mail-0/attempts"},
        std::string{"/tasks/export"}, std::string{"/queues"}, std::string{"/queues/mail"},
        std::string{"/workers"}, std::string{"/schedules"}, std::string{"/schedules/s"},
        std::string{"/operations"}, fmt::format("/operations/{}", id),
        fmt::format("/operations/{}/failures", id)}) {
    const Reply refused = get(path + "?fields=id,nope");
    expect_problem(400, "invalid", refused);
    EXPECT_THAT(refused.text("/detail"), HasSubstr("there is no field \"")) << path;
  }
  EXPECT_THAT(get("/tasks?fields=stat").text("/detail"), HasSubstr("did you mean \"state\""));
  EXPECT_THAT(get("/queues?fields=zzzz").text("/detail"), HasSubstr("oldest_pending_ms"));
  // What a list leaves out must be asked for.
  EXPECT_THAT(get("/tasks?fields=headers").text("/detail"), HasSubstr("detail=full"));
  EXPECT_EQ(get("/tasks?detail=full&fields=headers").status, 200);
}

// Why: what can be asked for is written down beside the routes, and not made of the answers.
TEST_F(ExportTest, EachFieldOfAnAnswerMayBeAskedFor) {
  enqueue(1, "mail", "1");
  post("/tasks", R"({"kind":"a","id":"full","queue":"mail","delay":"1h","deadline":"2040-01-01T00:00:00Z",
      "expires_at":"2040-01-01T00:00:00Z","unique":{"key":"k"},"headers":{"a":"b"}})");
  put("/schedules/s", R"({"spec":"@daily","task":{"kind":"a","queue":"mail"}})");
  post("/schedules/s/run");
  const std::string id =
      post("/operations", R"({"action":"hold","q":"kind:x","rate_per_s":5,"reason":"r"})").text("/id");
  const std::string operation = fmt::format("/operations/{}", id);
  ASSERT_TRUE(eventually([&] { return get(operation).text("/state") == "done"; }));
  for (const std::string& path :
       {std::string{"/tasks"}, std::string{"/tasks?detail=full"}, std::string{"/tasks/full"},
        std::string{"/queues?spark=1"}, std::string{"/queues/mail?spark=1"}, std::string{"/workers"},
        std::string{"/schedules"}, std::string{"/schedules/s"}, std::string{"/operations"}, operation}) {
    const Reply all = get(path);
    const boost::json::object whole = (all.has("/items") ? all.at("/items/0") : all.json()).as_object();
    ASSERT_FALSE(whole.empty());
    for (const auto& member : whole) {
      const std::string name{member.key()};
      const Reply one =
          get(fmt::format("{}{}fields={}", path, path.find('?') == path.npos ? '?' : '&', name));
      ASSERT_EQ(one.status, 200) << one.body;
      EXPECT_TRUE(one.has((one.has("/items") ? "/items/0/" : "/") + name)) << path << ' ' << name;
    }
  }
}

// ---- Packed requests

TEST_F(ExportTest, ARequestMayComePacked) {
  const auto pack = [&](const std::string& body, const std::string& coding = "gzip") {
    return send("POST", "/api/v1/tasks", body,
                fmt::format("Content-Type: application/json\r\nContent-Encoding: {}\r\n", coding));
  };
  EXPECT_EQ(pack(gzip(R"({"kind":"a","id":"1","payload":{"n": 1.50}})")).status, 201);
  EXPECT_EQ(get("/tasks/1").text("/payload/text"), R"({"n": 1.50})");
  expect_problem(400, "invalid", pack(R"({"kind":"a"})"));
  expect_problem(413, "too_large", pack(gzip(std::string(9U << 20U, ' ') + R"({"kind":"a"})")));
  const Reply other = pack(R"({"kind":"a"})", "br");
  expect_problem(415, "unsupported_media_type", other);
  EXPECT_EQ(other.header("Accept-Encoding"), "gzip");
}

}  // namespace

}  // namespace tidemill::testing
