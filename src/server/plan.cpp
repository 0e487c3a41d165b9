#include "server/plan.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr std::int64_t ids_max = 1000;
constexpr std::size_t step_max = 500;
/// Somebody may have changed the rate.
constexpr Duration look_every = 1s;

using Member = wire::JsonMember<Plan>;
constexpr std::array members = {
    Member{"action",
           [](Plan& p, const wire::JsonValue& v) {
             p.backfill = v.is_text() && v.text() == "backfill";
             if (!p.backfill) p.act = wire::read_act(v);
           }},
    Member{"params", [](Plan& p, const wire::JsonValue& v) { p.params = wire::read_params(v); }},
    Member{"q", [](Plan& p, const wire::JsonValue& v) { p.q = v.text(); }},
    Member{"ids",
           [](Plan& p, const wire::JsonValue& v) {
             p.ids = v.texts();
             if (p.ids.size() > ids_max) v.refuse(fmt::format("has more than {} ids", ids_max));
           }},
    Member{"queue", [](Plan& p, const wire::JsonValue& v) { p.queue = v.text(); }},
    Member{"refs",
           [](Plan& p, const wire::JsonValue& v) {
             for (const wire::JsonValue& each : v.elements()) p.refs.push_back(wire::read_ref(each));
             if (p.refs.size() > ids_max) v.refuse(fmt::format("has more than {} tasks", ids_max));
           }},
    Member{"created_before", [](Plan& p, const wire::JsonValue& v) { p.created_before = v.time(); }},
    Member{"start_after_ms",
           [](Plan& p, const wire::JsonValue& v) {
             p.start_after = v.duration();
             if (p.start_after < Duration::zero()) v.refuse("must not be negative");
           }},
    Member{"rate_per_s", [](Plan& p, const wire::JsonValue& v) { p.rate = v.integer(1, rate_max); }},
    Member{"reason", [](Plan& p, const wire::JsonValue& v) { p.reason = v.text(); }},
    Member{"everything", [](Plan& p, const wire::JsonValue& v) { p.everything = v.truth(); }},
    Member{"dry_run", [](Plan& p, const wire::JsonValue& v) { p.dry_run = v.truth(); }},
    Member{"schedule", [](Plan& p, const wire::JsonValue& v) { p.schedule = v.text(); }},
    Member{"from", [](Plan& p, const wire::JsonValue& v) { p.from = v.time(); }},
    Member{"to", [](Plan& p, const wire::JsonValue& v) { p.to = v.time(); }},
    Member{"by", [](Plan& p, const wire::JsonValue& v) { p.by = v.text(); }},
};

/// Ends early when it is told to stop.
void pause(Context& context, Duration length) {
  std::mutex mutex;
  std::condition_variable_any wakes;
  std::unique_lock lock{mutex};
  wakes.wait_for(lock, context.stop_token(), length, [&] { return context.stop_requested(); });
}

}  // namespace

Plan read_plan(const wire::JsonValue& value) {
  Plan plan;
  wire::read_members<Plan>(value, plan, members);
  if (!plan.act && !plan.backfill) throw wire::BadValue{value.pointer() + "/action", "is missing"};
  return plan;
}

Action action_of(const Plan& plan) { return wire::to_action(*plan.act, plan.params, {}, "/params"); }

void write_plan(json::Writer& writer, const Plan& plan) {
  if (!plan.backfill) {
    wire::write_action_members(writer, action_of(plan));
  } else {
    writer.member("action", "backfill");
    writer.member("schedule", plan.schedule);
    wire::member_time(writer, "from", plan.from);
    wire::member_time(writer, "to", plan.to);
  }
  wire::member_text(writer, "q", plan.q);
  if (!plan.ids.empty()) writer.member("ids", plan.ids);
  wire::member_text(writer, "queue", plan.queue);
  if (!plan.refs.empty()) {
    writer.key("refs");
    wire::write_array(writer, plan.refs, wire::write_ref);
  }
  if (plan.rate > 0) writer.member("rate_per_s", plan.rate);
  wire::member_text(writer, "reason", plan.reason);
  if (plan.everything) writer.member("everything", true);
  writer.member("by", plan.by);
}

Counts read_counts(std::string_view text) {
  using CountMember = wire::JsonMember<Counts>;
  static constexpr std::array counts = {
      CountMember{"changed",
                  [](Counts& c, const wire::JsonValue& v) {
                    c.changed = static_cast<std::uint64_t>(v.integer(0, INT64_MAX));
                  }},
      CountMember{"skipped",
                  [](Counts& c, const wire::JsonValue& v) {
                    c.skipped = static_cast<std::uint64_t>(v.integer(0, INT64_MAX));
                  }},
      CountMember{"failed",
                  [](Counts& c, const wire::JsonValue& v) {
                    c.failed = static_cast<std::uint64_t>(v.integer(0, INT64_MAX));
                  }},
      CountMember{"done_to", [](Counts& c, const wire::JsonValue& v) { c.done_to = v.time(); }},
  };
  Counts found;
  if (text.empty()) return found;
  const wire::JsonDocument document{text};
  wire::read_members<Counts>(document.root(), found, counts);
  return found;
}

std::string text_of(const Counts& counts) {
  return wire::object([&](json::Writer& writer) {
    writer.member("changed", counts.changed);
    writer.member("skipped", counts.skipped);
    writer.member("failed", counts.failed);
    wire::member_time(writer, "done_to", counts.done_to);
  });
}

Plan plan_of(const Task& task) {
  const wire::JsonDocument document{task.payload};
  return read_plan(document.root());
}

std::size_t Pace::step() const {
  const std::int64_t now = rate();
  return now == 0 ? step_max : std::clamp<std::size_t>(static_cast<std::size_t>(now) / 4, 1, step_max);
}

bool Pace::keep(Context& context, std::size_t count) const {
  const auto begin = std::chrono::steady_clock::now();
  while (!context.stop_requested()) {
    const std::int64_t now = rate();
    if (now == 0) return true;
    const auto end = begin + Duration{1s} * static_cast<std::int64_t>(count) / now;
    const auto left = std::chrono::ceil<Duration>(end - std::chrono::steady_clock::now());
    if (left <= Duration::zero()) return true;
    pause(context, std::min<Duration>(left, look_every));
  }
  return false;
}

}  // namespace tidemill::server
