// Does something to a task.
#include <array>

#include <fmt/format.h>

#include "server/service.hpp"

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
    routes.add({.method = "POST",
                .pattern = fmt::format("/api/v1/tasks/{{id}}/{}", to_string(act)),
                .summary = summary,
                .roles = operators,
                .parameters = {"queue"},
                .handle = [&service, act = act](const Ask& ask) { return carry_out(service, ask, act); }});
  }
  routes.add({.method = "POST",
              .pattern = "/api/v1/tasks/{id}/copy",
              .summary = "Enqueue the same once more, to run at once",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) { return copy(service, ask); }});
  routes.add({.method = "DELETE",
              .pattern = "/api/v1/tasks/{id}",
              .summary = "Delete a task that doesn't run",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) { return carry_out(service, ask, Act::erase); }});
}

}  // namespace tidemill::server
