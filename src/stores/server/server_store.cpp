#include "stores/server/server_store.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

#include "core/rules.hpp"
#include "stores/server/store_impl.hpp"
#include "wire/json_write.hpp"
#include "wire/port_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill {

bool is_server_url(std::string_view url) noexcept {
  return url.starts_with("http:") || url.starts_with("https:");
}

std::unique_ptr<Store> open_server(std::string_view url) {
  return std::make_unique<server_store::ServerStore>(server_store::Address::parse(url));
}

}  // namespace tidemill

namespace tidemill::server_store {

namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
using wire::JsonMember;
using wire::JsonValue;

/// There is nothing to wait on across HTTP, so an idle worker claims again after this.
constexpr Duration poll = 100ms;
/// How long a signal may wait for a worker that asks for it.
constexpr auto signals_after = 1s;
/// Of a request, well below what a server takes.
constexpr std::size_t body_bytes_max = 4U << 20U;

NewTask to_new_task(const Task& task) {
  NewTask made = rules::draft_of(task);
  made.options.id = task.ref.id;
  made.options.delay = task.delay;
  made.options.run_at = task.run_at;
  made.options.unique = task.unique;
  made.options.group = task.group;
  made.options.held = task.state == State::held;
  return made;
}

/// What came of one task: a result, or a problem.
struct Result {
  std::string id = {}, put = {}, code = {}, detail = {};
  bool created = false, replaced = false;
};

void read_problem(Result& result, const JsonValue& value) {
  for (const auto& [name, each] : value.members()) {
    if (name == "code") result.code = each.text();
    if (name == "detail" && result.detail.empty()) result.detail = each.text();
    if (name != "errors") continue;
    for (const JsonValue& mistake : each.elements()) {
      for (const auto& [part, text] : mistake.members()) {
        if (part == "detail") result.detail = text.text();
      }
    }
  }
}

Enqueued read_result(const JsonValue& value) {
  static constexpr std::array members = {
      JsonMember<Result>{"id", [](Result& r, const JsonValue& v) { r.id = v.text(); }},
      JsonMember<Result>{"put", [](Result& r, const JsonValue& v) { r.put = v.text(); }},
      JsonMember<Result>{"created", [](Result& r, const JsonValue& v) { r.created = v.truth(); }},
      JsonMember<Result>{"replaced", [](Result& r, const JsonValue& v) { r.replaced = v.truth(); }},
      JsonMember<Result>{"problem", read_problem},
  };
  Result result;
  wire::read_members<Result>(value, result, members);
  Enqueued answer{.put = Put::exists, .id = std::move(result.id), .why = std::move(result.detail)};
  if (result.created) answer.put = Put::created;
  if (result.replaced) answer.put = Put::replaced;
  if (result.code.empty()) return answer;
  if (result.code == "unique_conflict") {
    answer.put = result.put == to_string(Put::busy) ? Put::busy : Put::exists;
  } else if (result.code == "unknown_outcome") {
    answer.put = Put::unknown;
  } else {
    answer.put = result.code == "invalid" || result.code == "forbidden" ? Put::invalid : Put::failed;
  }
  return answer;
}

/// What GET /server says.
struct About {
  std::string name = {};
  TimePoint time{};
  Capabilities can = {};
};

void read_limits(About& about, const JsonValue& value) {
  for (const auto& [name, each] : value.members()) {
    if (name == "task_bytes") about.can.task_bytes_max = static_cast<std::size_t>(each.integer(1, INT64_MAX));
    for (unsigned i = 0; i <= static_cast<unsigned>(Feature::documents); ++i) {
      const Feature feature{static_cast<std::uint8_t>(i)};
      if (to_string(feature) == name) about.can.limits[feature].text = each.text();
    }
  }
}

void read_absent(About& about, const JsonValue& value) {
  for (const std::string& name : value.texts()) {
    for (auto& [feature, limit] : about.can.limits) limit.absent = limit.absent || to_string(feature) == name;
  }
}

About read_about(const JsonValue& root) {
  static constexpr std::array members = {
      JsonMember<About>{"name", [](About& a, const JsonValue& v) { a.name = v.text(); }},
      JsonMember<About>{"time", [](About& a, const JsonValue& v) { a.time = v.time(); }},
      JsonMember<About>{"limits", read_limits},
      JsonMember<About>{"absent", read_absent},
  };
  About about;
  wire::read_members<About>(root, about, members);
  if (about.name != "tidemill") root.refuse("is of no Tidemill server");
  return about;
}

}  // namespace

