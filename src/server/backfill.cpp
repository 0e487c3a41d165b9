// Makes up for instants of a schedule that are past. It is an operation as all others.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "server/operations.hpp"
#include "server/plan.hpp"

namespace tidemill::server {

namespace {

constexpr std::int64_t instants_max = 100'000;
constexpr std::size_t samples = 5;
/// After a kill so many are looked at again at most.
constexpr std::size_t batch = 100;

struct Body {
  std::optional<TimePoint> from = {}, to = {};
  std::size_t most = 1000;
  std::int64_t rate = 0;
  std::string reason = {};
  bool dry_run = false;
};

Body read_body(const wire::JsonValue& value) {
  using Member = wire::JsonMember<Body>;
  static constexpr std::array members = {
      Member{"from", [](Body& b, const wire::JsonValue& v) { b.from = v.time(); }},
      Member{"to", [](Body& b, const wire::JsonValue& v) { b.to = v.time(); }},
      Member{"max",
             [](Body& b, const wire::JsonValue& v) {
               b.most = static_cast<std::size_t>(v.integer(1, instants_max));
             }},
      Member{"rate_per_s", [](Body& b, const wire::JsonValue& v) { b.rate = v.integer(1, rate_max); }},
      Member{"reason", [](Body& b, const wire::JsonValue& v) { b.reason = v.text(); }},
      Member{"dry_run", [](Body& b, const wire::JsonValue& v) { b.dry_run = v.truth(); }},
  };
  Body body;
  wire::read_members<Body>(value, body, members);
  if (!body.from) throw wire::BadValue{"/from", "is missing"};
  if (!body.to) throw wire::BadValue{"/to", "is missing"};
  if (*body.from >= *body.to) throw wire::BadValue{"/to", "must be after from"};
  return body;
}

}  // namespace

http::Response Operations::backfill(const Ask& ask) {
  const auto document = ask.body();
  const Body body = read_body(document.root());
  const std::string& id = ask.path[0];
  const auto info = service_.inspector.schedule(id);
  if (!info) throw Problem{404, "not_found", fmt::format("there is no schedule \"{}\"", id)};
  ask.caller.check_tasks_of(info->schedule.options.queue);
  if (*body.to > service_.inspector.now())
    throw wire::BadValue{"/to", "is still to come; the schedule itself will fire then"};
  const auto instants = Inspector::schedule_instants(info->schedule, *body.from, *body.to, body.most + 1);
  const bool too_many = instants.size() > body.most;
  if (body.dry_run) {
    return json_answer(200, wire::object([&](json::Writer& writer) {
                         wire::member_object(writer, "estimate", [&] {
                           writer.member("n", std::min(instants.size(), body.most));
                           writer.member("exact", !too_many);
                         });
                         writer.key("instants");
                         wire::write_array(
                             writer, std::span{instants}.first(std::min(instants.size(), samples)),
                             [](json::Writer& out, TimePoint at) { out.write(wire::format_time(at)); });
                       }));
  }
  if (too_many) {
    throw wire::BadValue{
        "/to",
        fmt::format("has more than {} instants before it; take less time, or a larger max", body.most)};
  }
  const Plan plan{.queue = info->schedule.options.queue,
                  .rate = body.rate,
                  .reason = body.reason,
                  .by = ask.caller.name,
                  .backfill = true,
                  .schedule = id,
                  .from = *body.from,
                  .to = *body.to};
  return enqueue(ask, plan);
}

Outcome Operations::carry_out_backfill(Context& context) const {
  const Plan plan = plan_of(context.task());
  Counts counts = read_counts(context.task().progress);
  const auto info = service_.inspector.schedule(plan.schedule);
  if (!info) return Outcome::archive(fmt::format("schedule \"{}\" is no longer there", plan.schedule));
  const Pace pace{notes_, context.task().ref.id, plan};
  for (;;) {
    const auto instants = Inspector::schedule_instants(info->schedule, counts.done_to.value_or(plan.from),
                                                       plan.to, std::min(pace.step(), batch));
    if (instants.empty()) return Outcome::success(text_of(counts));
    const auto answers = service_.inspector.backfill_schedule(plan.schedule, instants);
    if (!answers) return Outcome::archive(fmt::format("schedule \"{}\" is no longer there", plan.schedule));
    for (const Enqueued& answer : *answers) {
      if (answer.put != Put::created && answer.put != Put::exists)
        return Outcome::failure(fmt::format("a task could not be enqueued: {}", answer.why));
      ++(answer.put == Put::created ? counts.changed : counts.skipped);
    }
    counts.done_to = instants.back() + Duration{1};
    context.progress(text_of(counts));
    if (context.stop_requested() || !pace.keep(context, instants.size()))
      return Outcome::failure("stopped before it was through");
  }
}

}  // namespace tidemill::server
