#include "server/remote.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <set>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "core/uuid.hpp"
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
constexpr Duration poll = 1s;
constexpr auto flush_every = 5s;

constexpr std::string_view claim_example =
    R"({"worker":{"id":"py-1","slots":8},"queues":[{"name":"mail","weight":6},{"name":"default"}],)"
    R"("limit":8,"wait":"25s"})";
constexpr std::string_view renew_example =
    R"({"worker":{"id":"py-1"},"items":[{"token":"…","progress":"50 %","logs":[{"level":"info","text":"half"}]}]})";
constexpr std::string_view report_example =
    R"({"items":[{"token":"…","outcome":"complete","result":{"sent":true}},)"
    R"({"token":"…","outcome":"retry","error":"421 greeting timeout","in":"3m"}]})";

struct ClaimBody {
  engine::RemoteWorker worker = {};
  std::size_t limit = 1;
  Duration lease = 25s;
  Duration wait{};
};

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

ClaimBody read_claim(const Ask& ask) {
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
  const auto document = ask.body();
  ClaimBody body;
  wire::read_members<ClaimBody>(document.root(), body, members);
  if (body.worker.id.empty()) throw wire::BadValue{"/worker/id", "is missing"};
  if (body.worker.queues.empty()) body.worker.queues.emplace_back("default", 1);
  for (const auto& [queue, weight] : body.worker.queues) ask.caller.check_tasks_of(queue);
  return body;
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

http::Response answer_of(const engine::RemoteClaimed& claimed) {
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.key("leases");
                       wire::write_array(writer, claimed.leases, write_lease);
                       wire::member_time(writer, "server_time", claimed.now);
                     }));
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

struct RenewBody {
  engine::RemoteWorker worker = {};
  std::vector<engine::RemoteBeat> beats = {};
  Duration lease = 25s;
};

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

std::vector<engine::RemoteReport> read_reports(const Ask& ask) {
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
  struct Body {
    std::vector<engine::RemoteReport> reports;
  };
  using BodyMember = JsonMember<Body>;
  static constexpr std::array body_members = {
      BodyMember{"items", [](auto& body, const JsonValue& v) {
                   for (const JsonValue& each : v.elements()) {
                     ReportItem item;
                     wire::read_members<ReportItem>(each, item, members);
                     body.reports.push_back(report_of(std::move(item), each));
                   }
                   if (body.reports.size() > items_max)
                     v.refuse(fmt::format("has more than {} items", items_max));
                 }}};
  const auto document = ask.body();
  Body body;
  wire::read_members<Body>(document.root(), body, body_members);
  return std::move(body.reports);
}

}  // namespace

/// A claim that waits for tasks.
struct RemoteRoutes::Waiting {
  ClaimBody body;
  http::Answer answer;
  std::chrono::steady_clock::time_point until;
  std::atomic<bool> gone{false};
};

RemoteRoutes::RemoteRoutes(Service& service)
    : service_(service),
      leases_(service.store, {}, service.log),
      id_(fmt::format("api-{}", tidemill::to_string(make_uuid()))),
      thread_([this] {
        pthread_setname_np(pthread_self(), "tm-api-claims");
        loop();
      }) {}

RemoteRoutes::~RemoteRoutes() { close(); }

