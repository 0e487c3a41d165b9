// Our schedules as Go's tools see them while a scheduler of ours runs, and a Go scheduler's entries as we do.
#include <gmock/gmock.h>

#include <algorithm>

#include <tidemill/error.hpp>
#include <tidemill/schedule.hpp>

#include "asynqmon.hpp"
#include "ours.hpp"
#include "refusal.hpp"
#include "stores/redis/keys.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::refusal;

class SharedSchedules : public OursAndGo {
 protected:
  void SetUp() override {
    OursAndGo::SetUp();
    if (!IsSkipped()) inspect_.emplace("inspect", redis());
  }

  json::array entries() { return inspect_->inspect({"scheduler_entries"}).as_array(); }
  json::array events(const std::string& id) {
    return inspect_->inspect({"scheduler_events", json::string{id}}).as_array();
  }
  /// The entry of an id; waits for it. Throws when the time is up.
  json::object entry(const std::string& id) {
    json::object found;
    const bool there = eventually([&] {
      for (const json::value& each : entries()) {
        if (each.at("id") == json::string{id}) found = each.as_object();
      }
      return !found.empty();
    });
    if (!there) throw std::runtime_error{fmt::format("Go sees no entry {}", id)};
    return found;
  }

 private:
  std::optional<GoProgram> inspect_;
};

TEST_F(SharedSchedules, OursAreEntriesForGo) {
  Schedule nightly{.id = "nightly", .spec = "30 2 1 1 *", .zone = "Europe/Berlin"};
  nightly.kind = "report";
  nightly.payload = "p";
  nightly.options = {.queue = "low",
                     .delay = 1500ms,
                     .retries_max = 3,
                     .timeout = 90s,
                     .unique = Unique{.window = 1h},
                     .retention = 24h};
  inspector().put_schedule(nightly);
  Schedule plain{.id = "plain", .spec = "@hourly"};
  plain.kind = "email";
  inspector().put_schedule(plain);
  Schedule paused{.id = "paused", .spec = "@hourly"};
  paused.kind = "email";
  inspector().put_schedule(paused);
  inspector().pause_schedule("paused", true);
  EXPECT_TRUE(entries().empty()) << "nobody fires them yet";

  Scheduler scheduler{store()};
  scheduler.fire_due();
  ASSERT_EQ(entries().size(), 2U);
  const json::object seen = entry("nightly");
  EXPECT_EQ(seen.at("spec"), "CRON_TZ=Europe/Berlin 30 2 1 1 *");
  EXPECT_EQ(seen.at("type"), "report");
  EXPECT_EQ(seen.at("payload"), "p");
  EXPECT_EQ(json::value_to<std::vector<std::string>>(seen.at("options")),
            (std::vector<std::string>{"MaxRetry(3)", "Queue(\"low\")", "Timeout(1m30s)", "Unique(1h0m0s)",
                                      "ProcessIn(1.5s)", "Retention(24h0m0s)"}));
  EXPECT_EQ(seen.at("next_at"), seconds_of(inspector().schedule("nightly")->next));
  EXPECT_TRUE(seen.at("previous_at").is_null());
  EXPECT_EQ(entry("plain").at("spec"), "@hourly");
  // Whoever runs a second scheduler shows the same, and not all of them twice.
  const auto second = open(redis().url());
  Scheduler beside{*second};
  beside.fire_due();
  EXPECT_EQ(entries().size(), 2U);
}

TEST_F(SharedSchedules, OurFiringsAreHistoryForGo) {
  Schedule often{.id = "often", .spec = "@every 1s"};
  often.kind = "email";
  inspector().put_schedule(often);
  Scheduler scheduler{store(), {.poll = 50ms}};
  scheduler.start();
  ASSERT_TRUE(eventually([&] { return events("often").size() >= 2; }));
  EXPECT_TRUE(eventually([&] { return !entry("often").at("previous_at").is_null(); })) << "shown anew";
  scheduler.stop();
  const json::array history = events("often");
  EXPECT_GE(history.at(0).at("enqueued_at").as_int64(), history.at(1).at("enqueued_at").as_int64());
  for (const json::value& event : history) {
    const std::string id{event.at("id").as_string()};
    EXPECT_EQ(state("default", id), "pending") << id;
    EXPECT_LE(event.at("enqueued_at").as_int64(), seconds_of(now()));
  }
  // Once it is gone, nothing stays behind for ever.
  inspector().erase_schedule("often");
  EXPECT_FALSE(raw().exists("asynq:scheduler_history:often"));
  const auto other = open(redis().url());
  Scheduler{*other}.fire_due();
  EXPECT_TRUE(entries().empty());
  EXPECT_FALSE(raw().exists("asynq:schedulers"));
}

