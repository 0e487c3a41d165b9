// Does something to a task.
#include <array>
#include <optional>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "server/service.hpp"
#include "server/waits.hpp"
#include "wire/action_json.hpp"
#include "wire/port_json.hpp"
#include "wire/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

/// The body says what a reschedule or a move needs to know.
Action action_of(Service& service, const Ask& ask, Act act) {
  if (act != Act::reschedule && act != Act::move) return act;
  const auto document = ask.body();
  Action action = wire::to_action(act, wire::read_params(document.root()), service.inspector.now(), "");
  if (act == Act::move) ask.caller.check_tasks_of(action.queue);
  return action;
}

http::Response carry_out(Service& service, const Ask& ask, Act act) {
  const Ref ref = find_task(service, ask);
  ask.caller.check_tasks_of(ref.queue);
  const Action action = action_of(service, ask, act);
  const Changed answer = service.inspector.act(action, ref);
  if (answer == Changed::signalled) return nothing(202);  // Its worker hears of it within moments.
  if (answer != Changed::changed) throw refusal_of(service, to_string(act), ref, answer, action.queue);
  if (act == Act::erase) return nothing();
  return show_task(service, get_task(service, {act == Act::move ? action.queue : ref.queue, ref.id}));
}

bool forced(const Ask& ask) {
  const std::string_view force = ask.parameter("force", "0");
  if (force != "0" && force != "1")
    throw Problem{400, "invalid", fmt::format("force is \"{}\"; it must be 1, or be left out", force)};
  if (force == "0" && !ask.parameter("timeout").empty())
    throw Problem{400, "invalid", "timeout goes with force=1, which waits for an attempt to end"};
  return force == "1";
}

/// A new task with kind, payload and options of this one, to run at once.
http::Response copy(Service& service, const Ask& ask) {
  const Task task = get_task(service, find_task(service, ask));
  NewTask draft = rules::draft_of(task);
  draft.options.deadline.reset();  // The first one's times may be over.
  draft.options.expires_at.reset();
  const Enqueued made = service.client.enqueue(draft.kind, std::move(draft.payload), draft.options);
  http::Response response = show_task(service, get_task(service, {task.ref.queue, made.id}), 201);
  response.headers.emplace_back("Location", fmt::format("{}/tasks/{}", prefix, made.id));
  return response;
}

constexpr std::size_t refs_max = 1000;
constexpr std::string_view batch_example = R"({"action":"hold","refs":[{"queue":"mail","id":"m1"}]})";

/// The same act on many tasks, with an answer for each.
http::Response carry_out_many(Service& service, const Ask& ask) {
  struct Body {
    std::optional<Act> act = {};
    wire::ActionParams params = {};
    std::vector<Ref> refs = {};
  };
  using Member = wire::JsonMember<Body>;
  static constexpr std::array members = {
      Member{"action", [](Body& b, const wire::JsonValue& v) { b.act = wire::read_act(v); }},
      Member{"params", [](Body& b, const wire::JsonValue& v) { b.params = wire::read_params(v); }},
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
  const Action action = wire::to_action(*body.act, body.params, service.inspector.now(), "/params");
  if (action.act == Act::move) ask.caller.check_tasks_of(action.queue);
  for (const Ref& ref : body.refs) ask.caller.check_tasks_of(ref.queue);
  const auto answers = service.inspector.act(action, body.refs);
  std::string text;
  json::Writer writer{text};
  wire::write_changed(writer, answers);
  return json_answer(200, std::move(text));
}

}  // namespace

Problem refusal_of(const Service& service, std::string_view did, const Ref& ref, Changed answer,
                   std::string_view queue) {
  const std::string_view where = queue.empty() ? std::string_view{ref.queue} : queue;
  switch (answer) {
    case Changed::absent:
      return {404, "not_found", fmt::format("there is no task {} in queue {}", ref.id, ref.queue)};
    case Changed::wrong_state: {
      const auto task = service.inspector.task(ref);
      return {409, "wrong_state",
              fmt::format("{} does not apply to a task that is {}", did,
                          to_string(task ? task->state : State::gone))};
    }
    case Changed::exists:
      return {409, "conflict", fmt::format("queue {} has a task {} already", where, ref.id)};
    case Changed::conflict:
      return {409, "unique_conflict",
              fmt::format("another task of queue {} has the unique key of task {}", where, ref.id)};
    default:
      return {503, "store_unavailable", "nothing was changed; try again"};
  }
}

std::vector<std::string_view> action_names() {
  std::vector<std::string_view> names;
  for (const Act act : rules::acts()) names.push_back(to_string(act));
  return names;
}

void add_act_routes(Routes& routes, Service& service, Waits& waits, const Later& later) {
  struct Verb {
    Act act;
    const char* summary;
    const char* body = "";
  };
  static constexpr std::array verbs = {
      Verb{Act::run, "Make a task pending now"},
      Verb{Act::hold, "Stop a task until it is resumed"},
      Verb{Act::resume, "Make a held task pending"},
      Verb{Act::cancel, "Archive a task as cancelled; a running one is stopped"},
      Verb{Act::archive, "Move a task that doesn't run to the archive"},
      Verb{Act::reschedule, "Make a task that waits due at another time: run_at, or a delay from now",
           R"({"delay":"5m"})"},
      Verb{Act::move, "Put a task that waits into another queue, with its id, key and history",
           R"({"queue":"bulk"})"}};
  for (const auto& [act, summary, body] : verbs) {
    routes.add(
        {.method = "POST",
         .pattern = fmt::format("/api/v1/tasks/{{id}}/{}", to_string(act)),
         .summary = summary,
         .roles = operators,
         .parameters = {"queue"},
         .body = body,
         .handle = [&service, asked = act](const Ask& ask) { return carry_out(service, ask, asked); }});
  }
  routes.add({.method = "POST",
              .pattern = "/api/v1/tasks/{id}/copy",
              .summary = "Enqueue the same once more, to run at once",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) { return copy(service, ask); }});
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/tasks/act",
       .summary = fmt::format("Do the same to many tasks, up to 1000: {}", fmt::join(action_names(), ", ")),
       .roles = operators,
       .body = std::string{batch_example},
       .handle = [&service](const Ask& ask) { return carry_out_many(service, ask); }});
  routes.add(
      {.method = "DELETE",
       .pattern = "/api/v1/tasks/{id}",
       .summary = "Delete a task that doesn't run; with force=1 one that runs is cancelled, and deleted "
                  "when its attempt has ended, for which the request waits up to `timeout` (30s)",
       .roles = operators,
       .parameters = {"queue", "force", "timeout"},
       .begin = [&service, &waits, later](Ask&& ask, const http::Answer& answer) {
         if (forced(ask)) return waits.erase(std::move(ask), answer);
         later([&service, ask = std::move(ask)] { return carry_out(service, ask, Act::erase); }, answer);
       }});
}

}  // namespace tidemill::server
