// `tidemill enqueue`: what goes in by options and by JSON lines is in the store, and what is wrong is said.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;

class EnqueueTest : public CliTest {};

TEST_F(EnqueueTest, PrintsTheIdOfTheNewTask) {
  const std::string id = enqueue("greet", "ada");
  EXPECT_EQ(id.size(), 36U);
  const auto task = show(id);
  EXPECT_EQ(text(task, "kind"), "greet");
  EXPECT_EQ(text(task, "payload_text"), "ada");
  EXPECT_EQ(text(task, "state"), "pending");
  EXPECT_EQ(text(task, "queue"), "default");
}

TEST_F(EnqueueTest, TakesAllOptions) {
  enqueue("greet", "{\"a\": [1, 2.50]}", "--queue", "mail", "--id", "one", "--at",
          "2099-01-02T03:04:05+01:00", "--priority", "-7", "--retries", "3", "--crashes", "0", "--timeout",
          "1h30m", "--deadline", "2099-02-01T00:00:00Z", "--expires", "2099-01-31T00:00:00.5Z", "--unique=k",
          "--unique-for", "2d", "--retention", "90s", "--header", "trace=7f=", "--header", "empty=");
  const Ran ran = good("tasks", "show", "--queue", "mail", "one", "--json");
  const auto task = ran.objects().at(0);
  EXPECT_EQ(text(task, "state"), "scheduled");
  EXPECT_EQ(text(task, "run_at"), "2099-01-02T02:04:05Z");
  EXPECT_EQ(task.at("priority"), -7);
  EXPECT_EQ(task.at("retries_max"), 3);
  EXPECT_EQ(task.at("crashes_max"), 0);
  EXPECT_EQ(task.at("timeout").to_number<double>(), 5400);
  EXPECT_EQ(text(task, "deadline"), "2099-02-01T00:00:00Z");
  EXPECT_EQ(text(task, "expires_at"), "2099-01-31T00:00:00.5Z");
  EXPECT_EQ(text(task, "unique"), "k");
  EXPECT_EQ(task.at("retention").to_number<double>(), 90);
  EXPECT_EQ(text(task.at("headers").as_object(), "trace"), "7f=");
  EXPECT_EQ(text(task.at("headers").as_object(), "empty"), "");
  // A payload keeps its text, digit by digit.
  EXPECT_THAT(ran.out, HasSubstr(R"("payload":{"a": [1, 2.50]})"));
}

