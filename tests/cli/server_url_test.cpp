// Commands on a server's URL do and say what they do and say on its store.
#include <gmock/gmock.h>

#include <algorithm>

#include <tidemill/error.hpp>

#include "cli/cli_fixture.hpp"
#include "stores/server/server_store.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

class ServerUrlTest : public CliTest {
 protected:
  void SetUp() override { serve({}); }

  void serve(std::vector<std::string> more) {
    std::vector<std::string> arguments{"serve", "--listen", "127.0.0.1:0", "--store", url()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    if (server_.running()) server_.end(SIGTERM);
    const std::string name = fmt::format("server-{}", ++servers_);
    const auto said = [&] { return read_file(directory_ / (name + ".out")); };
    server_ = start(std::move(arguments), name);
    ASSERT_TRUE(eventually([&] { return said().find('\n') != std::string::npos; }))
        << read_file(directory_ / (name + ".err"));
    server_url_ = said().substr(said().find("http://"));
    server_url_.erase(server_url_.find('\n'));
  }

  Ran on(const std::string& store, std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.end(), {"--store", store});
    return run_with(input, std::move(arguments));
  }
  Ran on_server(std::vector<std::string> arguments, const std::string& input = "") {
    return on(server_url_, std::move(arguments), input);
  }
  /// Both say the same; answers what that is.
  Ran same(const std::vector<std::string>& arguments) {
    const Ran direct = on(url(), arguments);
    const Ran remote = on_server(arguments);
    EXPECT_EQ(remote.code, direct.code) << remote.err;
    EXPECT_EQ(remote.out, direct.out);
    EXPECT_EQ(remote.err, direct.err);
    return remote;
  }
  /// Ends on the server as it must.
  Ran well(std::vector<std::string> arguments, const std::string& input = "") {
    Ran ran = on_server(std::move(arguments), input);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran;
  }

  Process server_;
  std::string server_url_;
  int servers_ = 0;
};

TEST_F(ServerUrlTest, ListsOfTasksAreThoseOfTheStore) {
  enqueue("mail:send", R"({"to":"ada","n":90071992547409931.10})", "--queue", "mail", "--header", "Trace=7f",
          "--retries", "3", "--priority", "7", "--unique=k", "--unique-for", "1h", "--retention", "90m");
  enqueue("mail:send", std::string(2000, 'x'), "--queue", "mail", "--delay", "2h", "--deadline",
          "2101-01-01T00:00:00.25Z", "--expires", "2100-01-01T00:00:00Z", "--timeout", "10m");
  enqueue("text", "two words: \"é\" \\ /", "--id", "a/b ?&=%", "--group", "friends");
  good("enqueue", "held", "--held");
  EXPECT_EQ(run_with(std::string{"\x00\xff\x01 bytes", 9}, {"enqueue", "blob", "-"}).code, 0);
  EXPECT_EQ(run_with(std::string(28, '[') + std::string(28, ']'), {"enqueue", "deep", "-"}).code, 0);
  EXPECT_EQ(same({"tasks"}).lines().size(), 7U);
  EXPECT_EQ(same({"tasks", "--json"}).objects().size(), 6U);
  EXPECT_EQ(same({"tasks", "--json", "--state", "held", "--state", "scheduled"}).objects().size(), 2U);
  EXPECT_EQ(
      same({"tasks", "--json", "--queue", "mail", "--kind", "mail:*", "--text", "ada"}).objects().size(), 1U);
  EXPECT_EQ(same({"tasks", "--json", "--group", "friends"}).objects().size(), 1U);
  const Ran page = same({"tasks", "--json", "--limit", "2"});
  ASSERT_EQ(page.objects().size(), 3U);
  same({"tasks", "--json", "--limit", "2", "--cursor", text(page.objects()[2], "cursor")});
  EXPECT_EQ(same({"tasks", "--json", "--all"}).objects().size(), 6U);
  EXPECT_EQ(same({"tasks", "--queue", "absent"}).out, "");
  EXPECT_EQ(same({"tasks", "--cursor", "nonsense"}).code, 1);
  for (const auto& task : page.objects()) {
    if (text(task, "id").empty()) continue;
    same({"tasks", "show", text(task, "queue") + "/" + text(task, "id"), "--json"});
    same({"tasks", "show", text(task, "queue") + "/" + text(task, "id")});
  }
  EXPECT_THAT(same({"tasks", "show", "a/b ?&=%", "--queue", "default", "--json"}).out,
              HasSubstr("two words"));
  EXPECT_EQ(same({"tasks", "show", "mail/absent"}).code, 1);
}

