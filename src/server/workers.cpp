#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "server/queue_view.hpp"
#include "wire/admin_json.hpp"

namespace tidemill::server {

namespace {

[[noreturn]] void refuse_worker(const std::string& id) {
  throw Problem{404, "not_found", fmt::format("there is no worker {} that has beaten of late", id)};
}

http::Response show_worker(const Service& service, const Ask& ask) {
  for (const WorkerInfo& worker : workers_of(service, ask.caller)) {
    if (worker.id != ask.path[0]) continue;
    return json_answer(
        200, wire::object([&](json::Writer& writer) { wire::write_worker_members(writer, worker); }));
  }
  refuse_worker(ask.path[0]);
}

http::Response signal_worker(Service& service, const Ask& ask, Signal signal) {
  bool visible = ask.caller.queues.empty();
  for (const WorkerInfo& worker : workers_of(service, ask.caller)) {
    if (worker.id != ask.path[0]) continue;
    for (const auto& [queue, weight] : worker.queues) ask.caller.check_queue(queue);
    visible = true;
  }
  if (!visible || !service.inspector.signal_worker(ask.path[0], signal)) refuse_worker(ask.path[0]);
  return nothing(202);  // It hears of it within moments.
}

}  // namespace

void add_worker_routes(Routes& routes, Service& service) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/workers",
              .summary = "Workers that have beaten within the last minute",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = wire::worker_fields(),
              .handle = [&service](const Ask& ask) {
                return json_answer(200, list_of(workers_of(service, ask.caller), wire::write_worker));
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/workers/{id}",
              .summary = "A worker",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = wire::worker_fields(),
              .handle = [&service](const Ask& ask) { return show_worker(service, ask); }});
  struct Verb {
    Signal signal;
    const char* summary;
  };
  static constexpr std::array verbs = {Verb{Signal::quiet, "Claims no more, and lets what runs go on"},
                                       Verb{Signal::resume, "Claims again"},
                                       Verb{Signal::stop, "Stops, as on SIGTERM"}};
  for (const auto& [signal, summary] : verbs) {
    routes.add({.method = "POST",
                .pattern = fmt::format("/api/v1/workers/{{id}}/{}", to_string(signal)),
                .summary = summary,
                .roles = operators,
                .handle = [&service, asked = signal](const Ask& ask) {
                  return signal_worker(service, ask, asked);
                }});
  }
}

}  // namespace tidemill::server
