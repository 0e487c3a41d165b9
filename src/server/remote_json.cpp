#include "server/remote_json.hpp"

#include <array>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "wire/json_write.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;
using engine::RemoteSignal;
using wire::JsonMember;
using wire::JsonValue;

constexpr std::int64_t items_max = 1000;
constexpr Duration wait_max = 30s;
constexpr Duration lease_least = 5s;
constexpr Duration lease_most = 1h;

void read_worker(engine::RemoteWorker& worker, const JsonValue& value) {
  using Member = JsonMember<engine::RemoteWorker>;
  static constexpr std::array members = {
      Member{"id", [](auto& w, const JsonValue& v) { w.id = v.text(); }},
      Member{"name", [](auto& w, const JsonValue& v) { w.host = v.text(); }},
      Member{
          "slots",
          [](auto& w, const JsonValue& v) { w.slots = static_cast<std::int32_t>(v.integer(0, 1'000'000)); }},
  };
  wire::read_members<engine::RemoteWorker>(value, worker, members);
  value.checked([&] { rules::check_name("worker id", worker.id); });
}

void read_queues(ClaimBody& body, const JsonValue& value) {
  struct Queue {
    std::string name = {};
    std::int32_t weight = 1;
  };
  using Member = JsonMember<Queue>;
  static constexpr std::array members = {
      Member{"name", [](auto& q, const JsonValue& v) { q.name = v.text(); }},
      Member{"weight",
             [](auto& q, const JsonValue& v) { q.weight = static_cast<std::int32_t>(v.integer(1, 1000)); }},
  };
  for (const JsonValue& each : value.elements()) {
    Queue queue;
    if (each.is_text()) {
      queue.name = each.text();
    } else {
      wire::read_members<Queue>(each, queue, members);
    }
    each.checked([&] { rules::check_queue_name(queue.name); });
    body.worker.queues.emplace_back(queue.name, queue.weight);
  }
}

Duration within(const JsonValue& value, Duration least, Duration most) {
  const Duration duration = value.duration();
  if (duration >= least && duration <= most) return duration;
  value.refuse(
      fmt::format("must be from {} to {}", wire::format_duration(least), wire::format_duration(most)));
}

void write_lease(json::Writer& writer, const engine::RemoteLease& lease) {
  const Task& task = lease.task;
  writer.open('{');
  writer.member("token", lease.token);
  wire::member_time(writer, "until", lease.until);
  wire::member_object(writer, "task", [&] {
    writer.member("id", task.ref.id);
    writer.member("kind", task.kind);
    writer.member("queue", task.ref.queue);
    wire::member_body(writer, "payload", task.payload);
    writer.member("headers", task.headers);
    writer.member("attempt", task.attempt + 1);
    writer.member("retries", task.retries);
    writer.member("retries_max", task.retries_max);
    wire::member_time(writer, "deadline", task.deadline);
    writer.member("timeout_ms", wire::milliseconds(task.timeout));
  });
  writer.close('}');
}

void write_claimed(json::Writer& writer, const engine::RemoteClaimed& claimed) {
  writer.key("leases");
  wire::write_array(writer, claimed.leases, write_lease);
  wire::member_time(writer, "server_time", claimed.now);
}

