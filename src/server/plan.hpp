#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tidemill/inspector.hpp>
#include <tidemill/router.hpp>

#include "server/operation_notes.hpp"
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
  std::vector<Ref> refs = {};
  std::int64_t rate = 0;  ///< Tasks a second; zero: as fast as it goes.
  std::string reason = {}, by = {};
  /// Of a backfill, which is no act: the schedule, and the instants from `from` to before `to`.
  bool backfill = false;
  std::string schedule = {};
  TimePoint from{}, to{};
  bool everything = false;
  // Of a request alone.
  bool dry_run = false;
  std::optional<TimePoint> created_before = {};
  Duration start_after{};
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
  std::uint64_t failed = 0;               ///< Since it was last begun.
  std::optional<TimePoint> done_to = {};  ///< Of a backfill: all before it is done.
};
Counts read_counts(std::string_view text);
std::string text_of(const Counts& counts);

/// Keeps an operation to its rate, which may change while it runs.
class Pace {
 public:
  /// `notes` must outlive it.
  Pace(const OperationNotes& notes, std::string id, const Plan& plan)
      : notes_(notes), id_(std::move(id)), planned_(plan.rate) {}

  /// Waits so long that `count` tasks take their share. False when told to stop meanwhile.
  bool keep(Context& context, std::size_t count) const;
  /// How many tasks to do between two looks at the rate.
  std::size_t step() const;

 private:
  std::int64_t rate() const { return notes_.get(id_).rate.value_or(planned_); }

  const OperationNotes& notes_;
  const std::string id_;
  const std::int64_t planned_;
};

}  // namespace tidemill::server
