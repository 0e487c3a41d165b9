// Tasks edited, put off and moved over HTTP.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class EditTest : public ServeTest {
 protected:
  Reply patch(const std::string& target, const std::string& body, const std::string& if_match = "") const {
    const std::string condition = if_match.empty() ? "" : fmt::format("If-Match: {}\r\n", if_match);
    return send("PATCH", "/api/v1" + target, body, "Content-Type: application/json\r\n" + condition);
  }
  std::string actions(const std::string& id) const {
    std::string names;
    const Reply task = get("/tasks/" + id);
    const auto all = task.at("/actions");
    for (const auto& each : all.as_array()) names += std::string{each.as_string()} + " ";
    return names;
  }
};

TEST_F(EditTest, WhatIsSentIsOverwritten) {
  post("/tasks", R"({"kind":"a","id":"one","payload":{"n":1},"headers":{"h":"1"},"timeout":"7s",
      "deadline":"2100-01-01T00:00:00Z","expires_at":"2100-01-01T00:00:00Z"})");
  const Reply answer = patch("/tasks/one", R"({"payload":{"n":90071992547409931.10},"priority":7})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.text("/payload/text"), R"({"n":90071992547409931.10})");
  EXPECT_EQ(answer.number("/priority"), 7);
  EXPECT_EQ(answer.text("/headers/h"), "1");
  EXPECT_EQ(answer.number("/timeout_ms"), 7000);
  EXPECT_EQ(answer.text("/deadline"), "2100-01-01T00:00:00Z");
  const Reply all = patch("/tasks/one?queue=default",
                          R"({"kind":"b","payload_base64":"/wA=","headers":{"i":"2"},"priority":0,
      "retries_max":1,"crashes_max":0,"timeout":"1m","retention":60000,"deadline":null,"expires_at":null})");
  EXPECT_EQ(all.status, 200) << all.body;
  EXPECT_EQ(all.text("/kind"), "b");
  EXPECT_EQ(all.text("/payload/base64"), "/wA=");
  EXPECT_FALSE(all.has("/headers/h"));
  EXPECT_EQ(all.text("/headers/i"), "2");
  EXPECT_EQ(all.number("/retries_max"), 1);
  EXPECT_EQ(all.number("/crashes_max"), 0);
  EXPECT_EQ(all.number("/timeout_ms"), 60'000);
  EXPECT_EQ(all.number("/retention_ms"), 60'000);
  EXPECT_FALSE(all.has("/deadline"));
  EXPECT_FALSE(all.has("/expires_at"));
  EXPECT_EQ(all.header("ETag"), fmt::format("\"{}\"", all.text("/etag")));
  EXPECT_EQ(get("/tasks/one").text("/etag"), all.text("/etag"));
  EXPECT_EQ(patch("/tasks/one", R"({"payload_text":""})").number("/payload/bytes"), 0);
}

TEST_F(EditTest, OverAnEtagItIsForThatAlone) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  const std::string tag = get("/tasks/one").header("ETag");
  const Reply first = patch("/tasks/one", R"({"payload":1})", tag);
  EXPECT_EQ(first.status, 200);
  EXPECT_NE(first.header("ETag"), tag);
  const Reply second = patch("/tasks/one", R"({"payload":2})", tag);
  expect_problem(412, "changed", second);
  EXPECT_EQ(second.header("ETag"), first.header("ETag"));
  EXPECT_EQ(get("/tasks/one").text("/payload/text"), "1");
  expect_problem(412, "changed", patch("/tasks/one", R"({"payload":2})", "W/" + first.header("ETag")));
  EXPECT_EQ(patch("/tasks/one", R"({"payload":2})", fmt::format("\"x\", {}", first.header("ETag"))).status,
            200);
  EXPECT_EQ(patch("/tasks/one", R"({"payload":3})", "*").status, 200);
  // The state is part of it.
  const std::string pending = get("/tasks/one").header("ETag");
  EXPECT_NE(post("/tasks/one/hold").header("ETag"), pending);
  expect_problem(412, "changed", patch("/tasks/one", R"({"payload":4})", pending));
  EXPECT_EQ(get("/problems/changed").status, 200);
}

