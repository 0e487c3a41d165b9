#include <algorithm>
#include <memory>
#include <mutex>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/cron_text.hpp"
#include "core/schedule_rule.hpp"
#include "core/time_zone.hpp"
#include "server/etag.hpp"
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

struct Schedules {
  explicit Schedules(Service& s) : service(s), idempotency(s) {}

  Service& service;
  Idempotency idempotency;
  /// Held from the look at what If-Match is about to the write. Another server may still come between.
  std::mutex writing;
};
using Shared = std::shared_ptr<Schedules>;

ScheduleInfo get_schedule(const Service& service, const std::string& id) {
  auto found = service.inspector.schedule(id);
  if (!found) throw Problem{404, "not_found", fmt::format("there is no schedule \"{}\"", id)};
  return std::move(*found);
}

/// Of what people and programs change: not of the instants, which move on by themselves.
std::string tag_of(const ScheduleInfo& info) {
  return etag_of(fmt::format("{}\n{}\n{}", to_json(info.schedule), info.owner, info.paused));
}

/// What became of an instant, and of its task.
struct Firing {
  FiringInfo info = {};
  std::optional<Task> task = {};  ///< If it is still there.
};

/// A schedule with what it has done of late, the newest first; nothing where the store can't tell.
struct Shown {
  ScheduleInfo info = {};
  std::vector<FiringInfo> past = {};
  std::optional<Firing> last = {};  ///< The one of the last instant.
};

void find_tasks(const Service& service, std::span<const std::string> queues, std::span<Firing> firings) {
  std::vector<Ref> refs;
  for (std::size_t i = 0; i < firings.size(); ++i) refs.push_back({queues[i], firings[i].info.task});
  auto tasks = service.inspector.tasks(refs);
  for (std::size_t i = 0; i < firings.size(); ++i) firings[i].task = std::move(tasks[i]);
}

std::vector<Shown> with_past(const Service& service, std::vector<ScheduleInfo> infos) {
  std::vector<Shown> shown;
  std::vector<std::string> ids;
  for (ScheduleInfo& info : infos) {
    ids.push_back(info.schedule.id);
    shown.push_back({std::move(info)});
  }
  if (!service.store.capabilities().has(Feature::documents)) return shown;
  auto pasts = service.inspector.schedule_firings(ids);
  std::vector<std::string> queues;
  std::vector<Firing> lasts;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    shown[i].past = std::move(pasts[i]);
    if (shown[i].past.empty()) continue;
    queues.push_back(shown[i].info.schedule.options.queue);
    lasts.push_back({shown[i].past.front()});
  }
  find_tasks(service, queues, lasts);
  std::size_t at = 0;
  for (Shown& each : shown) {
    if (!each.past.empty()) each.last = std::move(lasts[at++]);
  }
  return shown;
}

void write_firing(json::Writer& writer, const Firing& firing) {
  writer.open('{');
  wire::member_time(writer, "instant", firing.info.instant);
  wire::member_time(writer, "fired_at", firing.info.fired_at);
  writer.member("outcome", to_string(firing.info.fate));
  if (!firing.info.task.empty()) writer.member("task_id", firing.info.task);
  if (firing.task) writer.member("state", to_string(firing.task->state));
  if (!firing.info.why.empty()) writer.member("why", firing.info.why);
  writer.close('}');
}

void write_shown(json::Writer& writer, const Shown& shown) {
  writer.open('{');
  wire::write_schedule_members(writer, shown.info);
  writer.member("text", describe(shown.info.schedule));
  if (shown.last) {
    writer.key("last");
    write_firing(writer, *shown.last);
  }
  writer.key("strip");
  wire::write_array(writer, shown.past,
                    [](json::Writer& out, const FiringInfo& each) { out.write(to_string(each.fate)); });
  writer.member("etag", tag_of(shown.info));
  writer.close('}');
}

http::Response list_firings(const Service& service, const Ask& ask) {
  const ScheduleInfo info = get_schedule(service, ask.path[0]);
  ask.caller.check_queue(info.schedule.options.queue);
  std::vector<Firing> firings;
  const auto all = service.inspector.schedule_firings({&info.schedule.id, 1});
  for (const FiringInfo& each : all.front()) firings.push_back({each});
  const std::vector<std::string> queues(firings.size(), info.schedule.options.queue);
  find_tasks(service, queues, firings);
  return json_answer(200, list_of(firings, write_firing));
}

http::Response show(const Service& service, const Ask& ask, const std::string& id, int status) {
  const ScheduleInfo info = get_schedule(service, id);
  ask.caller.check_queue(info.schedule.options.queue);
  std::string text;
  json::Writer writer{text};
  write_shown(writer, with_past(service, {info}).front());
  return tagged_answer(status, std::move(text), tag_of(info));
}

