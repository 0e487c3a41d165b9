#include <algorithm>

#include <fmt/format.h>

#include "core/schedule_rule.hpp"
#include "server/idempotency.hpp"
#include "server/service.hpp"
#include "wire/admin_json.hpp"
#include "wire/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

constexpr std::string_view example =
    R"({"id":"nightly","spec":"0 3 * * *","zone":"Europe/Berlin","missed":"once","overlap":"skip",)"
    R"("task":{"kind":"report:build","queue":"reports","payload":{"days":1}}})";
constexpr std::size_t preview_max = 50;

ScheduleInfo get_schedule(const Service& service, const std::string& id) {
  auto found = service.inspector.schedule(id);
  if (!found) throw Problem{404, "not_found", fmt::format("there is no schedule \"{}\"", id)};
  return std::move(*found);
}

http::Response show(const Service& service, const Ask& ask, const std::string& id, int status) {
  const ScheduleInfo info = get_schedule(service, id);
  ask.caller.check_queue(info.schedule.options.queue);
  return json_answer(status,
                     wire::object([&](json::Writer& writer) { wire::write_schedule_members(writer, info); }));
}

http::Response put(Service& service, const Ask& ask, const std::string& id) {
  const auto document = ask.body();
  Schedule schedule = wire::read_schedule(document.root());
  if (!id.empty() && !schedule.id.empty() && schedule.id != id)
    throw wire::BadValue{"/id", fmt::format("is another one than in the path, which is \"{}\"", id)};
  if (!id.empty()) schedule.id = id;
  if (schedule.id.empty()) throw wire::BadValue{"/id", "is missing"};
  ask.caller.check_tasks_of(schedule.options.queue);
  const auto before = service.inspector.schedule(schedule.id);
  if (before) ask.caller.check_queue(before->schedule.options.queue);
  const bool there = before.has_value();
  if (there && id.empty()) {
    throw Problem{409, "conflict",
                  fmt::format("there is a schedule \"{0}\"; change it with PUT {1}/schedules/{0}",
                              schedule.id, prefix)};
  }
  service.inspector.put_schedule(schedule);
  http::Response response = show(service, ask, schedule.id, there ? 200 : 201);
  if (!there) response.headers.emplace_back("Location", fmt::format("{}/schedules/{}", prefix, schedule.id));
  return response;
}

/// All schedules of an owner become those that are sent.
http::Response sync(Service& service, const Ask& ask) {
  const std::string owner{ask.parameter("owner")};
  if (owner.empty()) throw Problem{400, "invalid", "say whose schedules these are: ?owner=code:billing"};
  const auto document = ask.body();
  std::vector<Schedule> schedules;
  for (const wire::JsonValue& each : document.root().elements()) {
    schedules.push_back(wire::read_schedule(each));
    if (schedules.back().id.empty()) throw wire::BadValue{each.pointer() + "/id", "is missing"};
    ask.caller.check_tasks_of(schedules.back().options.queue);
  }
  for (const ScheduleInfo& each : service.inspector.schedules()) {
    if (each.owner == owner) ask.caller.check_queue(each.schedule.options.queue);
  }
  const std::size_t changed = service.inspector.sync_schedules(owner, schedules);
  return json_answer(200, wire::object([&](json::Writer& writer) { writer.member("changed", changed); }));
}

http::Response fire(Service& service, const Ask& ask) {
  const ScheduleInfo info = get_schedule(service, ask.path[0]);
  ask.caller.check_queue(info.schedule.options.queue);
  const auto made = service.inspector.fire_schedule(ask.path[0]);
  if (!made) throw Problem{404, "not_found", fmt::format("there is no schedule \"{}\"", ask.path[0])};
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("id", made->id);
                       writer.member("created", made->put == Put::created);
                     }));
}

struct Preview {
  Schedule schedule = {};
  TimePoint from{};
  std::size_t count = 10;
};

