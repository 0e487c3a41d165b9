// The worker's verbs of the port, for workers whose store is this server (stores/server). What they report
// has been decided by core on their side, so unlike /report it is written as it comes.
#include <memory>

#include <fmt/format.h>

#include "engine/store_clock.hpp"
#include "server/service.hpp"
#include "wire/port_json.hpp"

namespace tidemill::server {

namespace {

constexpr std::size_t items_max = 1000;

template <class Write>
http::Response answer_with(Write write) {
  std::string text;
  json::Writer writer{text};
  write(writer);
  return json_answer(200, std::move(text));
}

void check_count(std::string_view what, std::size_t count) {
  if (count <= items_max) return;
  throw Problem{413, "too_large", fmt::format("there are {} {}; send at most {}", count, what, items_max)};
}

http::Response claim(Service& service, engine::StoreClock& clock, const Ask& ask) {
  const auto document = ask.body();
  const wire::PortClaim wanted = wire::read_claim(document.root());
  std::vector<Want> wants;
  for (const auto& [queue, count] : wanted.wants) {
    ask.caller.check_tasks_of(queue);
    wants.push_back({queue, count});
  }
  check_count("tasks", wanted.count_max);
  const Claim claim{.worker = wanted.worker,
                    .wants = wants,
                    .count_max = wanted.count_max,
                    .bytes_max = wanted.bytes_max,
                    .lease = wanted.lease};
  const Claimed claimed = service.store.claim(claim, clock.call());
  return answer_with([&](json::Writer& writer) { wire::write_claimed(writer, claimed); });
}

http::Response renew(Service& service, engine::StoreClock& clock, const Ask& ask) {
  const auto document = ask.body();
  const wire::PortRenewal renewal = wire::read_renewal(document.root());
  check_count("beats", renewal.beats.size());
  for (const Lease& lease : renewal.leases) ask.caller.check_queue(lease.task.ref.queue);
  for (const Stat& stat : renewal.stats) ask.caller.check_queue(stat.queue);
  const Renewed renewed =
      service.store.renew(renewal.worker, renewal.beats, renewal.lease, renewal.stats, clock.call());
  return answer_with([&](json::Writer& writer) { wire::write_renewed(writer, renewed); });
}

http::Response report(Service& service, engine::StoreClock& clock, const Ask& ask) {
  const auto document = ask.body();
  const wire::PortReports reports = wire::read_reports(document.root());
  check_count("reports", reports.reports.size());
  for (const Lease& lease : reports.leases) ask.caller.check_queue(lease.task.ref.queue);
  const auto answers = service.store.report(reports.reports, clock.call());
  return answer_with([&](json::Writer& writer) { wire::write_reported(writer, answers); });
}

}  // namespace

void add_port_routes(Routes& routes, Service& service) {
  const auto clock = std::make_shared<engine::StoreClock>(service.store);
  using Verb = http::Response (*)(Service&, engine::StoreClock&, const Ask&);
  const auto add = [&](std::string_view name, std::string summary, Verb verb) {
    routes.add({.method = "POST",
                .pattern = fmt::format("{}/port/{}", prefix, name),
                .summary = std::move(summary),
                .roles = workers,
                .body = "{}",
                .handle = [&service, clock, verb](const Ask& ask) { return verb(service, *clock, ask); }});
  };
  add("claim", "For `tidemill work` on this server's URL: leases as its store gives them", claim);
  add("renew", "For `tidemill work` on this server's URL: beats and statistics", renew);
  add("report", "For `tidemill work` on this server's URL: ends of attempts, with all that is to be written",
      report);
}

}  // namespace tidemill::server
