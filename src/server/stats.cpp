// The server itself, and what has been done.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <fmt/format.h>

#include <tidemill/version.hpp>

#include "server/notices.hpp"
#include "wire/admin_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr std::int64_t points_max = 1000;

struct Metric {
  std::string_view name;
  std::uint64_t (*of)(const Stat& stat);
};
constexpr std::array metrics = {
    Metric{"completed", [](const Stat& s) { return s.success; }},
    Metric{"failed", [](const Stat& s) { return s.failure; }},
    Metric{"crashed", [](const Stat& s) { return s.crash; }},
    Metric{"busy_ms", [](const Stat& s) { return static_cast<std::uint64_t>(wire::milliseconds(s.busy)); }}};

std::vector<Metric> wanted_metrics(std::string_view text) {
  if (text.empty()) return {metrics.begin(), metrics.end()};
  std::vector<Metric> found;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(name.size() + 1, text.size()));
    const auto metric = std::ranges::find(metrics, name, &Metric::name);
    if (metric == metrics.end()) {
      std::vector<std::string> names;
      for (const Metric& each : metrics) names.emplace_back(each.name);
      throw Problem{400, "invalid",
                    fmt::format("there is no metric \"{}\"; there are {}", name, wire::either(names))};
    }
    found.push_back(*metric);
  }
  return found;
}

/// The queue that the query names. Throws Problem{403} for one that isn't the caller's.
std::string_view queue_of(const Ask& ask) {
  const std::string_view queue = ask.parameter("queue");
  if (!queue.empty()) ask.caller.check_queue(queue);
  return queue;
}

/// Minutes are kept for two days, days for a year.
http::Response series(Service& service, Notices& notices, const Ask& ask) {
  const TimePoint now = service.inspector.now();
  const TimePoint to = ask.time("to", now);
  const TimePoint from = ask.time("from", to - 1h);
  if (from >= to) throw Problem{400, "invalid", "from must be before to"};
  const bool days = from < now - 48h;
  const Duration least = days ? Duration{24h} : Duration{1min};
  Duration step = std::max<Duration>(std::chrono::seconds{ask.number("step", 0, 0, 366 * 86400)}, least);
  step = std::max(step / least * least, ((to - from) / points_max / least + 1) * least);
  const auto wanted = wanted_metrics(ask.parameter("metric"));
  const std::string_view kind = ask.parameter("kind");
  const auto stats = service.inspector.stats(days ? Span::day : Span::minute, from, to, queue_of(ask));
  const auto count = static_cast<std::size_t>((to - from + step - Duration{1}) / step);
  std::vector<std::vector<std::uint64_t>> values(wanted.size(), std::vector<std::uint64_t>(count));
  for (const Stat& stat : stats) {
    if ((!kind.empty() && stat.kind != kind) || !ask.caller.may_use(stat.queue)) continue;
    const auto at = static_cast<std::size_t>(std::max(stat.at - from, Duration::zero()) / step);
    for (std::size_t i = 0; i < wanted.size(); ++i) values[i][std::min(at, count - 1)] += wanted[i].of(stat);
  }
  const auto marks = notices.marks(from, to);
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       wire::member_time(writer, "from", from);
                       writer.member("step_ms", wire::milliseconds(step));
                       writer.member("source", days ? "day" : "minute");
                       writer.key("series");
                       writer.open('[');
                       for (std::size_t i = 0; i < wanted.size(); ++i) {
                         writer.comma();
                         writer.open('{');
                         writer.member("name", wanted[i].name);
                         writer.member("values", values[i]);
                         writer.close('}');
                       }
                       writer.close(']');
                       writer.key("marks");
                       wire::write_array(writer, marks, write_mark);
                     }));
}

/// From `from`, or else since `least`.
http::Response rows(Service& service, const Ask& ask, Span span, TimePoint least) {
  const TimePoint from = ask.time("from", least);
  const TimePoint to = ask.time("to", service.inspector.now() + 24h);
  auto stats = service.inspector.stats(span, from, to, queue_of(ask));
  std::erase_if(stats, [&](const Stat& stat) { return !ask.caller.may_use(stat.queue); });
  return json_answer(200, list_of(stats, wire::write_stat));
}

