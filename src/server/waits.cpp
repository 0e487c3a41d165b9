#include "server/waits.hpp"

#include <algorithm>
#include <atomic>
#include <map>

#include <fmt/format.h>

#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 50ms;
constexpr std::size_t look_at_most = 1000;

bool has_ended(State state) {
  return state == State::gone || state == State::completed || state == State::archived;
}

http::Response answer_of(const std::optional<Task>& task) {
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("state", to_string(task ? task->state : State::gone));
                       if (!task) return;
                       if (!task->result.empty()) wire::member_body(writer, "result", task->result);
                       wire::member_text(writer, "error", task->error);
                       wire::member_text(writer, "reason", task->reason);
                     }));
}

}  // namespace

struct Waits::Waiting {
  Caller caller;
  std::string id;
  std::string queue;  ///< Empty as long as it isn't known.
  http::Answer answer;
  std::chrono::steady_clock::time_point until;
  std::atomic<bool> gone{false};
};

Waits::Waits(Service& service)
    : service_(service), thread_([this] {
        pthread_setname_np(pthread_self(), "tm-api-waits");
        loop();
      }) {}

Waits::~Waits() { close(); }

void Waits::close() {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Waits::add_routes(Routes& routes) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}/wait",
              .summary =
                  "Answers when the task has ended, or after `timeout` (30s) with its state; a task that is "
                  "not kept after its end is then gone",
              .roles = viewers + producers,
              .parameters = {"queue", "timeout"},
              .begin = [this](Ask&& ask, const http::Answer& answer) { begin(ask, answer); }});
}

void Waits::begin(const Ask& ask, const http::Answer& answer) {
  Duration timeout{};
  try {
    timeout = std::min<Duration>(wire::parse_duration(ask.parameter("timeout", "30s")), 5min);
  } catch (const Error& error) {
    throw Problem{400, "invalid", fmt::format("timeout: {}", error.what())};
  }
  const std::string queue{ask.parameter("queue")};
  if (!queue.empty()) ask.caller.check_queue(queue);
  const auto waiting = std::make_shared<Waiting>(ask.caller, ask.path[0], queue, answer,
                                                 std::chrono::steady_clock::now() + timeout);
  answer.watch([weak = std::weak_ptr{waiting}] {
    if (const auto it = weak.lock()) it->gone = true;
  });
  {
    const std::lock_guard lock{mutex_};
    if (closed_) throw Problem{503, "shutting_down", "the server is stopping"};
    fresh_.push_back(waiting);
  }
  wakes_.notify_one();
}

void Waits::loop() {
  std::vector<std::shared_ptr<Waiting>> waiting;
  while (true) {
    bool last = false;
    {
      std::unique_lock lock{mutex_};
      const auto wanted = [this] { return closed_ || !fresh_.empty(); };
      if (waiting.empty()) {
        wakes_.wait(lock, wanted);
      } else {
        wakes_.wait_for(lock, look_every, wanted);
      }
      last = closed_;
      waiting.insert(waiting.end(), fresh_.begin(), fresh_.end());
      fresh_.clear();
    }
    try {
      look(waiting, last);
    } catch (const Error& error) {
      for (const auto& each : waiting) each->answer(to_response(to_problem(error)));
      waiting.clear();
    }
    if (last) return;
  }
}

void Waits::look(std::vector<std::shared_ptr<Waiting>>& waiting, bool last) {
  std::erase_if(waiting, [](const auto& each) { return each->gone.load(); });
  for (const auto& each : waiting) {
    if (!each->queue.empty()) continue;
    for (const QueueInfo& queue : service_.inspector.queues()) {
      if (each->caller.may_use(queue.name) && service_.inspector.task({queue.name, each->id}))
        each->queue = queue.name;
    }
    // Perhaps it has ended and was not kept; nobody can tell that from one that never was.
    if (each->queue.empty()) each->answer(answer_of({}));
  }
  std::erase_if(waiting, [](const auto& each) { return each->queue.empty(); });
  std::vector<std::shared_ptr<Waiting>> left;
  for (std::size_t begin = 0; begin < waiting.size(); begin += look_at_most) {
    const std::size_t end = std::min(begin + look_at_most, waiting.size());
    std::vector<Ref> refs;
    for (std::size_t i = begin; i < end; ++i) refs.push_back({waiting[i]->queue, waiting[i]->id});
    const auto tasks = service_.inspector.tasks(refs);
    for (std::size_t i = begin; i < end; ++i) {
      const auto& task = tasks[i - begin];
      const bool over = last || std::chrono::steady_clock::now() >= waiting[i]->until;
      if (over || has_ended(task ? task->state : State::gone)) {
        waiting[i]->answer(answer_of(task));
      } else {
        left.push_back(waiting[i]);
      }
    }
  }
  waiting = std::move(left);
}

}  // namespace tidemill::server