TEST_F(EditTest, WhatCantBeEditedIsSaid) {
  post("/tasks", R"([{"kind":"a","id":"one","unique":{"key":"k"}},{"kind":"a","id":"two","queue":"q"}])");
  expect_mistake("/prioritee", "priority", patch("/tasks/one", R"({"prioritee":1})"));
  expect_mistake("/queue", "no such field", patch("/tasks/one", R"({"queue":"b"})"));
  expect_mistake("/delay", "no such field", patch("/tasks/one", R"({"delay":"1s"})"));
  expect_mistake("/priority", "", patch("/tasks/one", R"({"priority":null})"));
  expect_mistake("/payload_text", "another payload",
                 patch("/tasks/one", R"({"payload":1,"payload_text":"a"})"));
  expect_mistake("", "object", patch("/tasks/one", "[]"));
  const Reply range = patch("/tasks/one", R"({"priority":1000})");
  expect_problem(400, "invalid", range);
  EXPECT_THAT(range.text("/detail"), HasSubstr("-100 to 100"));
  expect_problem(404, "not_found", patch("/tasks/none", R"({"priority":1})"));
  expect_problem(404, "not_found", patch("/tasks/one?queue=q", R"({"priority":1})"));
  expect_problem(415, "unsupported_media_type", send("PATCH", "/api/v1/tasks/one", "{}", ""));
  expect_problem(403, "forbidden", patch("/tasks/none?queue=tidemill", R"({"priority":1})"));
  ASSERT_EQ(post("/claim", R"({"worker":{"id":"w"},"queues":["q"]})").count("/leases"), 1U);
  const Reply active = patch("/tasks/two", R"({"priority":1})");
  expect_problem(409, "wrong_state", active);
  EXPECT_THAT(active.text("/detail"), HasSubstr("edit does not apply to a task that is active"));
}

TEST_F(EditTest, AKeyMadeOfThePayloadIsNotTakenFromAnother) {
  post(
      "/tasks",
      R"([{"kind":"a","id":"one","payload":1,"unique":{}},{"kind":"a","id":"two","payload":2,"unique":{}}])");
  const Reply taken = patch("/tasks/one", R"({"payload":2})");
  expect_problem(409, "unique_conflict", taken);
  EXPECT_THAT(taken.text("/detail"), HasSubstr("queue default"));
  EXPECT_EQ(get("/tasks/one").text("/payload/text"), "1");
  EXPECT_EQ(patch("/tasks/one", R"({"payload":3})").status, 200);
  EXPECT_EQ(post("/tasks", R"({"kind":"a","payload":3,"unique":{}})").text("/id"), "one");
}

TEST_F(EditTest, ATaskIsPutOff) {
  post("/tasks", R"({"kind":"a","id":"one"})");
  const Reply at = post("/tasks/one/reschedule", R"({"run_at":"2100-01-01T00:00:00.000001Z"})");
  EXPECT_EQ(at.status, 200) << at.body;
  EXPECT_EQ(at.text("/state"), "scheduled");
  EXPECT_EQ(at.text("/run_at"), "2100-01-01T00:00:00.000001Z");
  EXPECT_EQ(post("/tasks/one/reschedule", R"({"delay":"1h"})").status, 200);
  EXPECT_LT(get("/tasks/one").text("/run_at"), "2100");
  EXPECT_EQ(post("/tasks/one/reschedule", R"({"delay":0})").status, 200);
  EXPECT_EQ(post("/claim", R"({"worker":{"id":"w"},"wait":"20s"})").count("/leases"), 1U);
  expect_problem(409, "wrong_state", post("/tasks/one/reschedule", R"({"delay":"1h"})"));
  expect_mistake("/run_at", "is missing", post("/tasks/one/reschedule", "{}"));
  expect_mistake("/delay", "one of them",
                 post("/tasks/one/reschedule", R"({"delay":"1h","run_at":"2100-01-01T00:00:00Z"})"));
  expect_mistake("/queue", "takes no queue", post("/tasks/one/reschedule", R"({"delay":"1h","queue":"q"})"));
  expect_mistake("/in", "no such field", post("/tasks/one/reschedule", R"({"in":"1h"})"));
  expect_problem(404, "not_found", post("/tasks/none/reschedule", R"({"delay":"1h"})"));
}

