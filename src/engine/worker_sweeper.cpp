#include "engine/worker_sweeper.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "engine/worker_core.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

namespace {

constexpr std::size_t limit = 500;
/// After a slow sweep the store is left alone for so many times as long, up to a limit: a database keeps old
/// rows for long transactions, and a sweep steps over all of them.
constexpr int rest_share = 5;
constexpr Duration rest_most = std::chrono::seconds{30};

Steady steady_now() { return std::chrono::steady_clock::now(); }

/// Between a half and one and a half, so that many workers don't sweep at one time.
Duration jittered(Duration length) {
  return Duration{static_cast<Duration::rep>(static_cast<double>(length.count()) * (0.5 + random_unit()))};
}

}  // namespace

WorkerSweeper::WorkerSweeper(WorkerCore& core)
    : core_(core), lane_(core.clock), trouble_(core.options.log, "sweep") {}

void WorkerSweeper::start() {
  thread_ = std::thread{[this] {
    name_thread("tm-sweep");
    loop();
  }};
}

void WorkerSweeper::finish() {
  {
    const std::lock_guard lock{mutex_};
    finishing_ = true;
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void WorkerSweeper::loop() {
  Duration pause = jittered(core_.options.sweep);
  while (!sleep(pause)) {
    pause = jittered(core_.options.sweep);
    try {
      for (bool more = true; more && core_.clock.may_sweep();) {
        const Steady start = steady_now();
        more = sweep();
        const auto took = std::chrono::ceil<Duration>(steady_now() - start);
        pause = std::max(pause, std::min(rest_share * took, rest_most));
        if (more && sleep({})) return;
      }
      trouble_.over();
    } catch (const std::exception& error) {
      pause = std::max(pause, trouble_.failed(error.what()));
    } catch (...) {
      pause = std::max(pause, trouble_.failed("unknown exception"));
    }
  }
}

bool WorkerSweeper::sweep() {
  const Call call = lane_.next(core_.hold);
  const Steady sent = steady_now();
  Swept swept = core_.store.sweep(core_.id, core_.options.lease, limit, call);
  for (Lease& lease : swept.taken) take_over(std::move(lease), sent);
  return swept.more;
}

void WorkerSweeper::take_over(Lease lease, Steady sent) {
  const AttemptPtr attempt = core_.adopt(std::move(lease), sent);
  const Task& task = attempt->task();
  Report report = rules::crashed(attempt->lease(), core_.now());
  const bool poison = report.to == State::archived;
  core_.options.log.write(poison ? Level::error : Level::warning,
                          poison ? "workers keep dying with this task: archived as poison"
                                 : "took over a task whose worker died or lost contact",
                          {{"queue", task.ref.queue},
                           {"id", task.ref.id},
                           {"kind", task.kind},
                           {"worker", task.worker},
                           {"crashes", std::to_string(report.crashes)}});
  core_.reporter.add(attempt, std::move(report));
}

bool WorkerSweeper::sleep(Duration length) {
  std::unique_lock lock{mutex_};
  return wakes_.wait_for(lock, length, [this] { return finishing_; });
}

}  // namespace tidemill::engine
