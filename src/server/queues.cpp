#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include <fmt/format.h>

#include "server/queue_view.hpp"
#include "wire/admin_json.hpp"

namespace tidemill::server {

namespace {

QueueView view_of(const Service& service, const Ask& ask) {
  return {service, ask.caller, ask.number("spark", 0, 0, 1) == 1, Fields{ask.parameter("fields")}};
}

http::Response list_queues(const Service& service, const Ask& ask) {
  const std::string_view part = ask.parameter("q");
  const std::string_view order = ask.parameter("sort", "name");
  const QueueView view = view_of(service, ask);
  std::vector<QueueInfo> queues = view.queues();  // By name.
  std::erase_if(queues, [&](const QueueInfo& queue) { return queue.name.find(part) == std::string::npos; });
  if (order == "backlog") {
    std::ranges::stable_sort(queues, std::greater{}, backlog_of);
  } else if (order == "oldest") {
    std::ranges::stable_sort(queues, std::greater{}, &QueueInfo::oldest);
  } else if (order != "name") {
    throw Problem{400, "invalid", fmt::format("sort is \"{}\"; it must be name, backlog or oldest", order)};
  }
  return json_answer(
      200, list_of(queues, [&](json::Writer& writer, const QueueInfo& queue) { view.write(writer, queue); }));
}

Problem unknown_queue(std::string_view name) {
  return {404, "not_found", fmt::format("queue \"{}\" has never had a task, or was deleted", name)};
}

http::Response show_queue(const Service& service, const Ask& ask) {
  ask.caller.check_queue(ask.path[0]);
  const QueueView view = view_of(service, ask);
  const auto queue = std::ranges::find(view.queues(), ask.path[0], &QueueInfo::name);
  if (queue != view.queues().end()) {
    std::string text;
    json::Writer writer{text};
    view.write(writer, *queue);
    return json_answer(200, std::move(text));
  }
  throw unknown_queue(ask.path[0]);
}

http::Response list_groups(const Service& service, const Ask& ask) {
  ask.caller.check_queue(ask.path[0]);
  const auto limit = static_cast<std::size_t>(ask.number("limit", 100, 1, 1000));
  return json_answer(
      200, list_of(service.inspector.groups(ask.path[0], ask.parameter("after"), limit), wire::write_group));
}

/// The server's own queue is never paused, as operations would stand still without a word.
void check_pause(const Caller& caller, std::string_view queue, bool paused) {
  paused ? caller.check_tasks_of(queue) : caller.check_queue(queue);
}

http::Response set_paused(Service& service, const Ask& ask, bool paused) {
  check_pause(ask.caller, ask.path[0], paused);
  paused ? service.inspector.pause(ask.path[0]) : service.inspector.resume(ask.path[0]);
  return nothing();
}

/// "2 pending, 1 active": what stands in the way of an erased queue.
std::string counts_of(const Service& service, const std::string& name) {
  std::string text;
  for (const QueueInfo& queue : service.inspector.queues()) {
    if (queue.name != name) continue;
    for (const auto& [state, count] : queue.counts) {
      if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_string(state));
    }
  }
  return text;
}

http::Response erase(Service& service, const Ask& ask) {
  const std::string& name = ask.path[0];
  ask.caller.check_tasks_of(name);
  const bool force = ask.number("force", 0, 0, 1) == 1;
  switch (service.inspector.erase_queue(name, force)) {
    case Changed::changed:
      return nothing();
    case Changed::absent:
      throw unknown_queue(name);
    default:
      throw Problem{409, "wrong_state",
                    fmt::format("queue \"{}\" has tasks ({}); {}", name, counts_of(service, name),
                                force ? "those in a worker's hands can't be deleted: pause it, and try again "
                                        "when they have ended"
                                      : "with ?force=1 they are deleted with it, unless some run")};
  }
}

/// Those of a list that are names, and all there are that its globs match.
http::Response set_many_paused(Service& service, const Ask& ask, bool paused) {
  struct Body {
    std::vector<std::string> queues = {};
  };
  static constexpr std::array members = {
      wire::JsonMember<Body>{"queues", [](Body& b, const wire::JsonValue& v) { b.queues = v.texts(); }}};
  const auto document = ask.body();
  Body body;
  wire::read_members<Body>(document.root(), body, members);
  if (body.queues.empty())
    throw wire::BadValue{"/queues", "names no queue; write for instance [\"mail\",\"img:*\"]"};
  std::set<std::string> names;
  for (const std::string& name : body.queues) {
    if (name.find('*') != std::string::npos) continue;
    check_pause(ask.caller, name, paused);
    names.insert(name);
  }
  const Caller wanted{.queues = body.queues};
  for (const QueueInfo& queue : service.inspector.queues()) {
    const bool own = paused && queue.name == own_queue;
    if (!own && wanted.may_use(queue.name) && ask.caller.may_use(queue.name)) names.insert(queue.name);
  }
  for (const std::string& name : names)
    paused ? service.inspector.pause(name) : service.inspector.resume(name);
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("queues", std::vector<std::string>{names.begin(), names.end()});
                     }));
}

}  // namespace

void add_queue_routes(Routes& routes, Service& service) {
  const auto fields = with(wire::queue_fields(), {"rates", "workers", "slots", "warnings", "spark"});
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues",
              .summary = "All queues; q: a part of the name; sort: name, backlog or oldest; spark as below",
              .roles = viewers,
              .parameters = {"q", "sort", "spark", "fields"},
              .fields = fields,
              .handle = [&service](const Ask& ask) { return list_queues(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues/{queue}",
              .summary =
                  "A queue with its counts, rates, workers and what is wrong with it; spark=1: and the "
                  "outcomes of its last 30 minutes",
              .roles = viewers,
              .parameters = {"spark", "fields"},
              .fields = fields,
              .handle = [&service](const Ask& ask) { return show_queue(service, ask); }});
  routes.add(
      {.method = "DELETE",
       .pattern = "/api/v1/queues/{queue}",
       .summary = "Take a queue without tasks off the list; force=1: delete its tasks first, if none runs",
       .roles = admins,
       .parameters = {"force"},
       .handle = [&service](const Ask& ask) { return erase(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues/{queue}/groups",
              .summary = "The groups of a queue in which tasks wait, by name",
              .roles = viewers,
              .parameters = {"after", "limit"},
              .handle = [&service](const Ask& ask) { return list_groups(service, ask); }});
  for (const bool paused : {true, false}) {
    routes.add(
        {.method = "POST",
         .pattern = paused ? "/api/v1/queues/pause" : "/api/v1/queues/resume",
         .summary =
             paused ? "Pause many queues, by names and globs" : "Resume many queues, by names and globs",
         .roles = operators,
         .body = R"({"queues":["mail","img:*"]})",
         .handle = [&service, paused](const Ask& ask) { return set_many_paused(service, ask, paused); }});
  }
  routes.add({.method = "POST",
              .pattern = "/api/v1/queues/{queue}/pause",
              .summary = "Nothing is claimed from the queue until it is resumed",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return set_paused(service, ask, true); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/queues/{queue}/resume",
              .summary = "Tasks of the queue may be claimed again",
              .roles = operators,
              .handle = [&service](const Ask& ask) { return set_paused(service, ask, false); }});
}

}  // namespace tidemill::server