void RemoteRoutes::close() {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    interrupt_.request_stop();
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

// ---- Claims

void RemoteRoutes::begin_claim(Ask&& ask, const http::Answer& answer) {
  const auto waiting = std::make_shared<Waiting>(read_claim(ask), answer, std::chrono::steady_clock::now());
  waiting->until += waiting->body.wait;
  answer.watch([weak = std::weak_ptr{waiting}] {
    if (const auto it = weak.lock()) it->gone = true;
  });
  {
    const std::lock_guard lock{mutex_};
    if (closed_) throw Problem{503, "shutting_down", "the server is stopping"};
    waiting_.push_back(waiting);
    interrupt_.request_stop();
  }
  wakes_.notify_one();
}

void RemoteRoutes::loop() {
  while (true) {
    std::vector<std::shared_ptr<Waiting>> waiting;
    bool last = false;
    {
      std::unique_lock lock{mutex_};
      wakes_.wait_for(lock, flush_every, [this] { return closed_ || !waiting_.empty(); });
      last = closed_;
      interrupt_ = {};
    }
    serve_round(last);
    flush_statistics();
    if (last) return;
    {
      const std::lock_guard lock{mutex_};
      waiting = waiting_;
    }
    if (!waiting.empty()) wait_for_tasks(waiting);
  }
}

/// Tries each claim once; those that got something, or have waited enough, are answered.
void RemoteRoutes::serve_round(bool last) {
  std::vector<std::shared_ptr<Waiting>> waiting;
  {
    const std::lock_guard lock{mutex_};
    std::swap(waiting, waiting_);
  }
  std::set<std::vector<std::pair<std::string, std::int32_t>>> empty;  // Where there was nothing just now.
  std::vector<std::shared_ptr<Waiting>> left;
  for (const auto& each : waiting) {
    if (each->gone) continue;
    const bool tried = empty.contains(each->body.worker.queues);
    const bool over = last || std::chrono::steady_clock::now() >= each->until;
    try {
      if (tried && !over) {
        leases_.announce(each->body.worker);
        left.push_back(each);
        continue;
      }
      engine::RemoteClaimed claimed;
      if (!last) claimed = leases_.claim(each->body.worker, each->body.limit, each->body.lease);
      if (claimed.leases.empty()) empty.insert(each->body.worker.queues);
      if (claimed.leases.empty() && !over) {
        left.push_back(each);
        continue;
      }
      if (each->gone) {
        leases_.give_back(claimed.leases);
      } else {
        each->answer(last ? to_response({503, "shutting_down", "the server is stopping"})
                          : answer_of(claimed));
      }
    } catch (const Error& error) {
      each->answer(to_response(to_problem(error)));
    }
  }
  const std::lock_guard lock{mutex_};
  waiting_.insert(waiting_.begin(), left.begin(), left.end());
}

void RemoteRoutes::wait_for_tasks(const std::vector<std::shared_ptr<Waiting>>& waiting) {
  std::set<std::string_view> names;
  auto until = std::chrono::steady_clock::now() + poll;
  for (const auto& each : waiting) {
    until = std::min(until, each->until);
    for (const auto& [queue, weight] : each->body.worker.queues) names.insert(queue);
  }
  std::stop_token stop;
  {
    const std::lock_guard lock{mutex_};
    stop = interrupt_.get_token();
  }
  const std::vector<std::string_view> queues{names.begin(), names.end()};
  const auto length = std::max<Duration>(
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()), 1ms);
  try {
    (void)service_.store.wait(id_, queues, length, stop);
  } catch (const Error& error) {
    service_.log.warning("waiting for tasks failed", {{"error", error.what()}});
    std::unique_lock lock{mutex_};
    wakes_.wait_for(lock, poll, [this] { return closed_; });
  }
}

void RemoteRoutes::flush_statistics() {
  const auto now = std::chrono::steady_clock::now();
  if (now - flushed_ < flush_every) return;
  flushed_ = now;
  try {
    WorkerInfo info;
    info.id = id_;
    info.state = "gone";  // Not one that runs tasks: keeps it off the list of workers.
    leases_.flush(info);
  } catch (const Error& error) {
    service_.log.warning("statistics of remote workers wait for the store", {{"error", error.what()}});
  }
}

// ---- Renewals and reports

http::Response RemoteRoutes::renew(const Ask& ask) {
  using Member = JsonMember<RenewBody>;
  static constexpr std::array members = {
      Member{"worker", [](auto& b, const JsonValue& v) { read_worker(b.worker, v); }},
      Member{"items", [](auto& b, const JsonValue& v) { read_beats(b, v); }},
      Member{"lease", [](auto& b, const JsonValue& v) { b.lease = within(v, lease_least, lease_most); }},
  };
  const auto document = ask.body();
  RenewBody body;
  wire::read_members<RenewBody>(document.root(), body, members);
  if (body.worker.id.empty()) throw wire::BadValue{"/worker/id", "is missing"};
  const engine::RemoteRenewed renewed = leases_.renew(body.worker, body.beats, body.lease);
  return json_answer(200, wire::object([&](json::Writer& writer) {
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
                       wire::member_object(writer, "worker",
                                           [&] { writer.member("signal", to_string(renewed.worker)); });
                     }));
}

http::Response RemoteRoutes::report(const Ask& ask) {
  const auto reports = read_reports(ask);
  const auto answers = leases_.report(reports);
  return json_answer(200, wire::object([&](json::Writer& writer) {
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
                     }));
}

void RemoteRoutes::add_routes(Routes& routes) {
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/claim",
       .summary = "Lease tasks for a worker; waits up to `wait` for the first one",
       .roles = workers,
       .body = std::string{claim_example},
       .begin = [this](Ask&& ask, const http::Answer& answer) { begin_claim(std::move(ask), answer); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/renew",
              .summary = "Keep leases, tell progress, and hear of what is asked of their holder",
              .roles = workers,
              .body = std::string{renew_example},
              .handle = [this](const Ask& ask) { return renew(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/report",
              .summary = "End attempts, with their outcomes",
              .roles = workers,
              .body = std::string{report_example},
              .handle = [this](const Ask& ask) { return report(ask); }});
}

}  // namespace tidemill::server
