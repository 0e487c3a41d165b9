#include "engine/worker_watch.hpp"

#include <algorithm>
#include <utility>

#include "core/rules.hpp"
#include "engine/worker_core.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// How long a suspect keeps other suspects waiting.
constexpr auto suspect_alone = 30s;
/// Threads that fire tokens: so many callbacks may block at one time before others have to wait.
constexpr std::size_t firing_threads_max = 8;

Steady steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

WorkerWatch::WorkerWatch(WorkerCore& core) : core_(core) {}

void WorkerWatch::start() {
  thread_ = std::thread{[this] {
    name_thread("tm-watch");
    loop();
  }};
}

void WorkerWatch::finish() {
  {
    const std::lock_guard lock{mutex_};
    finishing_ = true;
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::size_t WorkerWatch::leave(Steady until) {
  {
    const std::lock_guard lock{firing_->mutex};
    firing_->finishing = true;
  }
  firing_->more.notify_all();
  const std::lock_guard lock{crew_mutex_};
  return crew_.leave(until);
}

// ---- Planning

/// The attempt's own times are written before `next_` is read here, and `next_` is set to the far future
/// before the watch reads them: so one of the two sees the other.
void WorkerWatch::expect(const detail::Attempt& attempt) {
  Steady due = std::min(attempt.due(), attempt.hold_until());
  if (attempt.stop_reason() != StopReason::none) due = attempt.stopped_at() + core_.options.stuck_after;
  if (due < next_.load()) poke();
}

void WorkerWatch::poke() {
  {
    const std::lock_guard lock{mutex_};
    poked_ = true;
  }
  wakes_.notify_one();
}

void WorkerWatch::loop() {
  std::unique_lock lock{mutex_};
  while (!finishing_) {
    poked_ = false;
    lock.unlock();
    next_.store(Steady::max());
    const Steady next = look(steady_now());
    next_.store(next);
    lock.lock();
    wakes_.wait_until(lock, next, [this] { return poked_ || finishing_; });
  }
}

Steady WorkerWatch::look(Steady at) {
  Steady next = at + core_.options.beat;
  for (const AttemptPtr& attempt : core_.pool.running()) next = std::min(next, check(attempt, at));
  return next;
}

Steady WorkerWatch::check(const AttemptPtr& attempt, Steady at) {
  if (attempt->settled() || !attempt->begun()) return Steady::max();
  Steady next = Steady::max();
  if (rules::suspect(attempt->task())) {
    const Steady enough = attempt->begun_at() + suspect_alone;
    if (enough <= at) {
      SuspectGate::of_process().leave(*attempt);
    } else {
      next = enough;
    }
  }
  if (attempt->stop_reason() == StopReason::none) {
    if (attempt->hold_until() <= at) {
      core_.stop(attempt, StopReason::lost);
    } else if (attempt->due() <= at) {
      core_.stop(attempt, attempt->due_reason());
    } else {
      return std::min({next, attempt->hold_until(), attempt->due()});
    }
  }
  const Steady stuck = attempt->stopped_at() + core_.options.stuck_after;
  if (stuck > at) return std::min(next, stuck);
  core_.abandon(attempt);
  return next;
}

// ---- Firing

void WorkerWatch::fire(const AttemptPtr& attempt) {
  call([attempt] { attempt->fire(); });
  expect(*attempt);
}

void WorkerWatch::call(std::function<void()> body) {
  bool one_more = false;
  {
    const std::lock_guard lock{firing_->mutex};
    if (firing_->finishing) return;
    firing_->queue.push_back(std::move(body));
    one_more = firing_->idle < firing_->queue.size();
  }
  firing_->more.notify_one();
  if (one_more) {
    const std::lock_guard lock{crew_mutex_};
    if (crew_.size() < firing_threads_max) crew_.add("tm-stop", [firing = firing_] { fire_all(*firing); });
  }
}

void WorkerWatch::fire_all(Firing& firing) {
  std::unique_lock lock{firing.mutex};
  while (true) {
    if (!firing.queue.empty()) {
      std::function<void()> body = std::move(firing.queue.front());
      firing.queue.pop_front();
      lock.unlock();
      body();
      body = nullptr;
      lock.lock();
    } else if (firing.finishing) {
      return;
    } else {
      ++firing.idle;
      firing.more.wait(lock);
      --firing.idle;
    }
  }
}

}  // namespace tidemill::engine