TEST_F(ServerUrlTest, ATaskIsEnqueuedByteForByte) {
  const std::string bytes{"\x00\xff\x01 \xc3\xa9", 6};
  for (const std::string& payload :
       {bytes, std::string{R"({"n": 90071992547409931.10})"}, std::string{" [1] "}, std::string{"ada"},
        std::string{}, std::string(31, '[') + std::string(31, ']')}) {
    const std::string id = well({"enqueue", "greet", "-"}, payload).lines().at(0);
    const Ran made = good("tasks", "show", id, "--json");
    EXPECT_EQ(run_with(payload, {"enqueue", "greet", "-", "--id", id + "x"}).code, 0);
    const Ran direct = good("tasks", "show", id + "x", "--json");
    const auto tail = [](const std::string& out) {
      const std::size_t at = out.find("\"payload");
      return out.substr(at, out.find("\"priority\"") - at);
    };
    EXPECT_EQ(tail(made.out), tail(direct.out));
  }
  std::vector<std::string> options{"enqueue", "greet", "ada", "--id", "one", "--queue", "q", "--group", "g"};
  for (const char* const more : {"--retries", "3", "--crashes", "1", "--timeout", "500ms", "--unique=k",
                                 "--unique-for", "1h", "--header", "A=b", "--retention", "1h"})
    options.emplace_back(more);
  EXPECT_EQ(well(options).out, "one\n");
  const auto task = show("q/one");
  EXPECT_EQ(text(task, "state"), "aggregating");
  EXPECT_EQ(task.at("retries_max"), 3);
  EXPECT_EQ(task.at("crashes_max"), 1);
  EXPECT_EQ(task.at("timeout").to_number<double>(), 0.5);
  EXPECT_EQ(text(task, "unique"), "k");
  EXPECT_EQ(text(task.at("headers").as_object(), "A"), "b");
  EXPECT_EQ(task.at("retention").to_number<double>(), 3600);
}

TEST_F(ServerUrlTest, AnEnqueueThatIsNoneIsAnsweredAsByTheStore) {
  enqueue("greet", "--id", "one", "--unique=k", "--unique-for", "1h");
  for (const auto& more : std::vector<std::vector<std::string>>{
           {"--id", "one"},
           {"--id", "one", "--json"},
           {"--unique=k", "--unique-for", "1h"},
           {"--unique=k", "--unique-for", "1h", "--on-conflict", "reject"},
           {"--unique=k", "--unique-for", "1h", "--on-conflict", "replace", "--json"},
           {"--priority", "1000"}}) {
    std::vector<std::string> arguments{"enqueue", "greet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    same(arguments);
  }
}

TEST_F(ServerUrlTest, LinesAreEnqueuedAsIntoTheStore) {
  std::string lines = R"({"kind":"a","id":"1","payload":{"n":1.10}}
{"kind":"a","id":"2","priority":1000}
{"kind":"a","id":"1"}
no line
{"kind":"b","id":"3","unique":"k","unique_for":"1h"}
{"kind":"b","id":"4","unique":"k","unique_for":"1h"}
{"kind":"b","id":"5","unique":"k","unique_for":"1h","on_conflict":"reject"}
)";
  for (int i = 0; i < 2500; ++i)
    lines += fmt::format("{{\"kind\":\"many\",\"id\":\"m{}\",\"queue\":\"many\"}}\n", i);
  for (const std::string format : {"--json", "--progress"}) {
    const std::string other = "sqlite:" + (directory_ / (format + ".db")).string();
    if (format == "--progress")
      lines.insert(0, R"({"kind":"a","id":"0"})"
                      "\n");
    const Ran direct = on(other, {"enqueue", "--from-json-lines", format}, lines);
    const Ran remote = on_server({"enqueue", "--from-json-lines", format}, lines);
    EXPECT_EQ(remote.code, 1);
    if (format == "--json") {
      EXPECT_EQ(remote.out, direct.out);
      EXPECT_EQ(remote.err, direct.err);
    }
    EXPECT_EQ(remote.lines().size(), direct.lines().size());
  }
  EXPECT_EQ(on(url(), {"tasks", "--queue", "many", "--all", "--json"}).lines().size(), 2500U);
}

