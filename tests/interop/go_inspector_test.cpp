// Reports of servers, workers and schedulers: ours as Go's inspector sees them, and a Go scheduler's as we
// do.
#include <vector>

#include "fixture.hpp"
#include "stores/redis/go_text.hpp"
#include "stores/redis/option_text.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;
using redis_store::EnqueueOptions;
using redis_store::SchedulerEnqueueEvent;
using redis_store::SchedulerEntry;

constexpr TimePoint at_1_700_000_000{1'700'000'000s};

class GoInspector : public Interop {
 protected:
  std::string soon() { return fmt::format("{}", seconds_of(now() + 1h)); }
  void write_entry(const SchedulerEntry& entry) {
    const std::string list = "asynq:schedulers:{ours}";
    raw().integer({"ZADD", "asynq:schedulers", soon(), list});
    raw().integer({"LPUSH", list, encode(entry)});
  }
};

TEST_F(GoInspector, SeesOurServersAndWorkers) {
  raw().integer({"ZADD", "asynq:servers", soon(), "asynq:servers:{h:7:s}"});
  raw().integer({"ZADD", "asynq:workers", soon(), "asynq:workers:{h:7:s}"});
  raw().exec({"SET", "asynq:servers:{h:7:s}",
              encode(redis_store::ServerInfo{.host = "h",
                                             .pid = 7,
                                             .server_id = "s",
                                             .concurrency = 5,
                                             .queues = {{"a", 2}, {"b", 1}},
                                             .strict_priority = true,
                                             .status = "active",
                                             .started_at = at_1_700_000_000,
                                             .active_workers = 1})});
  raw().integer({"HSET", "asynq:workers:{h:7:s}", "i",
                 encode(redis_store::WorkerInfo{.host = "h",
                                                .pid = 7,
                                                .server_id = "s",
                                                .task_id = "i",
                                                .task_type = "email",
                                                .task_payload = "p",
                                                .queue = "a",
                                                .started_at = at_1_700_000_000 + 1s})});
  GoProgram inspector{"inspect", redis()};
  EXPECT_EQ(inspector.inspect({"servers"}),
            (json::array{{{"id", "s"},
                          {"host", "h"},
                          {"pid", 7},
                          {"concurrency", 5},
                          {"queues", {{"a", 2}, {"b", 1}}},
                          {"strict", true},
                          {"started_at", 1'700'000'000},
                          {"status", "active"},
                          {"workers", json::array{{{"id", "i"},
                                                   {"type", "email"},
                                                   {"payload", "p"},
                                                   {"queue", "a"},
                                                   {"started_at", 1'700'000'001},
                                                   {"deadline", nullptr}}}}}}));
}

TEST_F(GoInspector, SeesOurSchedulersEntries) {
  const EnqueueOptions options{.max_retry = 3,
                               .queue = "l\u00f6w \"\\\n\x01\u200b\U000e0001",
                               .timeout = 90s,
                               .deadline = at_1_700_000_000,
                               .unique = 1h,
                               .process_in = 1500ms,
                               .retention = 24h};
  write_entry({.id = "e",
               .spec = "@every 30s",
               .task_type = "email",
               .task_payload = "p",
               .options = write_options(options),
               .next_at = at_1_700_000_000});
  GoProgram inspector{"inspect", redis()};
  const json::value entries = inspector.inspect({"scheduler_entries"});
  ASSERT_EQ(entries.as_array().size(), 1U);
  const json::object& entry = entries.at(0).as_object();
  EXPECT_EQ(entry.at("id"), "e");
  EXPECT_EQ(entry.at("spec"), "@every 30s");
  EXPECT_EQ(entry.at("type"), "email");
  EXPECT_EQ(entry.at("payload"), "p");
  EXPECT_EQ(entry.at("next_at"), 1'700'000'000);
  EXPECT_TRUE(entry.at("previous_at").is_null()) << "never, and not 1970";
  // Go has read all of them, and writes them as we do.
  const auto texts = json::value_to<std::vector<std::string>>(entry.at("options"));
  EXPECT_EQ(texts, write_options(options));
}

TEST_F(GoInspector, DropsTheOptionsThatWeDrop) {
  const EnqueueOptions options{
      .queue = "a)b", .task_id = "x", .timeout = 5s, .group = "g", .headers = {{"k", "v"}}};
  write_entry({.id = "e", .spec = "@daily", .task_type = "email", .options = write_options(options)});
  GoProgram inspector{"inspect", redis()};
  const json::value entries = inspector.inspect({"scheduler_entries"});
  const auto texts = json::value_to<std::vector<std::string>>(entries.at(0).at("options"));
  EXPECT_EQ(texts, std::vector<std::string>{"Timeout(5s)"});
  EXPECT_EQ(write_options(redis_store::read_options(write_options(options))), texts);
}

TEST_F(GoInspector, SeesOurEnqueueEvents) {
  raw().integer({"ZADD", "asynq:scheduler_history:e", "1700000000",
                 encode(SchedulerEnqueueEvent{.task_id = "i", .enqueued_at = at_1_700_000_000})});
  GoProgram inspector{"inspect", redis()};
  EXPECT_EQ(inspector.inspect({"scheduler_events", "e"}),
            json::value(json::array{{{"id", "i"}, {"enqueued_at", 1'700'000'000}}}));
}

// Why: other tests take it for granted that these acts reach Redis.
TEST_F(GoInspector, ActsOnTasks) {
  GoProgram client{"client", redis()};
  GoProgram inspector{"inspect", redis()};
  const auto ask = [&](const json::array& words) { return inspector.inspect(words); };
  for (const char* const id : {"a", "b", "c", "d"}) {
    client.ask({{"type", "email"}, {"payload", "p"}, {"id", id}, {"delay_ms", 3'600'000}});
  }
  EXPECT_EQ(ask({"queues"}), json::array{"default"});
  EXPECT_EQ(ask({"queue", "default"}).at("scheduled"), 4);
  EXPECT_EQ(ask({"update_payload", "default", "a", "new"}), true);
  EXPECT_EQ(ask({"task", "default", "a"}).at("payload"), "new");
  EXPECT_EQ(ask({"run", "default", "a"}), true);
  EXPECT_EQ(state("default", "a"), "pending");
  EXPECT_EQ(ask({"archive", "default", "b"}), true);
  EXPECT_EQ(state("default", "b"), "archived");
  EXPECT_EQ(ask({"delete", "default", "c"}), true);
  EXPECT_EQ(state("default", "c"), "");
  EXPECT_EQ(ask({"list", "default", "scheduled"}).at(0).at("id"), "d");
  EXPECT_EQ(ask({"archive_all", "default", "scheduled"}), 1);
  EXPECT_EQ(ask({"run_all", "default", "archived"}), 2);
  EXPECT_EQ(ask({"list", "default", "pending"}).as_array().size(), 3U);
  EXPECT_EQ(ask({"delete_all", "default", "pending"}), 3);
  EXPECT_EQ(ask({"history", "default", "2"}).as_array().size(), 2U);
  EXPECT_EQ(inspector.ask(json::array{"task", "default", "a"}).count("error"), 1U);
  EXPECT_EQ(inspector.ask(json::array{"explode"}).count("error"), 1U);
}

TEST_F(GoInspector, ActsOnGroupsAndQueues) {
  GoProgram client{"client", redis()};
  GoProgram inspector{"inspect", redis()};
  const auto ask = [&](const json::array& words) { return inspector.inspect(words); };
  for (const char* const id : {"a", "b"}) {
    client.ask({{"type", "email"}, {"id", id}, {"group", id}});
  }
  EXPECT_EQ(ask({"groups", "default"}), (json::value{{"a", 1}, {"b", 1}}));
  EXPECT_EQ(ask({"list", "default", "aggregating", "a"}).at(0).at("id"), "a");
  EXPECT_EQ(ask({"run_all", "default", "aggregating", "a"}), 1);
  EXPECT_EQ(ask({"delete_all", "default", "aggregating", "b"}), 1);
  EXPECT_EQ(ask({"pause", "default"}), true);
  EXPECT_TRUE(raw().exists(key("default", "paused")));
  EXPECT_EQ(ask({"queue", "default"}).at("paused"), true);
  EXPECT_EQ(ask({"unpause", "default"}), true);
  EXPECT_FALSE(raw().exists(key("default", "paused")));
  EXPECT_EQ(inspector.ask(json::array{"remove_queue", "default"}).count("error"), 1U) << "it is not empty";
  EXPECT_EQ(ask({"remove_queue", "default", "force"}), true);
  EXPECT_EQ(ask({"queues"}), json::array{});
}

TEST_F(GoInspector, CancelsATask) {
  GoProgram client{"client", redis()};
  GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  GoProgram inspector{"inspect", redis()};
  client.ask({{"type", "email"}, {"id", "i"}, {"payload", "sleep 600000"}});
  server.event("start", "i");
  ASSERT_TRUE(hears_cancels());
  EXPECT_EQ(inspector.inspect({"cancel", "i"}), true);
  EXPECT_EQ(server.event("end", "i").at("error"), "context canceled");
  ASSERT_TRUE(becomes("default", "i", "retry"));
  EXPECT_EQ(message("default", "i").error, "context canceled");
}

TEST_F(GoInspector, AGoSchedulersReportsAreReadByUs) {
  GoProgram scheduler{"scheduler", redis()};
  const TimePoint before = now();
  const json::object every = scheduler.ask({{"spec", "@every 1s"},
                                            {"type", "email"},
                                            {"payload", "p"},
                                            {"queue", "l\u00f6w \"\\\n\x01\u200b"},
                                            {"max_retry", 3},
                                            {"timeout_s", 90},
                                            {"unique_ms", 1'000},
                                            {"retention_s", 86'400},
                                            {"delay_ms", 1'500},
                                            {"deadline", 1'700'000'000}});
  const std::string entry_id{every.at("entry").as_string()};
  const std::string task_id{scheduler.event("enqueued").at("id").as_string()};

  std::vector<SchedulerEntry> entries;
  ASSERT_TRUE(eventually([&] {
    entries.clear();
    for (const auto& [list, score] : raw().scores("asynq:schedulers")) {
      for (const std::string& bytes : raw().list(list)) {
        entries.push_back(redis_store::decode_scheduler_entry(bytes).value());
      }
    }
    return !entries.empty() && entries[0].previous_at.has_value();
  }));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].id, entry_id);
  EXPECT_EQ(entries[0].spec, "@every 1s");
  EXPECT_EQ(entries[0].task_type, "email");
  EXPECT_EQ(entries[0].task_payload, "p");
  EXPECT_EQ(*entries[0].next_at - *entries[0].previous_at, 1s);
  EXPECT_GT(*entries[0].next_at, before);
  EXPECT_EQ(redis_store::read_options(entries[0].options),
            (EnqueueOptions{.max_retry = 3,
                            .queue = "l\u00f6w \"\\\n\x01\u200b",
                            .timeout = 90s,
                            .deadline = at_1_700_000_000,
                            .unique = 1s,
                            .process_in = 1500ms,
                            .retention = 24h}));

  const Hash history = raw().scores(fmt::format("asynq:scheduler_history:{}", entry_id));
  bool found = false;
  for (const auto& [bytes, score] : history) {
    const auto event = redis_store::decode_enqueue_event(bytes).value();
    EXPECT_EQ(seconds_of(event.enqueued_at.value()), std::stoll(score));
    EXPECT_GE(*event.enqueued_at, before);
    found = found || event.task_id == task_id;
  }
  EXPECT_TRUE(found);
  scheduler.finish_input();
  EXPECT_EQ(scheduler.stop(0), 0) << "it ends with its input";
}

}  // namespace
}  // namespace tidemill::testing
