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