/// The schedule that the path names, if the caller may change it and has seen it as it is.
ScheduleInfo get_for_change(const Service& service, const Ask& ask) {
  ScheduleInfo info = get_schedule(service, ask.path[0]);
  ask.caller.check_queue(info.schedule.options.queue);
  check_if_match(ask, tag_of(info));
  return info;
}

/// Refuses a spec that does not read, with the column, and a zone that there is not. `pointer`: to the
/// schedule.
template <class Check>
void check_spec(const Check& check_it, const std::string& pointer = {}) {
  try {
    check_it();
  } catch (const CronError& error) {
    Problem problem{422, "bad_cron", error.what(), {{pointer + "/spec", error.what()}}};
    problem.column = error.column();
    throw problem;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    throw Problem{422, "unknown_zone", error.what(), {{pointer + "/zone", error.what()}}};
  }
}

http::Response put(Schedules& schedules, const Ask& ask, const std::string& id) {
  Service& service = schedules.service;
  const auto document = ask.body();
  Schedule schedule = wire::read_schedule(document.root());
  if (!id.empty() && !schedule.id.empty() && schedule.id != id)
    throw wire::BadValue{"/id", fmt::format("is another one than in the path, which is \"{}\"", id)};
  if (!id.empty()) schedule.id = id;
  if (schedule.id.empty()) throw wire::BadValue{"/id", "is missing"};
  check_spec([&] { tidemill::check_spec(schedule); });
  ask.caller.check_tasks_of(schedule.options.queue);
  const std::lock_guard lock{schedules.writing};
  const auto before = service.inspector.schedule(schedule.id);
  if (before) ask.caller.check_queue(before->schedule.options.queue);
  check_if_match(ask, before ? std::optional{tag_of(*before)} : std::nullopt);
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
http::Response sync(Schedules& schedules, const Ask& ask) {
  Service& service = schedules.service;
  const std::string owner{ask.parameter("owner")};
  if (owner.empty()) throw Problem{400, "invalid", "say whose schedules these are: ?owner=code:billing"};
  const auto document = ask.body();
  std::vector<Schedule> wanted;
  for (const wire::JsonValue& each : document.root().elements()) {
    wanted.push_back(wire::read_schedule(each));
    if (wanted.back().id.empty()) throw wire::BadValue{each.pointer() + "/id", "is missing"};
    check_spec([&] { tidemill::check_spec(wanted.back()); }, each.pointer());
    ask.caller.check_tasks_of(wanted.back().options.queue);
  }
  const std::lock_guard lock{schedules.writing};
  for (const ScheduleInfo& each : service.inspector.schedules()) {
    if (each.owner == owner) ask.caller.check_queue(each.schedule.options.queue);
  }
  const std::size_t changed = service.inspector.sync_schedules(owner, wanted);
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

/// An instant as the clock on the wall shows it.
void write_instant(json::Writer& writer, const TimeZone& zone, TimePoint at, std::string_view note) {
  const auto second = std::chrono::floor<std::chrono::seconds>(at);
  const auto offset = std::chrono::floor<std::chrono::minutes>(zone.period(second).offset);
  writer.open('{');
  wire::member_time(writer, "at", at);
  writer.member("local", fmt::format("{:%FT%T}", second + offset));
  writer.member("offset",
                fmt::format("{}{:%H:%M}", offset < offset.zero() ? '-' : '+', std::chrono::abs(offset)));
  if (!note.empty()) writer.member("note", note);
  writer.close('}');
}

void write_preview(json::Writer& writer, const Preview& wanted) {
  const auto zone = TimeZone::find(Cron::parse(wanted.schedule.spec, {.zone = wanted.schedule.zone}).zone());
  const auto instants = preview(wanted.schedule, wanted.from, wanted.count);
  std::vector<ClockChange> changes;
  if (!instants.empty()) changes = clock_changes(wanted.schedule, wanted.from, instants.back());
  auto warnings = warnings_of(wanted.schedule);
  if (instants.empty() && warnings.empty()) warnings.emplace_back("it does not fire within ten years");
  writer.member("text", describe(wanted.schedule));
  writer.key("fires");
  wire::write_array(writer, instants, [&](json::Writer& out, TimePoint at) {
    const auto change = std::ranges::find(changes, at, &ClockChange::at);
    write_instant(out, *zone, at, change == changes.end() ? std::string_view{} : change->note);
  });
  writer.key("clock_changes");
  wire::write_array(writer, changes, [&](json::Writer& out, const ClockChange& each) {
    write_instant(out, *zone, each.at, each.note);
  });
  writer.member("warnings", warnings);
}

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
  // One that never fires is shown as such.
  check_spec([&] { (void)Cron::parse(wanted.schedule.spec, {.zone = wanted.schedule.zone}); });
  return json_answer(200, wire::object([&](json::Writer& writer) { write_preview(writer, wanted); }));
}

http::Response set_paused(Schedules& schedules, const Ask& ask, bool paused) {
  const std::lock_guard lock{schedules.writing};
  (void)get_for_change(schedules.service, ask);
  schedules.service.inspector.pause_schedule(ask.path[0], paused);
  return show(schedules.service, ask, ask.path[0], 200);
}

http::Response erase(Schedules& schedules, const Ask& ask) {
  const std::lock_guard lock{schedules.writing};
  (void)get_for_change(schedules.service, ask);
  schedules.service.inspector.erase_schedule(ask.path[0]);
  return nothing();
}

http::Response time_zones(const Ask& ask) {
  std::vector<std::string> names = time_zone_names();
  const std::string_view start = ask.parameter("prefix");
  std::erase_if(names, [&](const std::string& name) { return !name.starts_with(start); });
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("version", time_zone_database_version());
                       writer.member("items", names);
                     }));
}