void read_logs(std::vector<LogLine>& logs, const JsonValue& value) {
  using Member = JsonMember<LogLine>;
  static constexpr std::array levels = {Level::debug, Level::info, Level::warning, Level::error};
  static constexpr std::array members = {
      Member{"level", [](auto& l, const JsonValue& v) { l.level = v.name<Level>("level", levels); }},
      Member{"text", [](auto& l, const JsonValue& v) { l.text = v.text(); }},
      Member{"at", [](auto& l, const JsonValue& v) { l.at = v.time(); }},
  };
  for (const JsonValue& each : value.elements()) {
    LogLine line{.at = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
    wire::read_members<LogLine>(each, line, members);
    logs.push_back(std::move(line));
    if (logs.size() > 100) value.refuse("has more than 100 lines");
  }
}

void read_beats(RenewBody& body, const JsonValue& value) {
  using Member = JsonMember<engine::RemoteBeat>;
  static constexpr std::array members = {
      Member{"token", [](auto& b, const JsonValue& v) { b.token = v.text(); }},
      Member{"progress", [](auto& b, const JsonValue& v) { b.progress = v.text(); }},
      Member{"logs", [](auto& b, const JsonValue& v) { read_logs(b.logs, v); }},
  };
  for (const JsonValue& each : value.elements()) {
    engine::RemoteBeat beat;
    wire::read_members<engine::RemoteBeat>(each, beat, members);
    body.beats.push_back(std::move(beat));
  }
  if (body.beats.size() > items_max) value.refuse(fmt::format("has more than {} items", items_max));
}

/// What stands in an item of a report, before it is clear what it means.
struct ReportItem {
  std::string token = {}, outcome = {}, error = {};
  std::string result = {};
  std::optional<Duration> in = {};
  std::vector<LogLine> logs = {};
};

void read_error(ReportItem& item, const JsonValue& value) {
  if (value.is_text()) {
    item.error = value.text();
    return;
  }
  struct Parts {
    std::string type, message, stack;
  };
  using Member = JsonMember<Parts>;
  static constexpr std::array members = {
      Member{"type", [](auto& p, const JsonValue& v) { p.type = v.text(); }},
      Member{"message", [](auto& p, const JsonValue& v) { p.message = v.text(); }},
      Member{"stack", [](auto& p, const JsonValue& v) { p.stack = v.text(); }},
  };
  Parts parts;
  wire::read_members<Parts>(value, parts, members);
  item.error = parts.type.empty() ? parts.message : fmt::format("{}: {}", parts.type, parts.message);
  if (!parts.stack.empty()) item.error += "\n" + parts.stack;
}

engine::RemoteReport report_of(ReportItem&& item, const JsonValue& value) {
  engine::RemoteReport report{.token = std::move(item.token), .logs = std::move(item.logs)};
  const Duration in = item.in.value_or(Duration::zero());
  if (item.outcome == "complete") {
    report.outcome = Outcome::success(std::move(item.result));
  } else if (item.outcome == "retry") {
    report.outcome =
        item.in ? Outcome::retry_in(in, std::move(item.error)) : Outcome::failure(std::move(item.error));
  } else if (item.outcome == "snooze") {
    report.outcome = Outcome::snooze(in);
  } else if (item.outcome == "again") {
    report.outcome = Outcome::again(in);
  } else if (item.outcome == "archive") {
    report.outcome = Outcome::archive(std::move(item.error));
  } else if (item.outcome == "discard") {
    report.outcome = Outcome::discard(std::move(item.error));
  } else if (item.outcome == "hold") {
    report.held = true;
  } else if (item.outcome != "release") {
    const std::vector<std::string> names = {"complete", "retry",   "snooze",  "again",
                                            "archive",  "discard", "release", "hold"};
    throw wire::BadValue{value.pointer() + "/outcome", fmt::format("\"{}\" is no outcome; there are {}",
                                                                   item.outcome, wire::either(names))};
  }
  return report;
}

ReportItem read_item(const JsonValue& value) {
  using Member = JsonMember<ReportItem>;
  static constexpr std::array members = {
      Member{"token", [](auto& i, const JsonValue& v) { i.token = v.text(); }},
      Member{"outcome", [](auto& i, const JsonValue& v) { i.outcome = v.text(); }},
      Member{"error", read_error},
      Member{"result", [](auto& i, const JsonValue& v) { i.result = v.raw(); }},
      Member{"result_text", [](auto& i, const JsonValue& v) { i.result = v.text(); }},
      Member{"result_base64", [](auto& i, const JsonValue& v) { i.result = v.base64(); }},
      Member{"in", [](auto& i, const JsonValue& v) { i.in = v.duration(); }},
      Member{"logs", [](auto& i, const JsonValue& v) { read_logs(i.logs, v); }},
  };
  ReportItem item;
  wire::read_members<ReportItem>(value, item, members);
  return item;
}

}  // namespace