ServerStore::ServerStore(Address address) : connection_(std::move(address)) {
  capabilities_ = read_answer(connection_.ask({.target = "/server"}), read_about).can;
  const auto lacks = [&](Feature feature, std::string why) {
    capabilities_.limits[feature] = {.absent = true, .text = std::move(why)};
  };
  lacks(Feature::inside, "A server can't take part in a database's transaction.");
  lacks(Feature::locks, "Open the server's own store for locks, or use its API.");
  lacks(Feature::documents, "Open the server's own store for documents.");
}

void ServerStore::refuse_answer(const wire::BadValue& bad) const {
  throw Error{ErrorKind::unavailable, fmt::format("the answer of {} is not as it must be: {} {}",
                                                  connection_.address().shown, bad.pointer(), bad.what())};
}

TimePoint ServerStore::now() { return read_answer(connection_.ask({.target = "/server"}), read_about).time; }

// The key makes a repeated call have the effect of one: the server keeps the answer.
std::vector<Enqueued> ServerStore::enqueue(std::span<const Task> tasks, const Call& call,
                                           Transaction* inside) {
  if (inside != nullptr) throw Error{ErrorKind::unsupported, capabilities_.limits.at(Feature::inside).text};
  if (tasks.empty()) return {};
  std::string body;
  json::Writer writer{body};
  wire::write_array(writer, tasks, [](json::Writer& out, const Task& task) {
    if (task.firing) throw Error{ErrorKind::unsupported, "a server fires its schedules itself"};
    wire::write_new_task(out, to_new_task(task));
  });
  const std::string answer =
      connection_.ask({.method = "POST",
                       .target = "/tasks",
                       .body = std::move(body),
                       .idempotency_key = fmt::format("tm-{:016x}-{}", call.session, call.number),
                       .deadline = call.deadline});
  return read_answer(answer, [&](const JsonValue& root) {
    std::vector<Enqueued> results;
    for (const auto& [name, value] : root.members()) {
      if (name != "results") continue;
      for (const JsonValue& each : value.elements()) results.push_back(read_result(each));
    }
    if (results.size() != tasks.size()) root.refuse("has not one result for each task");
    return results;
  });
}

// ---- The worker's verbs

Claimed ServerStore::claim(const Claim& claim, const Call& call) {
  std::string body;
  json::Writer writer{body};
  wire::write_claim(writer, claim);
  const std::string answer = connection_.post("/port/claim", std::move(body), call.deadline);
  return read_answer(answer, wire::read_claimed);
}

std::vector<Reported> ServerStore::report(std::span<const Report> reports, const Call& call) {
  std::vector<Reported> answers;
  while (!reports.empty()) {
    std::string body = R"({"items":[)";
    std::size_t count = 0;
    for (; count < reports.size() && (count == 0 || body.size() < body_bytes_max); ++count) {
      const Report& report = reports[count];
      if (!report.then.empty()) {
        throw Error{ErrorKind::unsupported,
                    "a server takes no tasks with a report; enqueue them before the handler returns"};
      }
      if (count > 0) body += ',';
      json::Writer writer{body};
      wire::write_report(writer, report);
    }
    body += "]}";
    const std::string answer = connection_.post("/port/report", std::move(body), call.deadline);
    const auto some = read_answer(answer, [count](const JsonValue& root) {
      auto read = wire::read_reported(root);
      if (read.size() != count) root.refuse("has not one answer for each report");
      return read;
    });
    answers.insert(answers.end(), some.begin(), some.end());
    reports = reports.subspan(count);
  }
  return answers;
}

Renewed ServerStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                           std::span<const Stat> stats, const Call& call) {
  renewed_ = Steady::now().time_since_epoch().count();
  std::string body;
  json::Writer writer{body};
  wire::write_renewal(writer, worker, beats, lease, stats);
  const std::string answer = connection_.post("/port/renew", std::move(body), call.deadline);
  return read_answer(answer, [&](const JsonValue& root) {
    Renewed renewed = wire::read_renewed(root);
    if (renewed.leases.size() != beats.size()) root.refuse("has not one answer for each beat");
    return renewed;
  });
}

Wake ServerStore::wait(std::string_view, std::span<const std::string_view>, Duration timeout,
                       std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  (void)never.wait_for(lock, stop, std::min(timeout, poll), [] { return false; });
  if (stop.stop_requested()) return Wake::stopped;
  const auto quiet = Steady::now().time_since_epoch() - Steady::duration{renewed_.load()};
  return quiet >= signals_after ? Wake::signals : Wake::tasks;
}

}  // namespace tidemill::server_store
