// The store and the server themselves.
#include <algorithm>

#include "server/checks.hpp"
#include "server/control.hpp"
#include "server/queue_view.hpp"
#include "server/service.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

http::Response show_store(const Service& service) {
  const StoreTime time = ask_time(service.inspector);
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("reachable", true);
                       wire::member_time(writer, "time", time.now);
                       writer.member("answer_us", time.answer.count());
                       writer.member("clock_offset_ms", wire::milliseconds(time.ahead));
                       writer.key("concerns");
                       wire::write_array(writer, store_findings(service.store), write_attention);
                     }));
}

http::Response check_store(const Service& service) {
  std::vector<Finding> findings = store_findings(service.store);
  std::ranges::move(examine(look(service.inspector)), std::back_inserter(findings));
  return json_answer(200, list_of(findings, write_attention));
}

http::Response reload(Control& control) {
  const std::vector<std::string_view> waiting = control.reload();
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.key("waiting_for_restart");
                       wire::write_array(writer, waiting,
                                         [](json::Writer& out, std::string_view each) { out.write(each); });
                     }));
}

http::Response list_hosts(const Control& control) {
  return json_answer(200,
                     list_of(control.hosts(), [](json::Writer& writer, const http::Client::HostLoad& host) {
                       writer.open('{');
                       writer.member("host", host.host);
                       writer.member("in_flight", host.in_flight);
                       writer.member("waiting", host.waiting);
                       writer.close('}');
                     }));
}

}  // namespace

void add_store_routes(Routes& routes, Service& service) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/store",
              .summary = "Whether the store answers, how fast, and what is to be said of its settings",
              .roles = viewers,
              .handle = [&service](const Ask&) { return show_store(service); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/store/checks",
              .summary = "What `tidemill doctor` finds; it changes nothing",
              .roles = admins,
              .all_queues = true,
              .handle = [&service](const Ask&) { return check_store(service); }});
}

void add_control_routes(Routes& routes, Control& control) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/config",
              .summary = "The configuration in force, without secrets",
              .roles = admins,
              .all_queues = true,
              .handle = [&control](const Ask&) { return json_answer(200, control.configuration()); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/config/reload",
              .summary = "Read the configuration anew, as on SIGHUP",
              .roles = admins,
              .all_queues = true,
              .handle = [&control](const Ask&) { return reload(control); }});
  routes.add(
      {.method = "GET",
       .pattern = "/api/v1/deliveries/hosts",
       .summary = "The hosts that deliveries call now: calls in flight, and those that wait for a place",
       .roles = viewers,
       .all_queues = true,
       .handle = [&control](const Ask&) { return list_hosts(control); }});
}

}  // namespace tidemill::server
