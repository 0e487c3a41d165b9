#include "core/schedule_rule.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/digest.hpp"
#include "core/rules.hpp"

namespace tidemill {

namespace {

constexpr Duration tick{1};

Cron parse_spec(const Schedule& schedule) {
  return Cron::parse(schedule.spec, {.zone = schedule.zone, .gap = schedule.gap, .fold = schedule.fold});
}

/// FNV-1a, then the finisher of splitmix64: the same on every platform, and near instants lie far apart.
std::uint64_t hash(std::string_view id, TimePoint instant) {
  std::uint64_t value = fnv1a(id);
  value += static_cast<std::uint64_t>(instant.time_since_epoch().count()) * 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

}  // namespace

ScheduleRule::ScheduleRule(Schedule schedule) : schedule_(std::move(schedule)), cron_(parse_spec(schedule_)) {
  if (schedule_.spec.find("@every") == std::string::npos) return;
  period_ = cron_.next(TimePoint{}).value_or(TimePoint{}) - TimePoint{};
}

TimePoint ScheduleRule::after(TimePoint t) const { return cron_.next(t).value_or(never); }

/// As `after`, but an interval keeps its beat: `anchor` is one of its instants.
TimePoint ScheduleRule::after(TimePoint t, TimePoint anchor) const {
  if (period_ <= Duration::zero()) return after(t);
  if (t < anchor) return anchor;
  return anchor + ((t - anchor) / period_ + 1) * period_;
}

TimePoint ScheduleRule::due(TimePoint instant) const {
  if (schedule_.jitter <= Duration::zero()) return instant;
  const double share = static_cast<double>(hash(schedule_.id, instant) >> 11U) * 0x1.0p-53;
  return instant +
         Duration{static_cast<Duration::rep>(static_cast<double>(schedule_.jitter.count()) * share)};
}

/// The first instant after `from` that is not due yet at `now`.
TimePoint ScheduleRule::first_not_due(TimePoint next, TimePoint from, TimePoint now) const {
  TimePoint t = after(std::max(from, now - schedule_.jitter), next);
  while (due(t) <= now) t = after(t, next);
  return t;
}

/// How many instants from `from` on are due, counted up to one more than are of interest.
std::size_t ScheduleRule::count_due(TimePoint next, TimePoint from, TimePoint now) const {
  std::size_t count = 0;
  for (TimePoint t = from; due(t) <= now && count <= missed_max; t = after(t, next)) ++count;
  return count;
}

/// Where the newest `missed_max` due instants begin. Found by halving, as there may be millions.
TimePoint ScheduleRule::oldest_to_fire(TimePoint next, TimePoint now) const {
  if (count_due(next, next, now) <= missed_max) return next;
  TimePoint too_early = next;
  TimePoint late_enough = now;
  while (late_enough - too_early > tick) {
    const TimePoint middle = too_early + (late_enough - too_early) / 2;
    (count_due(next, after(middle, next), now) > missed_max ? too_early : late_enough) = middle;
  }
  return after(late_enough, next);
}

/// Fires all due instants from `start` on. Those between `next` and `start` are passed over in the same
/// write.
Plan ScheduleRule::fire_from(TimePoint next, TimePoint start, TimePoint now) const {
  Plan plan;
  TimePoint stored = next;
  TimePoint t = start;
  while (due(t) <= now && plan.shots.size() < missed_max) {
    t = after(t, next);
    plan.shots.push_back({stored, t});
    stored = t;
  }
  if (plan.shots.empty()) plan.skip_to = t;
  plan.wake = due(t);
  return plan;
}

Plan ScheduleRule::plan(TimePoint next, TimePoint now, bool waiting) const {
  if (due(next) > now) return {{}, {}, due(next)};
  const bool fresh = waiting || due(next) > now - late_max;
  Plan plan;
  switch (schedule_.missed) {
    case Missed::once: {
      const TimePoint following = first_not_due(next, next, now);
      return {{{next, following}}, {}, due(following)};
    }
    case Missed::skip:
      plan = fire_from(next, fresh ? next : first_not_due(next, next, now - late_max), now);
      break;
    case Missed::all:
      plan = fire_from(next, oldest_to_fire(next, now), now);
      break;
  }
  if (plan.shots.size() <= 1 || schedule_.overlap == Overlap::allow) return plan;
  // The first one's task would stand in the others' way.
  if (schedule_.overlap == Overlap::queue && schedule_.missed == Missed::all) {
    plan.shots.resize(1);
  } else {
    plan.shots = {{next, plan.shots.back().next}};
  }
  plan.wake = due(plan.shots.back().next);
  return plan;
}

Task ScheduleRule::task(const std::optional<Shot>& shot, const Capabilities& capabilities) const {
  EnqueueOptions options = schedule_.options;
  if (schedule_.overlap != Overlap::allow)
    options.unique = Unique{.key = fmt::format("schedule:{}", schedule_.id)};
  Task task = rules::admit(schedule_.kind, schedule_.payload, options, capabilities);
  if (shot) {
    task.firing = Firing{.schedule = schedule_.id,
                         .instant = shot->instant,
                         .next = shot->next,
                         .only_if_created = schedule_.overlap == Overlap::queue};
  }
  return task;
}

std::string made_id(const Schedule& schedule) {
  constexpr std::size_t digits = 32;
  std::string text;
  for (const std::string_view part :
       {std::string_view{schedule.spec}, std::string_view{schedule.zone}, std::string_view{schedule.kind},
        std::string_view{schedule.payload}, std::string_view{schedule.options.queue}}) {
    // Its length before it, so that no two lists of parts read alike.
    text += fmt::format("{}:", part.size());
    text += part;
  }
  return sha256_hex(text).substr(0, digits);
}

void check_spec(const Schedule& schedule) {
  const Cron cron = parse_spec(schedule);
  // A spec names no year: what does not come within ten of them never comes.
  if (cron.next(TimePoint{})) return;
  throw CronError{1,
                  fmt::format("\"{}\" never fires, as its months have no such day; L is a month's last day",
                              schedule.spec)};
}

std::vector<std::string> faults_of(const Schedule& schedule) {
  std::vector<std::string> faults;
  const auto own = [&](std::string_view why) {
    faults.push_back(fmt::format("schedule \"{}\": {}", schedule.id, why));
  };
  const auto part = [&](const auto& check_it) {
    try {
      check_it();
    } catch (const Error& error) {  // Its own words say which part of the schedule it is.
      faults.emplace_back(error.what());
    }
  };
  part([&] { rules::check_name("schedule's id", schedule.id); });
  if (schedule.jitter < Duration::zero() || schedule.jitter > jitter_max)
    own("jitter must be from zero to 24 hours");
  if (!schedule.options.id.empty()) own("options.id must be empty: each firing is a new task");
  if (schedule.options.run_at) own("options.run_at must be empty: the spec says when");
  if (schedule.options.unique && schedule.overlap != Overlap::allow) {
    own(fmt::format("options.unique must be empty, as overlap \"{}\" needs a key of its own",
                    to_string(schedule.overlap)));
  }
  part([&] { check_spec(schedule); });
  for (std::string& fault : rules::faults_of(schedule.kind, schedule.options))
    faults.push_back(std::move(fault));
  return faults;
}

void check(const Schedule& schedule, const Capabilities& capabilities) {
  if (const auto faults = faults_of(schedule); !faults.empty())
    throw Error{ErrorKind::invalid, faults.front()};
  ScheduleRule{schedule}.task({}, capabilities);
}

TimePoint next_of(const ScheduleRule& rule, const StoredSchedule* stored, TimePoint now) {
  if (stored == nullptr) return rule.after(now);
  const auto timing = [](const Schedule& s) { return std::tie(s.spec, s.zone, s.gap, s.fold); };
  try {
    const StoredRule before = parse_rule(*stored);
    const bool same_zones = before.zone_data == time_zone_database_version();
    if (same_zones && timing(before.schedule) == timing(rule.schedule())) return stored->next;
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): a rule that can't be read is another one.
  }
  return rule.after(stored->last.value_or(now));
}

std::vector<TimePoint> preview(const Schedule& schedule, TimePoint after, std::size_t count) {
  const ScheduleRule rule{schedule};
  std::vector<TimePoint> instants;
  for (TimePoint t = rule.after(after); t != never && instants.size() < count; t = rule.after(t))
    instants.push_back(t);
  return instants;
}

}  // namespace tidemill
