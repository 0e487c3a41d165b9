#pragma once

#include <optional>
#include <string>

#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>

#include "wire/json_read.hpp"

/// Acts on tasks, as requests name them: {"action":"move","params":{"queue":"bulk"}}.
namespace tidemill::wire {

/// What an act needs to know; most need nothing. A reschedule has one of the first two.
struct ActionParams {
  std::optional<TimePoint> run_at = {};
  std::optional<Duration> delay = {};  ///< From now.
  std::string queue = {};
};

/// Throws BadValue.
Act read_act(const JsonValue& value);
/// Throws BadValue.
ActionParams read_params(const JsonValue& value);
/// `now` is what a delay counts from. Throws BadValue, of a place below `pointer`, when the act lacks
/// something or is given what it has no use for.
Action to_action(Act act, const ActionParams& params, TimePoint now, const std::string& pointer);

/// `action`, and `params` if it has any.
void write_action_members(json::Writer& writer, const Action& action);

}  // namespace tidemill::wire
