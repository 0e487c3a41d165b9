// Does something to a task.
#include <array>
#include <optional>

#include <fmt/format.h>

#include "server/service.hpp"
#include "wire/port_json.hpp"
#include "wire/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

http::Response carry_out(Service& service, const Ask& ask, Act act) {
  const Ref ref = find_task(service, ask);
  switch (service.inspector.act(act, ref)) {
    case Changed::changed:
      if (act == Act::erase) return nothing();
      return json_answer(200, describe_task(service, get_task(service, ref)));
    case Changed::signalled:  // Its worker hears of it within moments.
      return nothing(202);
    case Changed::absent:
      throw Problem{404, "not_found", fmt::format("there is no task {} in queue {}", ref.id, ref.queue)};
    case Changed::wrong_state: {
      const auto task = service.inspector.task(ref);
      throw Problem{409, "wrong_state",
                    fmt::format("{} does not apply to a task that is {}", to_string(act),
                                to_string(task ? task->state : State::gone))};
    }
    case Changed::failed:
      break;
  }
  throw Problem{503, "store_unavailable", "nothing was changed; try again"};
}

/// A new task with kind, payload and options of this one, to run at once.
http::Response copy(Service& service, const Ask& ask) {
  const Task task = get_task(service, find_task(service, ask));
  const EnqueueOptions options{.queue = task.ref.queue,
                               .priority = task.priority,
                               .retries_max = task.retries_max,
                               .crashes_max = task.crashes_max,
                               .timeout = task.timeout,
                               .retention = task.retention,
                               .headers = task.headers};
  const Enqueued made = service.client.enqueue(task.kind, task.payload, options);
  http::Response response =
      json_answer(201, describe_task(service, get_task(service, {task.ref.queue, made.id})));
  response.headers.emplace_back("Location", fmt::format("{}/tasks/{}", prefix, made.id));
  return response;
}

constexpr std::size_t refs_max = 1000;
constexpr std::string_view batch_example = R"({"action":"hold","refs":[{"queue":"mail","id":"m1"}]})";

/// The same act on many tasks, with an answer for each.
http::Response carry_out_many(Service& service, const Ask& ask) {
  struct Body {
    std::optional<Act> act = {};
    std::vector<Ref> refs = {};
  };
  using Member = wire::JsonMember<Body>;
  static constexpr std::array acts = {Act::run,    Act::hold,    Act::resume,
                                      Act::cancel, Act::archive, Act::erase};
  static constexpr std::array members = {
      Member{"action", [](Body& b, const wire::JsonValue& v) { b.act = v.name<Act>("action", acts); }},
      Member{"refs",
             [](Body& b, const wire::JsonValue& v) {
               for (const wire::JsonValue& each : v.elements()) b.refs.push_back(wire::read_ref(each));
               if (b.refs.size() > refs_max) v.refuse(fmt::format("has more than {} tasks", refs_max));
             }},
  };
  const auto document = ask.body();
  Body body;
  wire::read_members<Body>(document.root(), body, members);
  if (!body.act) throw wire::BadValue{"/action", "is missing"};
  for (const Ref& ref : body.refs) ask.caller.check_queue(ref.queue);
  const auto answers = service.inspector.act(*body.act, body.refs);
  std::string text;
  json::Writer writer{text};
  wire::write_changed(writer, answers);
  return json_answer(200, std::move(text));
}

}  // namespace

void add_act_routes(Routes& routes, Service& service) {
  struct Verb {
    Act act;
    const char* summary;
  };
  static constexpr std::array verbs = {
      Verb{Act::run, "Make a task pending now"}, Verb{Act::hold, "Stop a task until it is resumed"},
      Verb{Act::resume, "Make a held task pending"},
      Verb{Act::cancel, "Archive a task as cancelled; a running one is stopped"},
      Verb{Act::archive, "Move a task that doesn't run to the archive"}};
  for (const auto& [act, summary] : verbs) {
    routes.add(
        {.method = "POST",
         .pattern = fmt::format("/api/v1/tasks/{{id}}/{}", to_string(act)),
         .summary = summary,
         .roles = operators,
         .parameters = {"queue"},
         .handle = [&service, asked = act](const Ask& ask) { return carry_out(service, ask, asked); }});
  }
  routes.add({.method = "POST",
              .pattern = "/api/v1/tasks/{id}/copy",
              .summary = "Enqueue the same once more, to run at once",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) { return copy(service, ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/tasks/act",
              .summary = "Do the same to many tasks, up to 1000: run, hold, resume, cancel, archive or erase",
              .roles = operators,
              .body = std::string{batch_example},
              .handle = [&service](const Ask& ask) { return carry_out_many(service, ask); }});
  routes.add({.method = "DELETE",
              .pattern = "/api/v1/tasks/{id}",
              .summary = "Delete a task that doesn't run",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) { return carry_out(service, ask, Act::erase); }});
}

}  // namespace tidemill::server