/// Of each kind, over a window.
http::Response kinds(Service& service, const Ask& ask) {
  const TimePoint now = service.inspector.now();
  const std::string window{ask.parameter("window", "1h")};
  Duration length{};
  try {
    length = wire::parse_duration(window);
  } catch (const Error& error) {
    throw Problem{400, "invalid", fmt::format("window: {}", error.what())};
  }
  std::map<std::string, Stat> sums;
  for (const Stat& stat : service.inspector.stats(length > 48h ? Span::day : Span::minute, now - length,
                                                  now + 1min, queue_of(ask))) {
    if (!ask.caller.may_use(stat.queue)) continue;
    Stat& sum = sums[stat.kind];
    sum.success += stat.success;
    sum.failure += stat.failure;
    sum.crash += stat.crash;
    sum.busy += stat.busy;
  }
  return json_answer(200, list_of(sums, [](json::Writer& writer, const auto& each) {
                       const auto& [kind, sum] = each;
                       const std::uint64_t runs = sum.success + sum.failure + sum.crash;
                       writer.open('{');
                       writer.member("kind", kind);
                       writer.member("n", runs);
                       writer.member("completed", sum.success);
                       writer.member("failed", sum.failure);
                       writer.member("crashed", sum.crash);
                       writer.member("run_ms_mean", runs == 0 ? 0.0
                                                              : static_cast<double>(sum.busy.count()) /
                                                                    1000.0 / static_cast<double>(runs));
                       writer.close('}');
                     }));
}

http::Response suggest(Service& service, const Ask& ask) {
  const std::string_view field = ask.parameter("field", "kind");
  const std::string_view start = ask.parameter("prefix");
  const std::string_view of = queue_of(ask);
  std::set<std::string> values;
  if (field == "queue") {
    for (const QueueInfo& queue : service.inspector.queues()) values.insert(queue.name);
  } else if (field == "kind") {
    const TimePoint now = service.inspector.now();
    for (const Stat& stat : service.inspector.stats(Span::day, now - 24h * 7, now + 24h, of)) {
      if (ask.caller.may_use(stat.queue)) values.insert(stat.kind);
    }
  } else {
    throw Problem{400, "invalid",
                  fmt::format("there is no field \"{}\" here; there are kind and queue", field)};
  }
  std::vector<std::string> found;
  for (const std::string& value : values) {
    if (value.starts_with(start) && found.size() < 20 && (field != "queue" || ask.caller.may_use(value)))
      found.push_back(value);
  }
  return json_answer(200, wire::object([&](json::Writer& writer) { writer.member("values", found); }));
}

std::vector<Feature> absent_features(const Service& service) {
  std::vector<Feature> absent;
  for (const auto& [feature, limit] : service.store.capabilities().limits) {
    if (limit.absent) absent.push_back(feature);
  }
  return absent;
}

http::Response show_server(Service& service) {
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("name", "tidemill");
                       writer.member("version", version());
                       wire::member_time(writer, "time", service.inspector.now());
                       wire::member_object(writer, "limits", [&] {
                         const Capabilities& can = service.store.capabilities();
                         writer.member("task_bytes", can.task_bytes_max);
                         for (const auto& [feature, limit] : can.limits)
                           writer.member(to_string(feature), limit.text);
                       });
                       writer.key("absent");
                       wire::write_array(writer, absent_features(service),
                                         [](json::Writer& out, Feature each) { out.write(to_string(each)); });
                     }));
}

}  // namespace

void add_stat_routes(Routes& routes, Service& service, Notices& notices) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/server",
              .summary = "The server's version, time and limits",
              .roles = everyone,
              .handle = [&service](const Ask&) { return show_server(service); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/stats/series",
              .summary = "Outcomes over time: completed, failed, crashed, busy_ms; step in seconds",
              .roles = viewers,
              .parameters = {"metric", "queue", "kind", "from", "to", "step"},
              .handle = [&service, &notices](const Ask& ask) { return series(service, notices, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/stats/minutes",
              .summary = "Outcomes of each queue and kind in each minute of the last hours",
              .roles = viewers,
              .parameters = {"queue", "hours", "from", "to"},
              .handle = [&service](const Ask& ask) {
                return rows(service, ask, Span::minute,
                            service.inspector.now() - std::chrono::hours{ask.number("hours", 1, 1, 48)});
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/stats/daily",
              .summary = "Outcomes of each queue and kind on each day",
              .roles = viewers,
              .parameters = {"queue", "days", "from", "to"},
              .handle = [&service](const Ask& ask) {
                return rows(service, ask, Span::day,
                            service.inspector.now() - 24h * ask.number("days", 30, 1, 366));
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/stats/kinds",
              .summary = "Outcomes and mean run time of each kind",
              .roles = viewers,
              .parameters = {"queue", "window"},
              .handle = [&service](const Ask& ask) { return kinds(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/suggest",
              .summary = "Kinds or queues that begin so",
              .roles = viewers,
              .parameters = {"field", "prefix", "queue"},
              .handle = [&service](const Ask& ask) { return suggest(service, ask); }});
}

}  // namespace tidemill::server