TEST_F(EditTest, ATaskIsMoved) {
  post("/tasks", R"([{"kind":"a","id":"one","payload":1},{"kind":"a","id":"two","unique":{"key":"k"}},
      {"kind":"a","id":"two","queue":"full"},{"kind":"a","id":"holder","queue":"held","unique":{"key":"k"}}])");
  const Reply moved = post("/tasks/one/move", R"({"queue":"bulk"})");
  EXPECT_EQ(moved.status, 200) << moved.body;
  EXPECT_EQ(moved.text("/queue"), "bulk");
  EXPECT_EQ(moved.text("/state"), "pending");
  EXPECT_EQ(moved.text("/payload/text"), "1");
  EXPECT_EQ(get("/tasks/one").text("/queue"), "bulk");
  expect_problem(404, "not_found", get("/tasks/one?queue=default"));
  const Reply same = post("/tasks/one/move", R"({"queue":"bulk"})");
  expect_problem(400, "invalid", same);
  EXPECT_THAT(same.text("/detail"), HasSubstr("already"));
  const Reply exists = post("/tasks/two/move?queue=default", R"({"queue":"full"})");
  expect_problem(409, "conflict", exists);
  EXPECT_THAT(exists.text("/detail"), HasSubstr("queue full has a task two already"));
  expect_problem(409, "unique_conflict", post("/tasks/two/move?queue=default", R"({"queue":"held"})"));
  EXPECT_EQ(get("/tasks/two?queue=default").text("/state"), "pending");
  expect_mistake("/queue", "is missing", post("/tasks/one/move", "{}"));
  expect_mistake("/queue", "blank", post("/tasks/one/move", R"({"queue":" a"})"));
  expect_mistake("/delay", "takes no time", post("/tasks/one/move", R"({"queue":"a","delay":"1h"})"));
  expect_problem(404, "not_found", post("/tasks/none/move", R"({"queue":"a"})"));
  // The server's own work stays where it is, and nothing comes to it.
  expect_problem(403, "forbidden", post("/tasks/one/move", R"({"queue":"tidemill"})"));
  expect_problem(403, "forbidden", post("/tasks/x/move?queue=tidemill", R"({"queue":"a"})"));
  post("/tasks/one/archive");
  expect_problem(409, "wrong_state", post("/tasks/one/move", R"({"queue":"a"})"));
}

TEST_F(EditTest, ManyArePutOffOrMovedAtOnce) {
  post("/tasks", R"([{"kind":"a","id":"1"},{"kind":"a","id":"2"},{"kind":"a","id":"2","queue":"b"}])");
  const std::string refs = R"("refs":[{"queue":"default","id":"1"},{"queue":"default","id":"2"}])";
  EXPECT_EQ(
      post("/tasks/act", fmt::format(R"({{"action":"reschedule","params":{{"delay":"1h"}},{}}})", refs)).body,
      R"({"answers":["changed","changed"]})");
  EXPECT_EQ(state("1"), "scheduled");
  EXPECT_EQ(post("/tasks/act", fmt::format(R"({{"action":"move","params":{{"queue":"b"}},{}}})", refs)).body,
            R"({"answers":["changed","exists"]})");
  expect_mistake("/params/queue", "is missing",
                 post("/tasks/act", fmt::format(R"({{"action":"move",{}}})", refs)));
  expect_mistake(
      "/params/delay", "takes no time",
      post("/tasks/act", fmt::format(R"({{"action":"hold","params":{{"delay":"1h"}},{}}})", refs)));
  expect_problem(
      403, "forbidden",
      post("/tasks/act", fmt::format(R"({{"action":"move","params":{{"queue":"tidemill"}},{}}})", refs)));
}

