#include "server/waits.hpp"

#include <algorithm>
#include <atomic>

#include <fmt/format.h>

#include "core/transitions.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 50ms;
constexpr std::size_t look_at_most = 1000;

bool has_ended(State state) { return state == State::gone || is_over(state); }

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
  Ask ask;
  Look look;
  bool must_exist;
  http::Answer answer;
  std::chrono::steady_clock::time_point until;
  std::optional<Ref> ref = {};  ///< Not found yet.
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
              .begin = [this](Ask&& ask, const http::Answer& answer) { wait(std::move(ask), answer); }});
}

void Waits::wait(Ask&& ask, const http::Answer& answer) {
  begin(std::move(ask), answer, false,
        [](const Ref&, const std::optional<Task>& task, bool over) -> std::optional<http::Response> {
          if (!over && !has_ended(task ? task->state : State::gone)) return {};
          return answer_of(task);
        });
}

void Waits::begin(Ask&& ask, const http::Answer& answer, bool must_exist, Look look) {
  Duration timeout{};
  try {
    timeout = std::min<Duration>(wire::parse_duration(ask.parameter("timeout", "30s")), 5min);
  } catch (const Error& error) {
    throw Problem{400, "invalid", fmt::format("timeout: {}", error.what())};
  }
  if (const auto queue = ask.parameter("queue"); !queue.empty()) ask.caller.check_queue(queue);
  const auto waiting = std::make_shared<Waiting>(std::move(ask), std::move(look), must_exist, answer,
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

void Waits::erase(Ask&& ask, const http::Answer& answer) {
  struct Erasing {
    bool seen = false, asked = false;
    std::optional<TimePoint> asked_of = {};  ///< When the attempt began that was told to stop.
  };
  begin(
      std::move(ask), answer, true,
      [this, erasing = Erasing{}](const Ref& ref, const std::optional<Task>& task,
                                  bool over) mutable -> std::optional<http::Response> {
        if (ref.queue == own_queue)
          return to_response(
              {403, "forbidden", fmt::format("queue \"{}\" is for the server's own work", ref.queue)});
        if (!task && erasing.seen) return nothing();
        erasing.seen = true;
        if (!task || task->state != State::active) {
          const Changed changed = service_.inspector.act(Act::erase, ref);
          if (changed == Changed::changed || (task && changed == Changed::absent)) return nothing();
          // One that waited just now may run by now.
          if (changed != Changed::wrong_state || (task && task->state == State::aggregating))
            return to_response(refusal_of(service_, to_string(Act::erase), ref, changed));
        } else if (!erasing.asked || erasing.asked_of != task->started_at) {
          // Another attempt may have begun, which has heard nothing.
          erasing.asked = service_.inspector.act(Act::cancel, ref) == Changed::signalled;
          erasing.asked_of = task->started_at;
        }
        if (!over) return {};
        return to_response({409, "wrong_state",
                            fmt::format("task {} still runs; it was told to stop, and that stands: delete it "
                                        "when its attempt has ended",
                                        ref.id)});
      });
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

/// Answers those whose task is nowhere.
void Waits::find(Waiting& waiting) {
  try {
    waiting.ref = find_task(service_, waiting.ask);
  } catch (const Problem& problem) {
    // Perhaps it has ended and was not kept; nobody can tell that from one that never was.
    waiting.answer(problem.status == 404 && !waiting.must_exist ? answer_of({}) : to_response(problem));
  }
}

void Waits::look(std::vector<std::shared_ptr<Waiting>>& waiting, bool last) {
  std::erase_if(waiting, [](const auto& each) { return each->gone.load(); });
  for (const auto& each : waiting) {
    if (!each->ref) find(*each);
  }
  std::erase_if(waiting, [](const auto& each) { return !each->ref; });
  std::vector<std::shared_ptr<Waiting>> left;
  for (std::size_t begin = 0; begin < waiting.size(); begin += look_at_most) {
    const std::size_t end = std::min(begin + look_at_most, waiting.size());
    std::vector<Ref> refs;
    for (std::size_t i = begin; i < end; ++i) refs.push_back(*waiting[i]->ref);
    const auto tasks = service_.inspector.tasks(refs);
    for (std::size_t i = begin; i < end; ++i) {
      const bool over = last || std::chrono::steady_clock::now() >= waiting[i]->until;
      if (auto response = waiting[i]->look(refs[i - begin], tasks[i - begin], over)) {
        waiting[i]->answer(std::move(*response));
      } else {
        left.push_back(waiting[i]);
      }
    }
  }
  waiting = std::move(left);
}

}  // namespace tidemill::server
