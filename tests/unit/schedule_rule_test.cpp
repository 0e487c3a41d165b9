// Schedules: what is stored of them, when their instants fire, and what becomes of those that were missed.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include <tidemill/error.hpp>

#include "core/schedule_rule.hpp"
#include "refusal.hpp"

namespace tidemill {

static void PrintTo(const Shot& shot, std::ostream* out) {
  *out << shot.instant.time_since_epoch().count() << " -> " << shot.next.time_since_epoch().count();
}

namespace {

using namespace std::chrono_literals;
using tests::refusal;

constexpr TimePoint midnight{std::chrono::sys_days{std::chrono::year{2030} / 5 / 6}};

Schedule hourly() {
  Schedule schedule;
  schedule.id = "report";
  schedule.spec = "0 * * * *";
  schedule.kind = "report:make";
  return schedule;
}

std::string refusal_of(const Schedule& schedule) {
  return refusal([&] { check(schedule, Capabilities{}); });
}

// ---- At rest ----

TEST(ScheduleJson, EveryFieldComesBack) {
  Schedule schedule = hourly();
  schedule.zone = "Europe/Berlin";
  schedule.gap = Gap::before;
  schedule.fold = Fold::both;
  schedule.missed = Missed::all;
  schedule.overlap = Overlap::queue;
  schedule.jitter = 90s;
  schedule.payload = std::string{"\x00\xff\xfe binary \"", 12};
  schedule.options = {.queue = "mail",
                      .delay = 3s,
                      .priority = -7,
                      .retries_max = 2,
                      .crashes_max = 0,
                      .timeout = 5min,
                      .deadline = midnight,
                      .expires_at = midnight + 1h,
                      .unique = Unique{"k", 10min, true, OnConflict::replace},
                      .group = "g",
                      .retention = 24h,
                      .held = true,
                      .headers = {{"a", "b"}, {"trace", "\xff"}}};
  const Schedule back = parse_rule({.id = "report", .rule = to_json(schedule)}).schedule;
  EXPECT_EQ(to_json(back), to_json(schedule));
  EXPECT_EQ(back.id, "report");
  EXPECT_EQ(back.spec, schedule.spec);
  EXPECT_EQ(back.zone, schedule.zone);
  EXPECT_EQ(back.gap, schedule.gap);
  EXPECT_EQ(back.fold, schedule.fold);
  EXPECT_EQ(back.missed, schedule.missed);
  EXPECT_EQ(back.overlap, schedule.overlap);
  EXPECT_EQ(back.jitter, schedule.jitter);
  EXPECT_EQ(back.kind, schedule.kind);
  EXPECT_EQ(back.payload, schedule.payload);
  EXPECT_EQ(back.options.queue, "mail");
  EXPECT_EQ(back.options.delay, 3s);
  EXPECT_EQ(back.options.priority, -7);
  EXPECT_EQ(back.options.retries_max, 2);
  EXPECT_EQ(back.options.crashes_max, 0);
  EXPECT_EQ(back.options.timeout, 5min);
  EXPECT_EQ(back.options.deadline, midnight);
  EXPECT_EQ(back.options.expires_at, midnight + 1h);
  ASSERT_TRUE(back.options.unique);
  EXPECT_EQ(back.options.unique->key, "k");
  EXPECT_EQ(back.options.unique->window, 10min);
  EXPECT_TRUE(back.options.unique->outlives_task);
  EXPECT_EQ(back.options.unique->on_conflict, OnConflict::replace);
  EXPECT_EQ(back.options.group, "g");
  EXPECT_EQ(back.options.retention, 24h);
  EXPECT_TRUE(back.options.held);
  EXPECT_EQ(back.options.headers, schedule.options.headers);
}

// Why: a newer program may have written it, and an older one must go on.
TEST(ScheduleJson, UnknownMembersAreIgnoredAndAbsentOnesKeepTheirDefault) {
  const Schedule schedule =
      parse_rule({.id = "a", .rule = R"({"spec":"@daily","colour":"red","options":{"queue":"q","new":[1]}})"})
          .schedule;
  EXPECT_EQ(schedule.spec, "@daily");
  EXPECT_EQ(schedule.zone, "UTC");
  EXPECT_EQ(schedule.missed, Missed::once);
  EXPECT_EQ(schedule.options.queue, "q");
  EXPECT_EQ(schedule.options.retries_max, 25);
}

TEST(ScheduleJson, WhatIsWrongIsToldWithItsPlace) {
  const auto error = [](const char* rule) {
    return refusal([&] { parse_rule({.id = "a", .rule = rule}); }, ErrorKind::corrupt);
  };
  EXPECT_EQ(error("[1]"), "schedule \"a\": its rule is no JSON object");
  EXPECT_EQ(error("{"), "schedule \"a\": its rule is no JSON object");
  EXPECT_EQ(error(R"({"spec":1})"), "schedule \"a\": its rule's \"spec\" is no text");
  EXPECT_EQ(error(R"({"missed":"twice"})"),
            "schedule \"a\": its rule's \"missed\" is \"twice\", which this version does not know");
  EXPECT_EQ(error(R"({"options":{"priority":9999999999}})"),
            "schedule \"a\": its rule's \"priority\" is out of range");
  EXPECT_EQ(error(R"({"payload":{"hex":"0g"}})"),
            "schedule \"a\": its rule's \"payload\" has what is no hexadecimal digit");
}

TEST(ScheduleNames, WhatIsPrintedIsParsed) {
  for (const Missed each : {Missed::skip, Missed::once, Missed::all})
    EXPECT_EQ(parse_missed(to_string(each)), each);
  for (const Overlap each : {Overlap::allow, Overlap::skip, Overlap::queue}) {
    EXPECT_EQ(parse_overlap(to_string(each)), each);
  }
  for (const Gap each : {Gap::skip, Gap::before, Gap::after}) EXPECT_EQ(parse_gap(to_string(each)), each);
  for (const Fold each : {Fold::first, Fold::last, Fold::both}) EXPECT_EQ(parse_fold(to_string(each)), each);
  EXPECT_EQ(to_string(Gap::before), "before");
  EXPECT_EQ(to_string(Missed::all), "all");
  EXPECT_FALSE(parse_fold("second"));
}

// ---- What is refused ----

TEST(ScheduleCheck, SaysWhatWouldBeRight) {
  EXPECT_NO_THROW(check(hourly(), Capabilities{}));
  Schedule schedule = hourly();
  schedule.id = "";
  EXPECT_EQ(refusal_of(schedule), "the schedule's id is empty; give it a name such as \"mail\"");
  schedule = hourly();
  schedule.jitter = 25h;
  EXPECT_EQ(refusal_of(schedule), "schedule \"report\": jitter must be from zero to 24 hours");
  schedule = hourly();
  schedule.options.id = "x";
  EXPECT_EQ(refusal_of(schedule), "schedule \"report\": options.id must be empty: each firing is a new task");
  schedule = hourly();
  schedule.options.run_at = midnight;
  EXPECT_EQ(refusal_of(schedule), "schedule \"report\": options.run_at must be empty: the spec says when");
  schedule = hourly();
  schedule.overlap = Overlap::skip;
  schedule.options.unique = Unique{};
  EXPECT_EQ(refusal_of(schedule),
            "schedule \"report\": options.unique must be empty, as overlap \"skip\" needs a key of its own");
  schedule = hourly();
  schedule.kind = "";
  EXPECT_EQ(refusal_of(schedule), "the kind is empty; give it a name such as \"mail\"");
  schedule = hourly();
  schedule.spec = "61 * * * *";
  EXPECT_NE(refusal_of(schedule), "");
  schedule = hourly();
  schedule.spec = "0 0 30 2 *";
  EXPECT_EQ(refusal_of(schedule),
            "\"0 0 30 2 *\" never fires, as its months have no such day; L is a month's last day");
  schedule.spec = "0 0 29 2 *";
  EXPECT_NO_THROW(check(schedule, Capabilities{}));
  schedule = hourly();
  schedule.zone = "Europe/Atlantis";
  EXPECT_NE(refusal_of(schedule), "");
}

// ---- When ----

TEST(SchedulePreview, NamesTheNextInstantsWithoutJitter) {
  Schedule schedule = hourly();
  schedule.jitter = 10min;
  EXPECT_EQ(preview(schedule, midnight, 3),
            (std::vector<TimePoint>{midnight + 1h, midnight + 2h, midnight + 3h}));
  schedule.spec = "0 0 30 2 *";
  EXPECT_TRUE(preview(schedule, midnight, 3).empty());
  schedule.spec = "nonsense";
  EXPECT_NE(refusal([&] { preview(schedule, midnight, 3); }), "");
}

// Why: schedulers on different machines must agree. The numbers below were computed once and must never
// change.
TEST(ScheduleJitter, IsTheSameOnEveryMachineAndBelowItsMost) {
  Schedule schedule = hourly();
  EXPECT_EQ(ScheduleRule{schedule}.due(midnight), midnight);
  schedule.jitter = 10min;
  const ScheduleRule rule{schedule};
  EXPECT_EQ((rule.due(midnight) - midnight).count(), 198032116);
  EXPECT_EQ((rule.due(midnight + 1h) - midnight - 1h).count(), 472896700);
  Duration least = 10min;
  Duration most{};
  for (int i = 0; i < 1000; ++i) {
    const Duration late = rule.due(midnight + i * 1h) - (midnight + i * 1h);
    least = std::min(least, late);
    most = std::max(most, late);
  }
  EXPECT_GE(least, 0s);
  EXPECT_LT(most, 10min);
  EXPECT_LT(least, 30s) << "it uses all of its range";
  EXPECT_GT(most, 9min + 30s);
  schedule.id = "other";
  EXPECT_NE(ScheduleRule{schedule}.due(midnight), rule.due(midnight));
}

ScheduleRule rule_of(Missed missed, std::string spec = "0 * * * *", Overlap overlap = Overlap::allow) {
  Schedule schedule = hourly();
  schedule.spec = std::move(spec);
  schedule.missed = missed;
  schedule.overlap = overlap;
  return ScheduleRule{schedule};
}

constexpr std::initializer_list<Missed> policies = {Missed::skip, Missed::once, Missed::all};

TEST(SchedulePlan, NothingFiresEarly) {
  for (const Missed missed : policies) {
    const Plan plan = rule_of(missed).plan(midnight, midnight - 1us);
    EXPECT_TRUE(plan.shots.empty());
    EXPECT_FALSE(plan.skip_to);
    EXPECT_EQ(plan.wake, midnight);
  }
}

TEST(SchedulePlan, AnInstantOnTimeFiresOnce) {
  for (const Missed missed : policies) {
    const Plan plan = rule_of(missed).plan(midnight, midnight);
    EXPECT_EQ(plan.shots, (std::vector<Shot>{{midnight, midnight + 1h}}));
    EXPECT_EQ(plan.wake, midnight + 1h);
  }
}

TEST(SchedulePlan, SkipGoesOnWithTheNextInstantToCome) {
  const Plan plan = rule_of(Missed::skip).plan(midnight, midnight + 5h + 30min);
  EXPECT_TRUE(plan.shots.empty());
  EXPECT_EQ(plan.skip_to, midnight + 6h);
  EXPECT_EQ(plan.wake, midnight + 6h);
}

TEST(SchedulePlan, SkipStillFiresWhatIsLessThanAMinuteLate) {
  const ScheduleRule rule = rule_of(Missed::skip);
  EXPECT_EQ(rule.plan(midnight, midnight + 1min - 1us).shots, (std::vector<Shot>{{midnight, midnight + 1h}}));
  EXPECT_TRUE(rule.plan(midnight, midnight + 1min).shots.empty());
  // Those before it are passed over in the same write.
  EXPECT_EQ(rule.plan(midnight, midnight + 3h + 10s).shots, (std::vector<Shot>{{midnight, midnight + 4h}}));
}

TEST(SchedulePlan, OnceFiresOnceForAll) {
  const Plan plan = rule_of(Missed::once).plan(midnight, midnight + 5h + 30min);
  EXPECT_EQ(plan.shots, (std::vector<Shot>{{midnight, midnight + 6h}}));
  EXPECT_EQ(plan.wake, midnight + 6h);
}

TEST(SchedulePlan, AllFiresEach) {
  const Plan plan = rule_of(Missed::all).plan(midnight, midnight + 2h + 30min);
  EXPECT_EQ(plan.shots,
            (std::vector<Shot>{
                {midnight, midnight + 1h}, {midnight + 1h, midnight + 2h}, {midnight + 2h, midnight + 3h}}));
}

// How: a second's schedule was down for a year, so that counting its instants one by one would take far too
// long.
TEST(SchedulePlan, AllFiresTheLastHundredAndSkipsOlderOnes) {
  const TimePoint now = midnight + 24h * 365;
  for (const char* spec : {"* * * * * *", "@every 1s"}) {
    const Plan plan = rule_of(Missed::all, spec).plan(midnight, now);
    ASSERT_EQ(plan.shots.size(), missed_max) << spec;
    EXPECT_EQ(plan.shots.front().instant, midnight);
    EXPECT_EQ(plan.shots.front().next, now - 98s);
    EXPECT_EQ(plan.shots.back(), (Shot{now, now + 1s}));
    EXPECT_EQ(plan.wake, now + 1s);
  }
}

TEST(SchedulePlan, ShotsFormAChainForTheStore) {
  const Plan plan = rule_of(Missed::all, "*/7 * * * *").plan(midnight, midnight + 6h);
  ASSERT_GT(plan.shots.size(), 50U);
  for (std::size_t i = 1; i < plan.shots.size(); ++i)
    EXPECT_EQ(plan.shots[i].instant, plan.shots[i - 1].next);
}

TEST(SchedulePlan, AnIntervalKeepsItsBeat) {
  const ScheduleRule rule = rule_of(Missed::once, "@every 90s");
  EXPECT_EQ(rule.plan(midnight, midnight + 10s).shots, (std::vector<Shot>{{midnight, midnight + 90s}}));
  EXPECT_EQ(rule.plan(midnight, midnight + 200s).shots, (std::vector<Shot>{{midnight, midnight + 270s}}));
  EXPECT_EQ(rule_of(Missed::skip, "@every 90s").plan(midnight, midnight + 1h + 65s).skip_to,
            midnight + 1h + 90s);
}

TEST(SchedulePlan, JitterMakesAnInstantLateAndLosesNone) {
  Schedule schedule = hourly();
  schedule.jitter = 50min;
  for (const Missed missed : policies) {
    schedule.missed = missed;
    const ScheduleRule rule{schedule};
    TimePoint next = midnight;
    for (int i = 0; i < 200; ++i) {
      const TimePoint due = rule.due(next);
      EXPECT_TRUE(rule.plan(next, due - 1us).shots.empty());
      EXPECT_EQ(rule.plan(next, due - 1us).wake, due);
      EXPECT_EQ(rule.plan(next, due).shots, (std::vector<Shot>{{next, next + 1h}}));
      // After a long pause, the first instant that is not due yet comes next, though its hour has begun.
      const Plan plan = rule.plan(next - 240h, due - 1us);
      EXPECT_EQ(plan.shots.empty() ? *plan.skip_to : plan.shots.back().next, next);
      next += 1h;
    }
  }
}

TEST(SchedulePlan, AScheduleWithoutAnotherInstantRestsForEver) {
  const ScheduleRule rule = rule_of(Missed::once, "0 0 30 2 *");
  EXPECT_EQ(rule.after(midnight), never);
  EXPECT_TRUE(rule.plan(never, midnight).shots.empty());
}

TEST(SchedulePlan, WhereTasksMustNotOverlapOneFiresAtATime) {
  const TimePoint now = midnight + 3h + 10s;
  for (const Missed missed : policies) {
    EXPECT_EQ(rule_of(missed, "0 * * * *", Overlap::skip).plan(midnight, now).shots,
              (std::vector<Shot>{{midnight, midnight + 4h}}));
  }
  EXPECT_EQ(rule_of(Missed::all, "0 * * * *", Overlap::queue).plan(midnight, now).shots,
            (std::vector<Shot>{{midnight, midnight + 1h}}))
      << "the others wait for their turn";
}

// Why: an instant that waits for the last task to end is not late by a fault of ours.
TEST(SchedulePlan, AWaitingInstantIsNotSkipped) {
  const ScheduleRule rule = rule_of(Missed::skip, "0 * * * *", Overlap::queue);
  EXPECT_EQ(rule.plan(midnight, midnight + 30min, true).shots,
            (std::vector<Shot>{{midnight, midnight + 1h}}));
  EXPECT_TRUE(rule.plan(midnight, midnight + 30min, false).shots.empty());
}

TEST(ScheduleTask, CarriesItsFiring) {
  const Shot shot{midnight, midnight + 1h};
  const Task plain = rule_of(Missed::once).task(shot, {});
  EXPECT_EQ(plain.kind, "report:make");
  EXPECT_FALSE(plain.unique);
  ASSERT_TRUE(plain.firing);
  EXPECT_EQ(plain.firing->schedule, "report");
  EXPECT_EQ(plain.firing->instant, midnight);
  EXPECT_EQ(plain.firing->next, midnight + 1h);
  EXPECT_FALSE(plain.firing->only_if_created);

  const Task skips = rule_of(Missed::once, "@daily", Overlap::skip).task(shot, {});
  EXPECT_EQ(skips.unique->key, "schedule:report");
  EXPECT_EQ(skips.unique->on_conflict, OnConflict::keep);
  EXPECT_FALSE(skips.firing->only_if_created);
  EXPECT_TRUE(rule_of(Missed::once, "@daily", Overlap::queue).task(shot, {}).firing->only_if_created);
  EXPECT_FALSE(rule_of(Missed::once).task({}, {}).firing);
}

// ---- Changes ----

TEST(ScheduleNext, StaysWhileTheTimesStay) {
  const ScheduleRule rule{hourly()};
  StoredSchedule stored{.id = "report", .rule = to_json(hourly()), .next = midnight + 3h, .last = midnight};
  EXPECT_EQ(next_of(rule, nullptr, midnight), midnight + 1h);
  EXPECT_EQ(next_of(rule, &stored, midnight + 10h), midnight + 3h);
  Schedule other = hourly();
  other.payload = "new";
  EXPECT_EQ(next_of(ScheduleRule{other}, &stored, midnight + 10h), midnight + 3h);
}

TEST(ScheduleNext, IsComputedAnewFromTheLastFiredWhenTheTimesChange) {
  StoredSchedule stored{.id = "report", .rule = to_json(hourly()), .next = midnight + 1h, .last = midnight};
  Schedule other = hourly();
  other.spec = "*/10 * * * *";
  EXPECT_EQ(next_of(ScheduleRule{other}, &stored, midnight + 25min), midnight + 10min);
  stored.last.reset();
  EXPECT_EQ(next_of(ScheduleRule{other}, &stored, midnight + 25min), midnight + 30min);
  other = hourly();
  other.zone = "Asia/Kolkata";
  EXPECT_EQ(next_of(ScheduleRule{other}, &stored, midnight), midnight + 30min);
}

TEST(ScheduleNext, IsComputedAnewWhenTheZoneDataIsAnotherVersion) {
  StoredSchedule stored{.id = "report", .rule = to_json(hourly()), .next = midnight + 7h, .last = midnight};
  const std::string version{time_zone_database_version()};
  const std::size_t at = stored.rule.find("\"" + version + "\"");
  ASSERT_NE(at, std::string::npos);
  stored.rule.replace(at, version.size() + 2, "\"1999z\"");
  EXPECT_EQ(next_of(ScheduleRule{hourly()}, &stored, midnight), midnight + 1h);
}

}  // namespace

}  // namespace tidemill
