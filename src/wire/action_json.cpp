#include "wire/action_json.hpp"

#include <array>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "wire/json_write.hpp"

namespace tidemill::wire {

namespace {

using Member = JsonMember<ActionParams>;
constexpr std::array members = {
    Member{"run_at", [](ActionParams& p, const JsonValue& v) { p.run_at = v.time(); }},
    Member{"delay", [](ActionParams& p, const JsonValue& v) { p.delay = v.duration(); }},
    Member{"queue", [](ActionParams& p, const JsonValue& v) { p.queue = v.text(); }},
};

}  // namespace

Act read_act(const JsonValue& value) { return value.name<Act>("action", rules::acts()); }

ActionParams read_params(const JsonValue& value) {
  if (!value.is_object()) value.refuse(R"(must be an object such as {"delay":"5m"} or {"queue":"bulk"})");
  ActionParams params;
  read_members<ActionParams>(value, params, members);
  return params;
}

Action to_action(Act act, const ActionParams& params, TimePoint now, const std::string& pointer) {
  const auto refuse = [&](std::string_view name, std::string why) {
    throw BadValue{fmt::format("{}/{}", pointer, name), std::move(why)};
  };
  const bool timed = params.run_at || params.delay;
  if (timed && act != Act::reschedule) {
    refuse(params.run_at ? "run_at" : "delay", fmt::format("{} takes no time", to_string(act)));
  }
  if (!params.queue.empty() && act != Act::move)
    refuse("queue", fmt::format("{} takes no queue", to_string(act)));
  if (act == Act::reschedule) {
    if (!timed) refuse("run_at", "is missing; give the time when the task is due, or a delay");
    if (params.run_at && params.delay) refuse("delay", "there is run_at as well; give one of them");
    if (params.delay && *params.delay < Duration::zero()) refuse("delay", "is negative");
    return Action::reschedule(params.run_at.value_or(now + params.delay.value_or(Duration::zero())));
  }
  if (act != Act::move) return act;
  if (params.queue.empty()) refuse("queue", "is missing; give the queue that the task goes to");
  try {
    rules::check_queue_name(params.queue);
  } catch (const Error& error) {
    refuse("queue", error.what());
  }
  return Action::move(params.queue);
}

void write_action_members(json::Writer& writer, const Action& action) {
  writer.member("action", to_string(action.act));
  if (!action.run_at && action.queue.empty()) return;
  member_object(writer, "params", [&] {
    member_time(writer, "run_at", action.run_at);
    member_text(writer, "queue", action.queue);
  });
}

}  // namespace tidemill::wire
