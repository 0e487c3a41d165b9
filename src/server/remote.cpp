#include "server/remote.hpp"

#include <algorithm>
#include <atomic>
#include <set>

#include <fmt/format.h>

#include "core/uuid.hpp"
#include "server/remote_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr Duration poll = 1s;
constexpr auto flush_every = 5s;

constexpr std::string_view claim_example =
    R"({"worker":{"id":"py-1","slots":8},"queues":[{"name":"mail","weight":6},{"name":"default"}],)"
    R"("limit":8,"wait":"25s"})";
constexpr std::string_view renew_example =
    R"({"worker":{"id":"py-1"},"items":[{"token":"…","progress":"50 %","logs":[{"level":"info","text":"half"}]}]})";
constexpr std::string_view report_example =
    R"({"items":[{"token":"…","outcome":"complete","result":{"sent":true}},)"
    R"({"token":"…","outcome":"retry","error":"421 greeting timeout","in":"3m"}],)"
    R"("claim":{"worker":{"id":"py-1","slots":8},"limit":2}})";

}  // namespace

/// A claim that waits for tasks.
struct RemoteRoutes::Waiting {
  ClaimBody body;
  http::Answer answer;
  std::chrono::steady_clock::time_point until;
  std::atomic<bool> gone{false};
};

RemoteRoutes::RemoteRoutes(Service& service, Later later)
    : service_(service),
      later_(std::move(later)),
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
  const auto document = ask.body();
  const auto waiting = std::make_shared<Waiting>(read_claim(document.root(), ask.caller), answer,
                                                 std::chrono::steady_clock::now());
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
                          : json_answer(200, text_of(claimed)));
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
  const auto document = ask.body();
  const RenewBody body = read_renew(document.root());
  return json_answer(200, text_of(body, leases_.renew(body.worker, body.beats, body.lease)));
}

void RemoteRoutes::begin_report(const Ask& ask, const http::Answer& answer) {
  const auto document = ask.body();
  const auto body = std::make_shared<const ReportBody>(read_report(document.root(), ask.caller));
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  if (body->claim) answer.watch([gone] { *gone = true; });
  later_([this, body, gone] { return report(*body, *gone); }, answer);
}

http::Response RemoteRoutes::report(const ReportBody& body, const std::atomic<bool>& gone) {
  const auto answers = leases_.report(body.reports);
  std::optional<engine::RemoteClaimed> claimed;
  if (body.claim) claimed = claim_at_once(*body.claim);
  if (claimed && gone) leases_.give_back(std::exchange(claimed->leases, {}));
  return json_answer(200, text_of(body.reports, answers, claimed));
}

/// What was reported has been written, and its answer must say so: a claim that fails has got nothing.
engine::RemoteClaimed RemoteRoutes::claim_at_once(const ClaimBody& body) {
  {
    const std::lock_guard lock{mutex_};
    if (closed_) return {.now = service_.inspector.now()};
  }
  try {
    return leases_.claim(body.worker, body.limit, body.lease);
  } catch (const Error& error) {
    service_.log.warning("a claim with a report failed", {{"error", error.what()}});
    return {.now = service_.inspector.now()};
  }
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
              .summary = "End attempts, with their outcomes; with `claim`, also lease the next tasks, as "
                         "/claim without waiting",
              .roles = workers,
              .body = std::string{report_example},
              .begin = [this](Ask&& ask, const http::Answer& answer) { begin_report(ask, answer); }});
}

}  // namespace tidemill::server