TEST_F(SharedSchedules, AThousandFiringsAreKept) {
  for (int i = 0; i < 1200; ++i) {
    raw().integer({"ZADD", "asynq:scheduler_history:s", fmt::format("{}", i),
                   encode(redis_store::SchedulerEnqueueEvent{.task_id = fmt::format("t{}", i),
                                                             .enqueued_at = TimePoint{i * 1s}})});
  }
  Schedule one{.id = "s", .spec = "@every 1s"};
  one.kind = "email";
  inspector().put_schedule(one);
  Scheduler scheduler{store()};
  ASSERT_TRUE(eventually([&] { return scheduler.fire_due() == 1; }));
  EXPECT_EQ(raw().integer({"ZCARD", "asynq:scheduler_history:s"}), 1000);
  EXPECT_GT(events("s").at(0).at("enqueued_at").as_int64(), 1'700'000'000) << "the newest is the firing";
}

TEST_F(SharedSchedules, AsynqmonShowsThem) {
  TIDEMILL_NEEDS(asynqmon());
  Asynqmon page{redis()};
  Schedule often{.id = "often", .spec = "@every 1s"};
  often.kind = "email";
  often.payload = "p";
  inspector().put_schedule(often);
  Schedule never_run{.id = "rare", .spec = "0 0 1 1 *"};
  never_run.kind = "email";
  inspector().put_schedule(never_run);
  Scheduler scheduler{store(), {.poll = 50ms}};
  scheduler.start();
  const auto get = [&](const std::string& path) {
    const http::CallResult result = page.get(path);
    EXPECT_EQ(result.status, 200) << result.error << result.body;
    return json::parse(result.body);
  };
  json::array shown;
  ASSERT_TRUE(eventually([&] {
    shown = get("/api/scheduler_entries").at("entries").as_array();
    return shown.size() == 2 && std::ranges::any_of(shown, [](const auto& e) {
             return e.as_object().contains("prev_enqueue_at");
           });
  }));
  for (const json::value& each : shown) {
    const bool ran = each.at("id") == "often";
    EXPECT_EQ(each.at("spec"), ran ? "@every 1s" : "0 0 1 1 *");
    EXPECT_EQ(each.at("task_type"), "email");
    EXPECT_EQ(each.as_object().contains("prev_enqueue_at"), ran) << "never is not a time";
  }
  const json::value history = get("/api/scheduler_entries/often/enqueue_events");
  EXPECT_FALSE(history.at("events").as_array().empty());
}

TEST_F(SharedSchedules, GosAreReadOnlyForUs) {
  Schedule mine{.id = "mine", .spec = "@hourly"};
  mine.kind = "email";
  inspector().put_schedule(mine);
  GoProgram scheduler{"scheduler", redis()};
  const json::object given = scheduler.ask({{"spec", "30 2 1 1 *"},
                                            {"type", "report"},
                                            {"payload", "p"},
                                            {"queue", "low"},
                                            {"max_retry", 3},
                                            {"timeout_s", 90},
                                            {"retention_s", 60}});
  const std::string id{given.at("entry").as_string()};
  ASSERT_TRUE(eventually([&] { return inspector().schedule(id).has_value(); }));
  const ScheduleInfo info = *inspector().schedule(id);
  EXPECT_TRUE(info.read_only);
  EXPECT_THAT(info.owner, ::testing::MatchesRegex("Go scheduler .+:[0-9]+"));
  EXPECT_THAT(info.owner, ::testing::EndsWith(fmt::format(":{}", scheduler.pid())));
  EXPECT_EQ(info.schedule.spec, "30 2 1 1 *");
  EXPECT_EQ(info.schedule.kind, "report");
  EXPECT_EQ(info.schedule.payload, "p");
  EXPECT_EQ(info.schedule.options.queue, "low");
  EXPECT_EQ(info.schedule.options.retries_max, 3);
  EXPECT_EQ(info.schedule.options.timeout, 90s);
  EXPECT_EQ(info.schedule.options.retention, 60s);
  EXPECT_GT(info.next, now());
  EXPECT_FALSE(info.last.has_value()) << "never";
  EXPECT_FALSE(inspector().schedule("mine")->read_only);

  const std::string refused = fmt::format("schedule \"{}\" belongs to the {}", id, info.owner);
  Schedule changed = mine;
  changed.id = id;
  EXPECT_THAT(refusal([&] { inspector().put_schedule(changed); }, ErrorKind::conflict), HasSubstr(refused));
  EXPECT_THAT(refusal([&] { inspector().pause_schedule(id, true); }, ErrorKind::conflict),
              HasSubstr(refused));
  EXPECT_THAT(refusal([&] { inspector().erase_schedule(id); }, ErrorKind::conflict), HasSubstr(refused));
  EXPECT_THAT(refusal([&] { inspector().fire_schedule(id); }, ErrorKind::conflict), HasSubstr(refused));
  EXPECT_THAT(refusal([&] { inspector().sync_schedules("app", {&changed, 1}); }, ErrorKind::conflict),
              HasSubstr("belongs to"));
  EXPECT_EQ(inspector().sync_schedules(info.owner, {}), 0U) << "nor as its owner";
  EXPECT_EQ(inspector().schedules().size(), 2U);

  // Ours neither fires it nor shows it as its own.
  const TimePoint later = info.next + 1h;
  for (const StoredSchedule& due : store().catalog()->schedules(later, call())) EXPECT_EQ(due.id, "mine");
  EXPECT_EQ(entries().size(), 2U);

  scheduler.finish_input();
  EXPECT_EQ(scheduler.stop(0), 0);
  EXPECT_FALSE(inspector().schedule(id).has_value()) << "it took them off";
}

TEST_F(SharedSchedules, AnEntryThatNobodyCanReadIsLeftOut) {
  const std::string list = "asynq:schedulers:{a:b:7:uuid}";
  raw().integer({"ZADD", "asynq:schedulers", fmt::format("{}", seconds_of(now() + 1h)), list});
  raw().integer({"RPUSH", list, "\x0a\xff"});
  raw().integer({"RPUSH", list, encode(redis_store::SchedulerEntry{.id = "e", .spec = "*/90 * * * *"})});
  raw().integer({"ZADD", "asynq:schedulers", "1000", "asynq:schedulers:{dead:8:uuid}"});
  raw().integer({"RPUSH", "asynq:schedulers:{dead:8:uuid}",
                 encode(redis_store::SchedulerEntry{.id = "dead", .spec = "@daily"})});
  const auto all = inspector().schedules();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].schedule.spec, "*/90 * * * *") << "that we could not fire it is no matter";
  EXPECT_EQ(all[0].owner, "Go scheduler a:b:7");
}

}  // namespace
}  // namespace tidemill::testing
