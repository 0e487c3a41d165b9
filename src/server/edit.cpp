// Overwrites a task.
#include "server/etag.hpp"
#include "server/problem.hpp"
#include "server/service.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

http::Response edit(Service& service, const Ask& ask) {
  const Ref ref = find_task(service, ask);
  // Whoever could edit an operation could have the server do what he may not.
  ask.caller.check_tasks_of(ref.queue);
  const auto document = ask.body();
  std::string expected;
  if (!ask.request->header("if-match").empty()) {
    expected = etag(get_task(service, ref));
    check_if_match(ask, expected);
  }
  const auto change = [&](NewTask& task) { wire::read_edit(document.root(), task); };
  const Changed answer = service.inspector.edit(ref, change, expected);
  if (answer == Changed::stale) throw changed_since(etag(get_task(service, ref)));
  if (answer != Changed::changed) throw refusal_of(service, "edit", ref, answer);
  return show_task(service, get_task(service, ref));
}

}  // namespace

void add_edit_routes(Routes& routes, Service& service) {
  routes.add({.method = "PATCH",
              .pattern = "/api/v1/tasks/{id}",
              .summary =
                  "Overwrite what is sent of a task that doesn't run: kind, payload, headers, priority, "
                  "retries_max, crashes_max, timeout, retention, deadline, expires_at; with If-Match: "
                  "its ETag, only if it is as it was seen",
              .roles = operators,
              .parameters = {"queue"},
              .body = R"({"payload":{"to":"ada@example.com"},"priority":5,"deadline":null})",
              .handle = [&service](const Ask& ask) { return edit(service, ask); }});
}

}  // namespace tidemill::server