http::Response preview_of(Service& service, const Ask& ask) {
  using Member = wire::JsonMember<Preview>;
  static constexpr std::array members = {
      Member{"spec", [](Preview& p, const wire::JsonValue& v) { p.schedule.spec = v.text(); }},
      Member{"zone", [](Preview& p, const wire::JsonValue& v) { p.schedule.zone = v.text(); }},
      Member{"gap",
             [](Preview& p, const wire::JsonValue& v) { p.schedule.gap = v.name<Gap>("gap", all_gaps); }},
      Member{"fold",
             [](Preview& p, const wire::JsonValue& v) { p.schedule.fold = v.name<Fold>("fold", all_folds); }},
      Member{"from", [](Preview& p, const wire::JsonValue& v) { p.from = v.time(); }},
      Member{"count",
             [](Preview& p, const wire::JsonValue& v) {
               p.count = static_cast<std::size_t>(v.integer(1, preview_max));
             }},
  };
  const auto document = ask.body();
  Preview wanted{.from = service.inspector.now()};
  wire::read_members<Preview>(document.root(), wanted, members);
  if (wanted.schedule.spec.empty()) throw wire::BadValue{"/spec", "is missing"};
  wanted.schedule.id = "preview";
  wanted.schedule.kind = "preview";
  try {
    const auto instants = preview(wanted.schedule, wanted.from, wanted.count);
    return json_answer(200, wire::object([&](json::Writer& writer) {
                         writer.key("fires");
                         wire::write_array(writer, instants, [](json::Writer& out, TimePoint at) {
                           out.open('{');
                           wire::member_time(out, "at", at);
                           out.close('}');
                         });
                       }));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    throw Problem{422, "bad_cron", error.what()};
  }
}

http::Response set_paused(Service& service, const Ask& ask, bool paused) {
  ask.caller.check_queue(get_schedule(service, ask.path[0]).schedule.options.queue);
  service.inspector.pause_schedule(ask.path[0], paused);
  return show(service, ask, ask.path[0], 200);
}

http::Response erase(Service& service, const Ask& ask) {
  ask.caller.check_queue(get_schedule(service, ask.path[0]).schedule.options.queue);
  service.inspector.erase_schedule(ask.path[0]);
  return nothing();
}

void add_single_routes(Routes& routes, Service& service) {
  const std::string one = "/api/v1/schedules/{id}";
  routes.add({.method = "GET",
              .pattern = one,
              .summary = "A schedule",
              .roles = viewers,
              .handle = [&service](const Ask& ask) { return show(service, ask, ask.path[0], 200); }});
  routes.add({.method = "PUT",
              .pattern = one,
              .summary = "Make or change a schedule",
              .roles = operators,
              .body = std::string{example},
              .handle = [&service](const Ask& ask) { return put(service, ask, ask.path[0]); }});
  routes.add({.method = "DELETE",
              .pattern = one,
              .summary = "Delete a schedule; its tasks stay",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return erase(service, ask); }});
  routes.add({.method = "POST",
              .pattern = one + "/pause",
              .summary = "The schedule fires no more until it is resumed",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return set_paused(service, ask, true); }});
  routes.add({.method = "POST",
              .pattern = one + "/resume",
              .summary = "The schedule fires again",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return set_paused(service, ask, false); }});
  routes.add({.method = "POST",
              .pattern = one + "/run",
              .summary = "Enqueue the schedule's task now, besides its instants",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return fire(service, ask); }});
}

}  // namespace

void add_schedule_routes(Routes& routes, Service& service) {
  const auto idempotency = std::make_shared<Idempotency>(service);
  routes.add({.method = "GET",
              .pattern = "/api/v1/schedules",
              .summary = "All schedules",
              .roles = viewers,
              .handle = [&service](const Ask& ask) {
                auto all = service.inspector.schedules();
                std::erase_if(all, [&](const ScheduleInfo& each) {
                  return !ask.caller.may_use(each.schedule.options.queue);
                });
                return json_answer(200, list_of(all, wire::write_schedule));
              }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/schedules",
              .summary = "Make a schedule",
              .roles = operators,
              .body = std::string{example},
              .handle = [&service, idempotency](const Ask& ask) {
                return idempotency->run(ask, [&](const std::string&) { return put(service, ask, ""); });
              }});
  routes.add({.method = "PUT",
              .pattern = "/api/v1/schedules",
              .summary = "All schedules of an owner become these; others of that owner are deleted",
              .roles = operators,
              .parameters = {"owner"},
              .body = fmt::format("[{}]", example),
              .handle = [&service](const Ask& ask) { return sync(service, ask); }});
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/schedules/preview",
       .summary = "When a schedule would fire",
       .roles = viewers,
       .body = R"({"spec":"30 2 * * *","zone":"Europe/Berlin","from":"2027-03-26T00:00:00Z","count":3})",
       .handle = [&service](const Ask& ask) { return preview_of(service, ask); }});
  add_single_routes(routes, service);
}

}  // namespace tidemill::server