TEST_F(ServerUrlTest, ARepeatedCallHasTheEffectOfOne) {
  const auto store = open_server(server_url_);
  const Task task{.ref = {"default", "one"}, .kind = "greet"};
  const Call call{.now = store->now(), .session = 7, .number = 1};
  EXPECT_EQ(store->enqueue({&task, 1}, call).at(0).put, Put::created);
  EXPECT_EQ(store->enqueue({&task, 1}, call).at(0).put, Put::created);
  const Call next{.now = store->now(), .session = 7, .number = 2};
  EXPECT_EQ(store->enqueue({&task, 1}, next).at(0).put, Put::exists);
  EXPECT_EQ(good("tasks", "--json").lines().size(), 1U);
}

TEST_F(ServerUrlTest, ActsMoveTasksOfTheStore) {
  for (const char* id : {"1", "2", "3"}) enqueue("greet", "--id", id);
  EXPECT_EQ(well({"tasks", "hold", "1", "2"}).out, "default/1 changed\ndefault/2 changed\n");
  EXPECT_EQ(state_of("1"), "held");
  const Ran mixed = on_server({"tasks", "resume", "1", "3", "absent", "--json"});
  EXPECT_EQ(mixed.code, 1);
  ASSERT_EQ(mixed.objects().size(), 3U);
  EXPECT_EQ(text(mixed.objects()[0], "answer"), "changed");
  EXPECT_EQ(text(mixed.objects()[1], "answer"), "wrong_state");
  EXPECT_EQ(text(mixed.objects()[2], "answer"), "absent");
  same({"tasks", "resume", "3", "absent"});
  well({"tasks", "cancel", "1"});
  EXPECT_EQ(state_of("1"), "archived");
  EXPECT_EQ(text(show("1"), "reason"), "cancelled");
  well({"tasks", "run", "1"});
  EXPECT_EQ(state_of("1"), "pending");
  well({"tasks", "archive", "2"});
  EXPECT_EQ(state_of("2"), "archived");
  well({"tasks", "erase", "2"});
  EXPECT_EQ(state_of("2"), "");
  std::string lines;
  for (int i = 0; i < 1200; ++i)
    lines += fmt::format("{{\"kind\":\"many\",\"queue\":\"q\",\"id\":\"{}\"}}\n", i);
  well({"enqueue", "--from-json-lines"}, lines);
  EXPECT_EQ(well({"tasks", "hold", "--queue", "q", "--kind", "man*", "--all", "--yes"}).out,
            "1200 changed\n");
  EXPECT_EQ(well({"tasks", "erase", "--state", "held", "--all", "--yes", "--json"}).out,
            "{\"changed\":1200,\"unchanged\":0}\n");
  EXPECT_EQ(good("tasks", "--json", "--all").lines().size(), 2U);
  bad(2, "add --yes", "tasks", "erase", "--all", "--store", server_url_);
}