std::vector<std::string> fields() { return with(wire::schedule_fields(), {"text", "last", "strip", "etag"}); }

void add_single_routes(Routes& routes, const Shared& schedules) {
  Service& service = schedules->service;
  const std::string one = "/api/v1/schedules/{id}";
  routes.add({.method = "GET",
              .pattern = one,
              .summary = "A schedule",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = fields(),
              .handle = [&service](const Ask& ask) { return show(service, ask, ask.path[0], 200); }});
  routes.add({.method = "PUT",
              .pattern = one,
              .summary = "Make or change a schedule; If-Match: only if it is as that ETag says",
              .roles = operators,
              .body = std::string{example},
              .handle = [schedules](const Ask& ask) { return put(*schedules, ask, ask.path[0]); }});
  routes.add({.method = "DELETE",
              .pattern = one,
              .summary = "Delete a schedule; its tasks stay",
              .roles = operators,
              .handle = [schedules](const Ask& ask) { return erase(*schedules, ask); }});
  routes.add({.method = "GET",
              .pattern = one + "/firings",
              .summary = "What became of the schedule's last 20 instants, the newest first",
              .roles = viewers,
              .handle = [&service](const Ask& ask) { return list_firings(service, ask); }});
  routes.add({.method = "POST",
              .pattern = one + "/pause",
              .summary = "The schedule fires no more until it is resumed",
              .roles = operators,
              .handle = [schedules](const Ask& ask) { return set_paused(*schedules, ask, true); }});
  routes.add({.method = "POST",
              .pattern = one + "/resume",
              .summary = "The schedule fires again",
              .roles = operators,
              .handle = [schedules](const Ask& ask) { return set_paused(*schedules, ask, false); }});
  routes.add({.method = "POST",
              .pattern = one + "/run",
              .summary = "Enqueue the schedule's task now, besides its instants",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return fire(service, ask); }});
}

}  // namespace

void add_schedule_routes(Routes& routes, Service& service) {
  const auto schedules = std::make_shared<Schedules>(service);
  routes.add({.method = "GET",
              .pattern = "/api/v1/schedules",
              .summary = "All schedules",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = fields(),
              .handle = [&service](const Ask& ask) {
                auto all = service.inspector.schedules();
                std::erase_if(all, [&](const ScheduleInfo& each) {
                  return !ask.caller.may_use(each.schedule.options.queue);
                });
                return json_answer(200, list_of(with_past(service, std::move(all)), write_shown));
              }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/schedules",
              .summary = "Make a schedule",
              .roles = operators,
              .body = std::string{example},
              .handle = [schedules](const Ask& ask) {
                return schedules->idempotency.run(
                    ask, [&](const std::string&) { return put(*schedules, ask, ""); });
              }});
  routes.add({.method = "PUT",
              .pattern = "/api/v1/schedules",
              .summary = "All schedules of an owner become these; others of that owner are deleted",
              .roles = operators,
              .parameters = {"owner"},
              .body = fmt::format("[{}]", example),
              .handle = [schedules](const Ask& ask) { return sync(*schedules, ask); }});
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/schedules/preview",
       .summary = "When a schedule would fire, in words too, and what the change of clocks does to it",
       .roles = viewers,
       .body = R"({"spec":"30 2 * * *","zone":"Europe/Berlin","from":"2027-03-26T00:00:00Z","count":3})",
       .handle = [&service](const Ask& ask) { return preview_of(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/time-zones",
              .summary = "The names of time zones that schedules may have",
              .roles = viewers,
              .parameters = {"prefix"},
              .handle = time_zones});
  add_single_routes(routes, schedules);
}

}  // namespace tidemill::server
