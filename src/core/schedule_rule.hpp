#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/cron.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

std::optional<Missed> parse_missed(std::string_view name) noexcept;
std::optional<Overlap> parse_overlap(std::string_view name) noexcept;
std::optional<Fate> parse_fate(std::string_view name) noexcept;
std::optional<Gap> parse_gap(std::string_view name) noexcept;
std::optional<Fold> parse_fold(std::string_view name) noexcept;

// All there are, for those who list them.
inline constexpr std::array all_gaps = {Gap::skip, Gap::before, Gap::after};
inline constexpr std::array all_folds = {Fold::first, Fold::last, Fold::both};
inline constexpr std::array all_missed = {Missed::skip, Missed::once, Missed::all};
inline constexpr std::array all_overlaps = {Overlap::allow, Overlap::skip, Overlap::queue};

// ---- At rest

/// `StoredSchedule::rule`. It also names the version of the time-zone data that the next instant was computed
/// by.
std::string to_json(const Schedule& schedule);

struct StoredRule {
  Schedule schedule = {};
  std::string zone_data = {};
};
/// Unknown members are ignored and absent ones keep their default, so that old and new programs can share a
/// store. Throws Error{corrupt} that names the schedule and the member.
StoredRule parse_rule(const StoredSchedule& stored);

// ---- In time

/// How late an instant may be and still fires when missed ones are skipped.
inline constexpr Duration late_max = std::chrono::minutes{1};
/// How many missed instants fire when each of them should.
inline constexpr std::size_t missed_max = 100;
inline constexpr Duration jitter_max = std::chrono::hours{24};
/// The next instant of a schedule that has none.
inline constexpr TimePoint never{std::chrono::sys_days{std::chrono::year{9999} / 12 / 31}};

/// A firing to come: `instant` is what the store has as the schedule's next, and `next` is what follows it.
struct Shot {
  TimePoint instant{};
  TimePoint next{};
  friend bool operator==(const Shot&, const Shot&) = default;
};

/// What a schedule's time has come to.
struct Plan {
  std::vector<Shot> shots = {};  ///< To fire now, in order.
  /// Nothing fires and the next instant is this one: all before it were missed, and are to be skipped.
  std::optional<TimePoint> skip_to = {};
  TimePoint wake{};  ///< When there is something to do again.
};

/// A schedule that is right, with its spec read: says when its instants are, and what to do about them. Pure:
/// time comes in as a parameter. Immutable.
///
/// Thread safety: all members may be called from any thread.
class ScheduleRule {
 public:
  /// Throws Error{invalid} when spec or zone are not right.
  explicit ScheduleRule(Schedule schedule);

  const Schedule& schedule() const noexcept { return schedule_; }

  /// Of `@every`: its instants hang on when it began, and not on the calendar.
  bool is_interval() const noexcept { return period_ > Duration::zero(); }

  /// The first instant after `t`, or `never`.
  TimePoint after(TimePoint t) const;
  /// When an instant fires: later by a share of the jitter that hangs on schedule and instant alone, and is
  /// the same on every machine.
  TimePoint due(TimePoint instant) const;

  /// `next` is the stored one. `waiting`: it has been tried and waits for the last task to end (overlap:
  /// queue), so it isn't late by a fault of ours.
  Plan plan(TimePoint next, TimePoint now, bool waiting = false) const;

  /// The task of one firing, or with none of a firing by hand. Throws as `rules::admit`.
  Task task(const std::optional<Shot>& shot, const Capabilities& capabilities) const;

 private:
  TimePoint after(TimePoint t, TimePoint anchor) const;
  TimePoint first_not_due(TimePoint next, TimePoint from, TimePoint now) const;
  std::size_t count_due(TimePoint next, TimePoint from, TimePoint now) const;
  TimePoint oldest_to_fire(TimePoint next, TimePoint now) const;
  Plan fire_from(TimePoint next, TimePoint start, TimePoint now) const;

  Schedule schedule_;
  Cron cron_;
  Duration period_{};  ///< Of `@every`, else zero.
};

/// The id of a schedule that was given none: the same for the same spec, zone, kind, payload and queue.
std::string made_id(const Schedule& schedule);

/// Throws as Cron::parse, and CronError for a spec that never fires: "0 0 30 2 *".
void check_spec(const Schedule& schedule);
/// All that is wrong about a schedule, whatever store it is for.
std::vector<std::string> faults_of(const Schedule& schedule);
/// Before it is stored: throws Error{invalid} with the first of `faults_of`, or as `rules::admit`.
void check(const Schedule& schedule, const Capabilities& capabilities);

/// The next instant of a stored schedule whose rule becomes `rule`: as it is, unless something about its time
/// has changed; then the one after the last that fired, so that none is lost or comes twice. Without `stored`
/// it is the first to come.
TimePoint next_of(const ScheduleRule& rule, const StoredSchedule* stored, TimePoint now);

}  // namespace tidemill
