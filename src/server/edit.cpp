// Overwrites a task.
#include <fmt/format.h>

#include "server/service.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

/// Whether one of the tags of an If-Match header is this one; `*` is any.
bool matches(std::string_view header, std::string_view tag) {
  while (!header.empty()) {
    std::string_view each = header.substr(0, header.find(','));
    header.remove_prefix(std::min(each.size() + 1, header.size()));
    each.remove_prefix(std::min(each.find_first_not_of(" \t"), each.size()));
    each = each.substr(0, each.find_last_not_of(" \t") + 1);
    if (each == "*" || each == fmt::format("\"{}\"", tag)) return true;
  }
  return false;
}

Problem changed(const Service& service, const Ref& ref) {
  Problem problem{412, "changed",
                  fmt::format("task {} is no longer as If-Match says; read it again", ref.id)};
  if (const auto task = service.inspector.task(ref))
    problem.headers.emplace_back("ETag", fmt::format("\"{}\"", etag(*task)));
  return problem;
}

http::Response edit(Service& service, const Ask& ask) {
  const Ref ref = find_task(service, ask);
  // Whoever could edit an operation could have the server do what he may not.
  ask.caller.check_tasks_of(ref.queue);
  const auto document = ask.body();
  const std::string_view wanted = ask.request->header("if-match");
  std::string expected;
  if (!wanted.empty()) {
    expected = etag(get_task(service, ref));
    if (!matches(wanted, expected)) throw changed(service, ref);
  }
  const auto change = [&](NewTask& task) { wire::read_edit(document.root(), task); };
  const Changed answer = service.inspector.edit(ref, change, expected);
  if (answer == Changed::stale) throw changed(service, ref);
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