TEST_F(ServerUrlTest, QueuesAndSchedulesAreThoseOfTheStore) {
  enqueue("greet", "--queue", "my mail/ä", "--held");
  EXPECT_EQ(well({"queues", "pause", "my mail/ä"}).out, "my mail/ä is paused\n");
  EXPECT_THAT(same({"queues"}).out, HasSubstr("paused"));
  EXPECT_TRUE(same({"queues", "--json"}).objects().at(0).at("paused").as_bool());
  well({"queues", "resume", "my mail/ä"});
  EXPECT_FALSE(same({"queues", "--json"}).objects().at(0).at("paused").as_bool());
  same({"queues", "pause", " "});
  same({"queues", "stats"});
  enqueue("greet", "--queue", "my mail/ä", "--group", "g/ä");
  EXPECT_THAT(same({"queues", "groups", "my mail/ä"}).out, HasSubstr("g/ä"));
  EXPECT_EQ(same({"queues", "groups", "my mail/ä", "--json"}).objects().at(0).at("size"), 1);
  EXPECT_THAT(same({"queues", "groups", "absent"}).err, HasSubstr("no task waits in a group"));
  EXPECT_THAT(same({"queues", "delete", "my mail/ä"}).err, HasSubstr("has tasks"));
  EXPECT_THAT(same({"queues", "delete", "absent"}).err, HasSubstr("no queue"));
  EXPECT_EQ(well({"queues", "delete", "my mail/ä", "--force"}).out, "my mail/ä is deleted\n");
  same({"queues"});

  EXPECT_THAT(
      well({"schedules", "put",      "my nightly", "--spec",        "30 2 * * *", "--zone", "Europe/Berlin",
            "--kind",    "k",        "--payload",  R"({"a": 1.0})", "--jitter",   "5m",     "--overlap",
            "skip",      "--missed", "all",        "--gap",         "before",     "--fold", "both",
            "--retries", "3",        "--timeout",  "1500us",        "--header",   "A=b",    "--queue",
            "q"})
          .out,
      HasSubstr("my nightly fires next at"));
  good("schedules", "put", "other", "--spec", "@every 90s", "--kind", "k", "--payload", "no json");
  EXPECT_EQ(same({"schedules", "--json"}).objects().size(), 2U);
  well({"schedules", "pause", "my nightly"});
  EXPECT_THAT(same({"schedules"}).out, HasSubstr("paused"));
  well({"schedules", "put", "my nightly", "--spec", "@daily", "--kind", "k"});
  EXPECT_TRUE(same({"schedules", "--json"}).objects().at(0).at("paused").as_bool());
  well({"schedules", "resume", "my nightly"});
  EXPECT_FALSE(same({"schedules", "--json"}).objects().at(0).at("paused").as_bool());
  same({"schedules", "preview", "my nightly"});
  EXPECT_THAT(well({"schedules", "fire", "my nightly"}).out, HasSubstr("created"));
  EXPECT_EQ(good("tasks", "--kind", "k", "--json").lines().size(), 1U);
  EXPECT_EQ(same({"schedules", "put", "x", "--spec", "often", "--kind", "k"}).code, 1);
  EXPECT_EQ(same({"schedules", "pause", "absent"}).code, 1);
  EXPECT_EQ(well({"schedules", "erase", "my nightly"}).out, "my nightly is erased\n");
  EXPECT_EQ(good("schedules", "--json").lines().size(), 1U);
}

