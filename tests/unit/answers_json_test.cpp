// What the API answers, read again: nothing is lost, and what a newer server adds is ignored.
#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

#include "wire/admin_json.hpp"
#include "wire/port_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill::wire {
namespace {

using namespace std::chrono_literals;

const TimePoint noon{std::chrono::sys_days{std::chrono::year{2027} / 1 / 1} + 12h + Duration{1234}};

template <class Write>
std::string written(Write write) {
  std::string text;
  json::Writer writer{text};
  write(writer);
  return text;
}

/// With a member that this version does not know, at its beginning.
std::string newer(std::string text) { return text.insert(1, R"("invented":{"a":[1]},)"); }

template <class Read>
auto read_again(const std::string& text, Read read) {
  const JsonDocument document{text, Unknown::ignored};
  return read(document.root());
}

Task some_task() {
  return {
      .ref = {"mail", "m/1"},
      .state = State::archived,
      .kind = "mail:send",
      .payload = std::string{"\x00\xff{\"a\":1}", 9},
      .group = "g",
      .headers = {{"Trace", "7f"}},
      .priority = -7,
      .attempt = 4,
      .retries = 3,
      .retries_max = 9,
      .crashes = 1,
      .crashes_max = 2,
      .deferrals = 5,
      .timeout = 90s,
      .retention = 1h,
      .run_at = noon + 1s,
      .deadline = noon + 2s,
      .expires_at = noon + 3s,
      .created_at = noon,
      .unique = Unique{.key = "k", .window = 1h, .outlives_task = true, .on_conflict = OnConflict::replace},
      .result = "[1.10]",
      .error = "421",
      .reason = "retries",
      .progress = "half",
      .worker = "w",
      .started_at = noon + 4s,
      .ended_at = noon + 5s};
}

TEST(AnswersJson, ATaskIsReadAsItWasShown) {
  const std::string text = written([](json::Writer& out) { write_task(out, some_task(), Detail::full); });
  const Task read = read_again(newer(text), read_shown_task);
  EXPECT_EQ(written([&](json::Writer& out) { write_task(out, read, Detail::full); }), text);
  EXPECT_EQ(read.payload, some_task().payload);
  EXPECT_EQ(read.result, "[1.10]");
  EXPECT_EQ(read.ended_at, noon + 5s);
  EXPECT_EQ(read.unique->window, 1h);
}

TEST(AnswersJson, UnknownMembersOfRequestsAreMistakes) {
  const std::string text = newer(written([](json::Writer& out) { write_ref(out, {"mail", "m1"}); }));
  EXPECT_EQ(read_again(text, read_ref), (Ref{"mail", "m1"}));
  const JsonDocument request{text};
  EXPECT_THROW(read_ref(request.root()), BadValue);
}

TEST(AnswersJson, WhatOperatorsSeeIsReadAsItWasShown) {
  const QueueInfo queue{.name = "mail", .counts = {{State::held, 3}}, .oldest = 1500ms, .paused = true};
  const QueueInfo queue_read =
      read_again(newer(written([&](json::Writer& out) { write_queue(out, queue); })), read_queue);
  EXPECT_EQ(queue_read.name, "mail");
  EXPECT_EQ(queue_read.counts.at(State::held), 3U);
  EXPECT_EQ(queue_read.oldest, 1500ms);
  EXPECT_TRUE(queue_read.paused);

  const ScheduleInfo info{.schedule = {.id = "n",
                                       .spec = "@daily",
                                       .zone = "Europe/Berlin",
                                       .gap = Gap::before,
                                       .fold = Fold::both,
                                       .missed = Missed::all,
                                       .overlap = Overlap::queue,
                                       .jitter = Duration{5},
                                       .kind = "k",
                                       .payload = "{\"a\": 1}",
                                       .options = {.queue = "q", .timeout = Duration{1500}}},
                          .owner = "file",
                          .paused = true,
                          .next = noon,
                          .last = noon - 24h,
                          .read_only = true};
  const std::string text = written([&](json::Writer& out) { write_schedule(out, info); });
  const ScheduleInfo again = read_again(newer(text), read_schedule_info);
  EXPECT_EQ(written([&](json::Writer& out) { write_schedule(out, again); }), text);
  EXPECT_EQ(again.schedule.options.timeout, Duration{1500});
  EXPECT_TRUE(again.read_only);
  // Whose rule the server itself could not read.
  const ScheduleInfo broken{.schedule = {.id = "b"}, .next = noon};
  EXPECT_EQ(read_again(written([&](json::Writer& out) { write_schedule(out, broken); }), read_schedule_info)
                .schedule.id,
            "b");

  const Stat stat{.queue = "q", .kind = "k", .at = noon, .success = 1, .failure = 2, .crash = 3, .busy = 5ms};
  const Stat stat_read =
      read_again(newer(written([&](json::Writer& out) { write_stat(out, stat); })), read_stat);
  EXPECT_EQ(stat_read.at, noon);
  EXPECT_EQ(stat_read.crash, 3U);
  EXPECT_EQ(stat_read.busy, 5ms);
}

TEST(AnswersJson, LeasesAndReportsAreReadAsTheyWereSent) {
  const Claimed claimed{
      .leases = {{.task = some_task(), .token = "t", .length = 25s}}, .now = noon, .next_due = noon};
  const std::string text = written([&](json::Writer& out) { write_claimed(out, claimed); });
  const Claimed got = read_again(newer(text), read_claimed);
  EXPECT_EQ(written([&](json::Writer& out) { write_claimed(out, got); }), text);
  EXPECT_EQ(got.leases.at(0).length, 25s);

  Report report{.lease = &claimed.leases[0],
                .to = State::retry,
                .delay = Duration{1'000'001},
                .keep = 1h,
                .attempt = 5,
                .retries = 4,
                .crashes = 3,
                .deferrals = 2,
                .tally = Tally::failure,
                .front = true,
                .record = true,
                .release_key = true,
                .started_at = noon,
                .result = std::string{"\xff\x00", 2},
                .error = "421",
                .reason = "word",
                .logs = {{noon, Level::warning, "line"}}};
  const auto items = [](const Report& each) {
    return R"({"items":[)" + written([&](json::Writer& out) { write_report(out, each); }) + "]}";
  };
  const PortReports reports = read_again(newer(items(report)), read_reports);
  ASSERT_EQ(reports.reports.size(), 1U);
  EXPECT_EQ(items(reports.reports[0]), items(report));
  EXPECT_EQ(reports.reports[0].lease->task.ref, (Ref{"mail", "m/1"}));
  EXPECT_EQ(reports.reports[0].result, report.result);
  EXPECT_EQ(reports.reports[0].delay, report.delay);

  const Beat beat{.lease = &claimed.leases[0], .started = true, .progress = "", .logs = report.logs};
  const Stat stat{.queue = "q", .kind = "k", .at = noon, .success = 1, .busy = Duration{7}};
  const WorkerInfo worker{
      .id = "w", .host = "h", .state = "quiet", .queues = {{"q", 3}}, .pid = 7, .slots = 2};
  const std::string renewal =
      written([&](json::Writer& out) { write_renewal(out, worker, {&beat, 1}, 25s, {&stat, 1}); });
  const PortRenewal again = read_again(newer(renewal), read_renewal);
  EXPECT_EQ(written([&](json::Writer& out) {
              write_renewal(out, again.worker, again.beats, again.lease, again.stats);
            }),
            renewal);
  EXPECT_EQ(again.stats.at(0).busy, Duration{7});
}

}  // namespace
}  // namespace tidemill::wire
