// Idempotency-Key: a request that comes again is carried out once.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

class IdempotencyTest : public ServeTest {
 protected:
  Reply keyed(const std::string& key, const std::string& body, const std::string& path = "/tasks",
              const std::string& type = "application/json") const {
    return send("POST", "/api/v1" + path, body,
                fmt::format("Content-Type: {}\r\nIdempotency-Key: {}\r\n", type, key));
  }
  std::int64_t tasks() const { return get("/tasks/count").number("/n"); }
  /// The same answer once more, that says so.
  static void expect_replay(const Reply& first, const Reply& again) {
    EXPECT_EQ(again.status, first.status);
    EXPECT_EQ(again.body, first.body);
    EXPECT_EQ(again.header("Location"), first.header("Location"));
    EXPECT_EQ(again.header("Content-Type"), first.header("Content-Type"));
    EXPECT_EQ(first.header("Idempotency-Replayed"), "");
    EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  }
};

TEST_F(IdempotencyTest, ARepeatedRequestGetsTheFirstAnswer) {
  const Reply first = keyed("k1", R"({"kind":"a"})");
  EXPECT_EQ(first.status, 201);
  expect_replay(first, keyed("k1", R"({"kind":"a"})"));
  EXPECT_EQ(tasks(), 1);
  EXPECT_EQ(keyed("k2", R"({"kind":"a"})").status, 201);
  EXPECT_EQ(tasks(), 2);
  const Reply many = keyed("k3", R"([{"kind":"a"},{"kind":"b"},{}])");
  EXPECT_EQ(many.number("/created"), 2);
  expect_replay(many, keyed("k3", R"([{"kind":"a"},{"kind":"b"},{}])"));
  const Reply lines = keyed("k4", "{\"kind\":\"a\"}\n{\"kind\":\"b\"}\n", "/tasks", "application/x-ndjson");
  EXPECT_EQ(lines.number("/created"), 2);
  expect_replay(lines, keyed("k4", "{\"kind\":\"a\"}\n{\"kind\":\"b\"}\n", "/tasks", "application/x-ndjson"));
  EXPECT_EQ(tasks(), 6);
}

TEST_F(IdempotencyTest, TheTaskMayHaveAnIdOfItsOwn) {
  const Reply first = keyed("k", R"({"kind":"a","id":"mine"})");
  EXPECT_EQ(first.body, R"({"id":"mine","created":true})");
  expect_replay(first, keyed("k", R"({"kind":"a","id":"mine"})"));
}

TEST_F(IdempotencyTest, AKeyOfAnotherRequestIsRefused) {
  keyed("k", R"({"kind":"a"})");
  expect_problem(422, "idempotency_mismatch", keyed("k", R"({"kind":"b"})"));
  expect_problem(422, "idempotency_mismatch",
                 keyed("k", R"({"action":"run","q":"state:held"})", "/operations"));
  EXPECT_EQ(tasks(), 1);
}

TEST_F(IdempotencyTest, ASchedulesRepeatIsNoConflict) {
  const std::string body = R"({"id":"s","spec":"@daily","task":{"kind":"a"}})";
  const Reply first = keyed("k", body, "/schedules");
  EXPECT_EQ(first.status, 201) << first.body;
  expect_replay(first, keyed("k", body, "/schedules"));
  EXPECT_EQ(keyed("other", body, "/schedules").status, 409);
}

TEST_F(IdempotencyTest, OperationsAreCarriedOutOnce) {
  post("/tasks", R"({"kind":"a","id":"1"})");
  const Reply first = keyed("k", R"({"action":"hold","q":"kind:a"})", "/operations");
  EXPECT_EQ(first.status, 202) << first.body;
  expect_replay(first, keyed("k", R"({"action":"hold","q":"kind:a"})", "/operations"));
  EXPECT_EQ(get("/operations").count("/items"), 1U);
}

TEST_F(IdempotencyTest, WhatWasRefusedMayBeSentBetter) {
  expect_problem(400, "invalid", keyed("k", R"({"kind":7})"));
  expect_problem(400, "invalid", keyed("k", "{"));
  EXPECT_EQ(keyed("k", R"({"kind":"a"})").status, 201);
}

TEST_F(IdempotencyTest, KeysMustBeShortAndPrintable) {
  EXPECT_EQ(keyed(std::string(128, 'k'), R"({"kind":"a"})").status, 201);
  expect_problem(400, "invalid", keyed(std::string(129, 'k'), R"({"kind":"a"})"));
  expect_problem(400, "invalid", keyed("k\xc3\xa9", R"({"kind":"a"})"));
  for (const char* const body : {R"({"kind":"a"})", R"([{"kind":"a"}])"})
    expect_problem(400, "invalid", keyed("", body));
  EXPECT_EQ(tasks(), 1);
}

TEST_F(IdempotencyTest, ManyAtOnceMakeOneTask) {
  std::vector<std::thread> clients;
  std::vector<Reply> replies(8);
  for (Reply& reply : replies) {
    clients.emplace_back([&] { reply = keyed("k", R"({"kind":"a"})"); });
  }
  for (std::thread& client : clients) client.join();
  const Reply settled = keyed("k", R"({"kind":"a"})");
  for (const Reply& reply : replies) {
    if (reply.status == 409) {
      expect_problem(409, "idempotency_in_progress", reply);
    } else {
      EXPECT_EQ(reply.body, settled.body);
    }
  }
  EXPECT_EQ(tasks(), 1);
}

TEST_F(IdempotencyTest, AnAnswerOutlivesTheServer) {
  const Reply first = keyed("k", R"([{"kind":"a"},{"kind":"b"}])");
  server_.end(SIGKILL);
  serve();
  expect_replay(first, keyed("k", R"([{"kind":"a"},{"kind":"b"}])"));
  EXPECT_EQ(tasks(), 2);
}

class IdempotencyOfCallersTest : public ServerTest {};

TEST_F(IdempotencyOfCallersTest, CallersHaveKeysOfTheirOwn) {
  serve(
      "tokens: [{name: ada, role: producer, secret: secret-of-ada-000},"
      " {name: bob, role: producer, secret: secret-of-bob-000}]\n");
  const auto enqueue = [&](const std::string& secret) {
    return as(secret, [&] {
      return send("POST", "/api/v1/tasks", R"({"kind":"a"})",
                  "Content-Type: application/json\r\nIdempotency-Key: k\r\n");
    });
  };
  const std::string first = enqueue("secret-of-ada-000").body;
  EXPECT_NE(enqueue("secret-of-bob-000").body, first);
  EXPECT_EQ(enqueue("secret-of-ada-000").body, first);
}

}  // namespace

}  // namespace tidemill::testing