TEST_F(ServerUrlTest, AWorkerRunsTasksOverIt) {
  const std::string id = enqueue("greet", "ada", "--retention", "1h", "--header", "Trace-Id=7f");
  const std::string failing = enqueue("fail", "--retries", "0");
  const std::string slow = enqueue("slow");
  const std::string overdue = enqueue("slow", "--timeout", "100ms", "--retries", "0");
  Process worker =
      start({"work", "--store", server_url_, "--on", "greet=cat; echo $TIDEMILL_HEADER_TRACE_ID >&2", "--on",
             "fail=echo 'no printer' >&2; exit 3", "--on", "slow=sleep 600"},
            "worker");
  const auto log = [&] { return read_file(directory_ / "worker.err"); };
  ASSERT_TRUE(eventually([&] { return state_of(id) == "completed"; })) << log();
  EXPECT_EQ(text(show(id), "result"), "ada");
  ASSERT_TRUE(eventually([&] { return state_of(failing) == "archived"; })) << log();
  EXPECT_EQ(text(show(failing), "error"), "no printer (exit code 3)");
  EXPECT_EQ(text(show(failing), "reason"), "retries");
  ASSERT_TRUE(eventually([&] { return state_of(overdue) == "archived"; })) << log();
  EXPECT_THAT(text(show(overdue), "error"), HasSubstr("timeout"));
  for (const std::string& each : {id, failing, overdue}) {
    same({"tasks", "show", each, "--json"});
    EXPECT_THAT(same({"tasks", "show", each}).out, HasSubstr("attempt 1"));
  }
  ASSERT_TRUE(eventually([&] { return state_of(slow) == "active"; })) << log();
  EXPECT_EQ(well({"tasks", "cancel", slow}).out, fmt::format("default/{} signalled\n", slow));
  ASSERT_TRUE(eventually([&] { return state_of(slow) == "archived"; })) << log();
  EXPECT_EQ(text(show(slow), "reason"), "cancelled");

  const auto ours = [&] {
    for (const auto& each : well({"workers", "--json"}).objects()) {
      if (each.at("pid").as_int64() == worker.pid()) return each;
    }
    return boost::json::object{};
  };
  ASSERT_TRUE(eventually([&] { return !ours().empty(); }));
  EXPECT_EQ(ours().at("slots"), 10);
  EXPECT_EQ(ours().at("queues").at("default"), 1);
  well({"workers", "stop", text(ours(), "id")});
  EXPECT_TRUE(eventually([&] { return worker.ended(); })) << log();
  EXPECT_EQ(worker.wait(), 0) << log();
  EXPECT_EQ(same({"workers", "stop", "absent"}).code, 1);
  const auto stats = well({"queues", "stats", "--json"}).objects();
  const auto greet =
      std::ranges::find_if(stats, [](const auto& row) { return text(row, "kind") == "greet"; });
  ASSERT_NE(greet, stats.end());
  EXPECT_EQ(greet->at("success"), 1);
  EXPECT_EQ(well({"queues", "stats", "--by", "minute", "--queue", "absent", "--json"}).out, "");
}

TEST_F(ServerUrlTest, TasksAreEditedPutOffAndMoved) {
  enqueue("greet", "ada", "--id", "1", "--deadline", "2100-01-01T00:00:00Z", "--header", "a=1");
  enqueue("greet", "--id", "2", "--unique=k");
  enqueue("greet", "--id", "2", "--queue", "full");
  enqueue("greet", "--id", "3", "--unique=k", "--queue", "key");
  EXPECT_EQ(well({"tasks", "edit", "1", "--payload", "-", "--deadline", "none", "--timeout", "1h"},
                 std::string{"\x00\xff", 2})
                .out,
            "default/1 changed\n");
  const auto task = show("1");
  EXPECT_FALSE(task.contains("deadline"));
  EXPECT_EQ(task.at("timeout").to_number<double>(), 3600);
  EXPECT_EQ(text(task.at("headers").as_object(), "a"), "1");
  EXPECT_EQ(on_server({"tasks", "show", "1", "--json"}).out, good("tasks", "show", "1", "--json").out);
  well({"tasks", "edit", "1", "--priority", "2", "--etag", text(task, "etag")});
  EXPECT_EQ(same({"tasks", "edit", "1", "--priority", "3", "--etag", text(task, "etag")}).code, 1);
  EXPECT_EQ(same({"tasks", "edit", "none", "--priority", "3"}).code, 1);
  EXPECT_EQ(same({"tasks", "edit", "1", "--priority", "300"}).code, 1);
  EXPECT_EQ(well({"tasks", "reschedule", "1", "--at", "2100-01-01T00:00:00.000001Z"}).out,
            "default/1 changed\n");
  EXPECT_EQ(text(show("1"), "run_at"), "2100-01-01T00:00:00.000001Z");
  EXPECT_EQ(same({"tasks", "move", "2", "--to", "full"}).code, 1);
  EXPECT_EQ(same({"tasks", "move", "2", "--to", "key"}).code, 1);
  EXPECT_EQ(well({"tasks", "move", "1", "--to", "bulk"}).out, "default/1 changed\n");
  EXPECT_EQ(text(show("bulk/1"), "state"), "scheduled");
  EXPECT_EQ(well({"tasks", "move", "--queue", "bulk", "--to", "third", "--all", "--yes"}).out, "1 changed\n");
  well({"tasks", "archive", "third/1"});
  EXPECT_EQ(same({"tasks", "move", "third/1", "--to", "bulk"}).code, 1);
  EXPECT_EQ(same({"tasks", "reschedule", "third/1", "--delay", "1h"}).code, 1);
  well({"tasks", "edit", "third/1", "--retries", "2"});
  EXPECT_EQ(show("third/1").at("retries_max"), 2);
}