TEST_F(EditTest, OperationsPutOffAndMove) {
  std::string many = "[";
  for (int i = 0; i < 700; ++i) many += fmt::format(R"({}{{"kind":"a","queue":"mail"}})", i == 0 ? "" : ",");
  post("/tasks", many + "]");
  const auto carry_out = [&](const std::string& body) {
    const Reply made = post("/operations", body);
    EXPECT_EQ(made.status, 202) << made.body;
    const std::string path = "/operations/" + made.text("/id");
    EXPECT_TRUE(eventually([&] { return get(path).text("/state") == "done"; })) << get(path).body;
    return get(path);
  };
  const Reply put_off = carry_out(R"({"action":"reschedule","params":{"delay":"1h"},"q":"queue:mail"})");
  EXPECT_EQ(put_off.number("/changed"), 700);
  EXPECT_EQ(put_off.number("/skipped"), 0);
  EXPECT_TRUE(put_off.has("/params/run_at")) << "a delay counts from when it was asked for";
  EXPECT_EQ(get("/tasks/count?state=scheduled&queue=mail").number("/n"), 700);
  const Reply moved = carry_out(R"({"action":"move","params":{"queue":"bulk"},"q":"queue:mail"})");
  EXPECT_EQ(moved.number("/changed"), 700);
  EXPECT_EQ(moved.text("/params/queue"), "bulk");
  EXPECT_EQ(get("/tasks/count?queue=bulk").number("/n"), 700);
  EXPECT_EQ(get("/tasks/count?queue=mail").number("/n"), 0);
  const auto wrong = [&](const std::string& body) { return post("/operations", body); };
  expect_mistake("/params/run_at", "is missing", wrong(R"({"action":"reschedule","q":"queue:mail"})"));
  expect_mistake("/params/queue", "is missing", wrong(R"({"action":"move","q":"queue:mail"})"));
  expect_mistake("/params/delay", "takes no time",
                 wrong(R"({"action":"hold","q":"queue:a","params":{"delay":"1h"}})"));
  expect_mistake("/q", "names no queue", wrong(R"({"action":"move","q":"kind:a","params":{"queue":"b"}})"));
  expect_mistake("/params/queue", "is the queue",
                 wrong(R"({"action":"move","q":"queue:b","params":{"queue":"b"}})"));
  expect_problem(403, "forbidden", wrong(R"({"action":"move","q":"queue:tidemill","params":{"queue":"b"}})"));
  expect_problem(403, "forbidden", wrong(R"({"action":"move","q":"queue:b","params":{"queue":"tidemill"}})"));
}

TEST_F(EditTest, ATaskSaysWhatMayBeDoneToIt) {
  post("/tasks", R"([{"kind":"a","id":"one"},{"kind":"a","id":"two","queue":"q","retention":"1h"}])");
  EXPECT_EQ(actions("one"), "hold cancel archive erase reschedule move edit copy ");
  post("/tasks/one/archive");
  EXPECT_EQ(actions("one"), "run erase edit copy ");
  ASSERT_EQ(post("/claim", R"({"worker":{"id":"w"},"queues":["q"]})").count("/leases"), 1U);
  EXPECT_EQ(actions("two"), "hold cancel copy ");
  EXPECT_EQ(get("/tasks?queue=q").count("/items/0/actions"), 3U);
}

}  // namespace

}  // namespace tidemill::testing