TEST_F(EnqueueTest, ReadsThePayloadFromTheInput) {
  const std::string payload = "line 1\nline 2\twith a tab";
  const Ran ran = run_with(payload, {"enqueue", "greet", "-"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(text(show(ran.lines().at(0)), "payload_text"), payload);
}

TEST_F(EnqueueTest, TakesPayloadsThatLookLikeSomethingElse) {
  EXPECT_EQ(text(show(enqueue("greet", "--", "-5x")), "payload_text"), "-5x");
  EXPECT_EQ(text(show(enqueue("greet", "tasks")), "payload_text"), "tasks");
  EXPECT_EQ(show(enqueue("greet", "[1,2]")).at("payload").as_array().size(), 2U);
  EXPECT_EQ(text(show(enqueue("work", "")), "kind"), "work");
}

TEST_F(EnqueueTest, HoldsAndDelays) {
  EXPECT_EQ(state_of(enqueue("greet", "--held")), "held");
  EXPECT_EQ(state_of(enqueue("greet", "--delay", "1h")), "scheduled");
  EXPECT_EQ(state_of(enqueue("greet", "--group", "g")), "aggregating");
}

TEST_F(EnqueueTest, SaysWhichTaskHoldsAKey) {
  const std::string first = enqueue("greet", "ada", "--unique");
  const Ran again = good("enqueue", "greet", "ada", "--unique");
  EXPECT_EQ(again.lines().at(0), first);
  EXPECT_THAT(again.err, HasSubstr(first));
  EXPECT_EQ(good("enqueue", "greet", "ada", "--unique", "--json").objects().at(0).at("put"), "exists");
  EXPECT_NE(enqueue("greet", "bob", "--unique"), first);
  bad(1, first, "enqueue", "greet", "ada", "--unique", "--on-conflict", "reject");
  const std::string keyed = enqueue("greet", "--unique=key");
  EXPECT_EQ(enqueue("other", "--unique=key", "--on-conflict", "replace"), keyed);
  EXPECT_EQ(text(show(keyed), "kind"), "other");
}

TEST_F(EnqueueTest, ADuplicateIdIsNoSecondTask) {
  EXPECT_EQ(enqueue("greet", "--id", "one"), "one");
  const Ran again = good("enqueue", "greet", "--id", "one", "--json");
  EXPECT_EQ(again.objects().at(0).at("put"), "exists");
  EXPECT_EQ(good("tasks", "--json").lines().size(), 1U);
}

TEST_F(EnqueueTest, SaysWhatIsWrong) {
  bad(2, "the KIND is missing", "enqueue");
  bad(2, R"(--delay: "5 minutes" is no duration; write for instance 90s)", "enqueue", "a", "--delay",
      "5 minutes");
  bad(2, R"(--at: "tomorrow" is no time)", "enqueue", "a", "--at", "tomorrow");
  bad(2, R"(--priority: "high" is not a number)", "enqueue", "a", "--priority", "high");
  bad(1, "priority is 1000; it must be from -100 to 100", "enqueue", "a", "--priority", "1000");
  bad(2, R"(there is no option --prio; did you mean "--priority"?)", "enqueue", "a", "--prio", "1");
  bad(2, "one argument too many: \"c\"", "enqueue", "a", "b", "c");
  bad(2, R"(did you mean "replace"?)", "enqueue", "a", "--unique", "--on-conflict", "replce");
  bad(2, "is no header; write NAME=VALUE", "enqueue", "a", "--header", "x");
  bad(1, "none is asked for", "enqueue", "a", "--unique-for", "1h");
  bad(1, "give one of them", "enqueue", "a", "--delay", "1h", "--at", "2099-01-01T00:00:00Z");
  bad(1, "the kind is empty", "enqueue", "");
}

TEST_F(EnqueueTest, RefusesAnOversizedPayload) {
  const Ran ran = run_with(std::string((16U << 20U) + 1, 'x'), {"enqueue", "a", "-"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("this store takes 16777216 a task"));
}

// ---- JSON lines

TEST_F(EnqueueTest, JsonLinesTakeWhatOptionsTake) {
  const std::string first =
      R"({"kind":"a", "payload" : {"x": 1.50, "y": "}\""} ,"queue":"mail","id":"one","delay":"5m","priority":3,)"
      R"("retries":2,"crashes":1,"timeout":"10s","unique":"k","unique_for":"1h","on_conflict":"reject",)"
      R"("retention":"1d","headers":{"trace":"7f"}})";
  const std::string second = R"({"kind":"b","payload_text":"bytes","held":true})";
  const Ran ran = run_with(first + "\n\n" + second + "\n", {"enqueue", "--from-json-lines"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  ASSERT_EQ(ran.lines().size(), 2U);
  EXPECT_THAT(ran.err, HasSubstr("enqueued 2 of 2"));
  const Ran shown = good("tasks", "show", "mail/one", "--json");
  const auto task = shown.objects().at(0);
  EXPECT_THAT(shown.out, HasSubstr(R"("payload":{"x": 1.50, "y": "}\""})"));
  EXPECT_EQ(text(task, "state"), "scheduled");
  EXPECT_EQ(task.at("priority"), 3);
  EXPECT_EQ(task.at("retries_max"), 2);
  EXPECT_EQ(text(task, "unique"), "k");
  EXPECT_EQ(text(task.at("headers").as_object(), "trace"), "7f");
  const auto other = show(ran.lines().at(1));
  EXPECT_EQ(text(other, "payload_text"), "bytes");
  EXPECT_EQ(text(other, "state"), "held");
}

TEST_F(EnqueueTest, EachWrongLineIsNamedAndTheOthersGoIn) {
  const std::string lines =
      "{\"kind\":\"a\"}\n"
      "nonsense\n"
      "{\"kind\":\"a\",\"dealy\":\"5m\"}\n"
      "{\"kind\":\"a\",\"delay\":5}\n"
      "{\"kind\":\"a\",\"delay\":\"5 minutes\"}\n"
      "{\"payload\":1}\n"
      "[1]\n"
      "{\"kind\":\"a\",\"priority\":1000}\n"
      "{\"kind\":\"a\",\"payload\":1,\"payload_text\":\"1\"}\n"
      "{\"kind\":\"a\",\"headers\":{\"x\":1}}\n"
      "{\"kind\":\"b\"}";
  const Ran ran = run_with(lines, {"enqueue", "--from-json-lines", "-"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.lines().size(), 2U);
  for (const char* said :
       {"line 2: this is no JSON", R"(line 3: there is no field "dealy"; did you mean "delay"?)",
        R"(line 4: field "delay": must be a text)", R"(line 5: field "delay": "5 minutes" is no)",
        R"(line 6: field "kind": is missing)", "line 7: this is no object", "line 8: priority is 1000",
        R"(line 9: field "payload_text")", R"(line 10: field "headers/x")", "enqueued 2 of 11, 9 refused"}) {
    EXPECT_THAT(ran.err, HasSubstr(said));
  }
  const Ran json = run_with(lines, {"enqueue", "--from-json-lines", "--json"});
  ASSERT_EQ(json.lines().size(), 11U);
  EXPECT_EQ(json.objects().at(2).at("line"), 3);
  EXPECT_EQ(json.objects().at(2).at("put"), "invalid");
  EXPECT_EQ(json.objects().at(10).at("put"), "created");
}

TEST_F(EnqueueTest, ManyLinesFromAFileWithDefaultsAndProgress) {
  std::string lines;
  for (int i = 0; i < 2500; ++i) lines += fmt::format("{{\"kind\":\"a\",\"id\":\"{}\"}}\n", i);
  write_file(directory_ / "tasks.jsonl", lines);
  const std::string file = (directory_ / "tasks.jsonl").string();
  const Ran ran = good("enqueue", "--from-json-lines", file, "--queue", "bulk", "--progress");
  EXPECT_EQ(ran.lines().size(), 2500U);
  EXPECT_THAT(ran.err, HasSubstr("1000 lines"));
  EXPECT_EQ(good("queues", "--json").objects().at(0).at("pending"), 2500);
  EXPECT_THAT(good("enqueue", "--from-json-lines", file, "--queue", "bulk").err, HasSubstr("2500 existed"));
  bad(1, "can't be read", "enqueue", "--from-json-lines", "/nowhere/x.jsonl");
  bad(2, "each line has its own kind", "enqueue", "--from-json-lines", file, "a");
}

TEST_F(EnqueueTest, ALineDoesNotWaitForTheNext) {
  const std::string pipe = (directory_ / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Process reader = start({"enqueue", "--from-json-lines", pipe}, "reader");
  std::ofstream writer{pipe};
  writer << R"({"kind":"a","id":"one"})" << std::endl;
  EXPECT_TRUE(eventually([&] { return state_of("one") == "pending"; }));
  writer << R"({"kind":"a","id":"two"})" << std::endl;
  writer.close();
  EXPECT_EQ(reader.wait(), 0);
  EXPECT_EQ(state_of("two"), "pending");
}

}  // namespace
}  // namespace tidemill::testing
