#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tidemill/inspector.hpp>
#include <tidemill/router.hpp>

#include "server/service.hpp"
#include "wire/action_json.hpp"

namespace tidemill::server {

/// Tasks a second, of any plan.
inline constexpr std::int64_t rate_max = 1'000'000;

/// What is to be done, as it is asked for and as it is stored.
struct Plan {
  std::optional<Act> act = {};
  wire::ActionParams params = {};
  std::string q = {};
  std::vector<std::string> ids = {};
  std::string queue = {};  ///< Of the ids.
  std::int64_t rate = 0;   ///< Tasks a second; zero: as fast as it goes.
  std::string reason = {}, by = {};
  /// Of a backfill, which is no act: the schedule, and the instants from `from` to before `to`.
  bool backfill = false;
  std::string schedule = {};
  TimePoint from{}, to{};
  bool everything = false;
  bool dry_run = false;
};

/// Of a plan as it is stored: a delay has become a time.
Action action_of(const Plan& plan);
/// Throws wire::BadValue.
Plan read_plan(const wire::JsonValue& value);
void write_plan(json::Writer& writer, const Plan& plan);
/// Of a stored operation.
Plan plan_of(const Task& task);

/// How far it is, as its progress and its result say.
struct Counts {
  std::uint64_t changed = 0, skipped = 0;
  std::optional<TimePoint> done_to = {};  ///< Of a backfill: all before it is done.
};
Counts read_counts(std::string_view text);
std::string text_of(const Counts& counts);

/// Waits so long that `count` tasks take their share of the plan's rate. False when told to stop meanwhile.
bool keep_rate(Context& context, const Plan& plan, std::size_t count);
/// How many tasks to do between two looks at the rate.
std::size_t step_of(const Plan& plan);

}  // namespace tidemill::server
