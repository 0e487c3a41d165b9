#include <algorithm>

#include <fmt/format.h>

#include "server/service.hpp"
#include "wire/admin_json.hpp"

namespace tidemill::server {

namespace {

std::vector<QueueInfo> visible_queues(const Service& service, const Ask& ask) {
  std::vector<QueueInfo> queues = service.inspector.queues();
  std::erase_if(queues, [&](const QueueInfo& queue) { return !ask.caller.may_use(queue.name); });
  return queues;
}

http::Response show_queue(const Service& service, const Ask& ask) {
  ask.caller.check_queue(ask.path[0]);
  for (const QueueInfo& queue : service.inspector.queues()) {
    if (queue.name != ask.path[0]) continue;
    return json_answer(200,
                       wire::object([&](json::Writer& writer) { wire::write_queue_members(writer, queue); }));
  }
  throw Problem{404, "not_found", fmt::format("queue \"{}\" has never had a task", ask.path[0])};
}

http::Response list_groups(const Service& service, const Ask& ask) {
  ask.caller.check_queue(ask.path[0]);
  const auto limit = static_cast<std::size_t>(ask.number("limit", 100, 1, 1000));
  return json_answer(
      200, list_of(service.inspector.groups(ask.path[0], ask.parameter("after"), limit), wire::write_group));
}

http::Response set_paused(Service& service, const Ask& ask, bool paused) {
  ask.caller.check_queue(ask.path[0]);
  paused ? service.inspector.pause(ask.path[0]) : service.inspector.resume(ask.path[0]);
  return nothing();
}

}  // namespace

void add_queue_routes(Routes& routes, Service& service) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues",
              .summary = "All queues with their counts",
              .roles = viewers,
              .handle = [&service](const Ask& ask) {
                return json_answer(200, list_of(visible_queues(service, ask), wire::write_queue));
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues/{queue}",
              .summary = "A queue with its counts",
              .roles = viewers,
              .handle = [&service](const Ask& ask) { return show_queue(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/queues/{queue}/groups",
              .summary = "The groups of a queue in which tasks wait, by name",
              .roles = viewers,
              .parameters = {"after", "limit"},
              .handle = [&service](const Ask& ask) { return list_groups(service, ask); }});
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