TEST_F(ServerUrlTest, ATokenIsSentAndNeverShown) {
  write_file(directory_ / "admin.token", "open-sesame-of-40-thieves\n");
  write_file(directory_ / "viewer.token", "only-look-and-touch-no-thing\n");
  write_file(directory_ / "server.yaml", R"(tokens:
  - {name: ops, role: admin, secret_file: admin.token}
  - {name: eye, role: viewer, secret_file: viewer.token}
)");
  serve({"--config", (directory_ / "server.yaml").string()});
  const Ran none = on_server({"tasks"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("set TIDEMILL_TOKEN"));
  setenv("TIDEMILL_TOKEN", "wrong-secret", 1);
  const Ran wrong = on_server({"tasks"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("check the token in TIDEMILL_TOKEN"));
  EXPECT_THAT(wrong.err, Not(HasSubstr("wrong-secret")));
  setenv("TIDEMILL_TOKEN", "open-sesame-of-40-thieves", 1);
  EXPECT_EQ(well({"enqueue", "greet", "--id", "one"}).out, "one\n");
  EXPECT_EQ(well({"tasks", "hold", "one"}).out, "default/one changed\n");
  const std::string viewer = server_url_ + "?token_file=" + (directory_ / "viewer.token").string();
  EXPECT_EQ(on(viewer, {"tasks", "--json"}).lines().size(), 1U);
  const Ran refused = on(viewer, {"tasks", "resume", "one"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("needs operator or admin"));
  EXPECT_THAT(refused.err, HasSubstr("check the token in /"));
  EXPECT_THAT(refused.err, Not(HasSubstr("only-look-and-touch-no-thing")));
  unsetenv("TIDEMILL_TOKEN");
}

TEST_F(ServerUrlTest, WhatCantBeDoneIsSaid) {
  const std::string gone = server_url_;
  server_.end(SIGTERM);
  bad(1, "is the server running?", "tasks", "--store", gone);
  bad(1, "can't be read", "tasks", "--store", gone + "?token_file=/nowhere/token");
  bad(1, "it takes: token_file", "tasks", "--store", gone + "?token=abc");
  bad(1, "TIDEMILL_TOKEN", "tasks", "--store", "http://ada:secret@127.0.0.1:8470");
  bad(1, "write for instance http://127.0.0.1:8470", "tasks", "--store", "http:");
  bad(2, "migrate works on a store itself", "migrate", "--store", gone);
  bad(2, "bench works on a store itself", "bench", "--store", gone);
  bad(2, "serve works on a store itself", "serve", "--store", gone);
}

}  // namespace
}  // namespace tidemill::testing