ClaimBody read_claim(const JsonValue& value, const Caller& caller) {
  using Member = JsonMember<ClaimBody>;
  static constexpr std::array members = {
      Member{"worker", [](auto& b, const JsonValue& v) { read_worker(b.worker, v); }},
      Member{"queues", [](auto& b, const JsonValue& v) { read_queues(b, v); }},
      Member{"strict", [](auto& b, const JsonValue& v) { b.worker.strict = v.truth(); }},
      Member{
          "limit",
          [](auto& b, const JsonValue& v) { b.limit = static_cast<std::size_t>(v.integer(1, items_max)); }},
      Member{"lease", [](auto& b, const JsonValue& v) { b.lease = within(v, lease_least, lease_most); }},
      Member{"wait", [](auto& b, const JsonValue& v) { b.wait = within(v, {}, wait_max); }},
  };
  ClaimBody body;
  wire::read_members<ClaimBody>(value, body, members);
  if (body.worker.id.empty()) throw wire::BadValue{value.pointer() + "/worker/id", "is missing"};
  if (body.worker.queues.empty()) body.worker.queues.emplace_back("default", 1);
  for (const auto& [queue, weight] : body.worker.queues) caller.check_tasks_of(queue);
  return body;
}

RenewBody read_renew(const JsonValue& value) {
  using Member = JsonMember<RenewBody>;
  static constexpr std::array members = {
      Member{"worker", [](auto& b, const JsonValue& v) { read_worker(b.worker, v); }},
      Member{"items", [](auto& b, const JsonValue& v) { read_beats(b, v); }},
      Member{"lease", [](auto& b, const JsonValue& v) { b.lease = within(v, lease_least, lease_most); }},
  };
  RenewBody body;
  wire::read_members<RenewBody>(value, body, members);
  if (body.worker.id.empty()) throw wire::BadValue{"/worker/id", "is missing"};
  return body;
}

ReportBody read_report(const JsonValue& value, const Caller& caller) {
  struct Body {
    const Caller& caller;
    ReportBody read = {};
  };
  using Member = JsonMember<Body>;
  static constexpr std::array members = {
      Member{"items",
             [](Body& body, const JsonValue& v) {
               for (const JsonValue& each : v.elements())
                 body.read.reports.push_back(report_of(read_item(each), each));
               if (body.read.reports.size() > items_max)
                 v.refuse(fmt::format("has more than {} items", items_max));
             }},
      Member{"claim",
             [](Body& body, const JsonValue& v) {
               body.read.claim = read_claim(v, body.caller);
               if (body.read.claim->wait > Duration::zero()) {
                 throw wire::BadValue{v.pointer() + "/wait",
                                      "is for POST /claim; what is claimed with a report doesn't wait"};
               }
             }},
  };
  Body body{caller};
  wire::read_members<Body>(value, body, members);
  return std::move(body.read);
}

std::string text_of(const engine::RemoteClaimed& claimed) {
  return wire::object([&](json::Writer& writer) { write_claimed(writer, claimed); });
}

std::string text_of(const RenewBody& body, const engine::RemoteRenewed& renewed) {
  return wire::object([&](json::Writer& writer) {
    writer.key("items");
    writer.open('[');
    for (std::size_t i = 0; i < body.beats.size(); ++i) {
      const bool lost = renewed.leases[i] == RemoteSignal::lost;
      writer.comma();
      writer.open('{');
      writer.member("token", body.beats[i].token);
      if (lost) {
        writer.member("code", "lease_lost");
      } else {
        writer.member("signal", to_string(renewed.leases[i]));
        wire::member_time(writer, "until", renewed.until);
      }
      writer.close('}');
    }
    writer.close(']');
    wire::member_object(writer, "worker", [&] { writer.member("signal", to_string(renewed.worker)); });
  });
}

std::string text_of(std::span<const engine::RemoteReport> reports, std::span<const Reported> answers,
                    const std::optional<engine::RemoteClaimed>& claimed) {
  return wire::object([&](json::Writer& writer) {
    writer.key("items");
    writer.open('[');
    for (std::size_t i = 0; i < reports.size(); ++i) {
      const bool applied = answers[i] == Reported::applied;
      writer.comma();
      writer.open('{');
      writer.member("token", reports[i].token);
      writer.member("applied", applied);
      if (answers[i] == Reported::lost)
        writer.member("code", "lease_lost");
      else if (!applied)
        writer.member("code", to_string(answers[i]));
      writer.close('}');
    }
    writer.close(']');
    if (claimed) write_claimed(writer, *claimed);
  });
}

}  // namespace tidemill::server
