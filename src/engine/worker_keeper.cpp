#include "engine/worker_keeper.hpp"

#include <algorithm>
#include <utility>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "engine/worker_core.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// Beats for signals come no closer than this, should a store tell of them again and again.
constexpr auto poke_gap = 20ms;
/// How often the last beat is tried: the list of workers forgets the silent ones by itself.
constexpr int last_tries = 3;

Steady steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

WorkerKeeper::WorkerKeeper(WorkerCore& core)
    : core_(core), lane_(core.clock), trouble_(core.options.log, "renew leases", core.options.beat / 2) {}

void WorkerKeeper::start() {
  thread_ = std::thread{[this] {
    name_thread("tm-keep");
    loop();
  }};
}

void WorkerKeeper::finish() {
  {
    const std::lock_guard lock{mutex_};
    finishing_ = true;
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void WorkerKeeper::poke() {
  {
    const std::lock_guard lock{mutex_};
    poked_ = true;
  }
  wakes_.notify_one();
}

void WorkerKeeper::mark(std::span<const AttemptPtr> attempts) {
  {
    const std::lock_guard lock{mutex_};
    to_mark_.insert(to_mark_.end(), attempts.begin(), attempts.end());
  }
  wakes_.notify_one();
}

void WorkerKeeper::loop() {
  while (true) {
    bool marks = false;
    bool poked = false;
    {
      std::unique_lock lock{mutex_};
      const auto wanted = [this] { return finishing_ || poked_ || !to_mark_.empty(); };
      // After a failure nothing but the end cuts the pause short.
      wakes_.wait_until(lock, quiet_until_, [this] { return finishing_; });
      wakes_.wait_until(lock, next_beat_, wanted);
      if (finishing_) break;
      marks = !to_mark_.empty();
      poked = poked_ && steady_now() - last_poke_ >= poke_gap;
      if (poked) poked_ = false;
      if (!marks && !poked && steady_now() < next_beat_) {
        wakes_.wait_for(lock, poke_gap, [this] { return finishing_; });
        continue;
      }
    }
    if (marks) mark_all();
    if (poked) last_poke_ = steady_now();
    if (poked || steady_now() >= next_beat_) beat(poked);
  }
  last_beat();
}

// ---- Beats

void WorkerKeeper::beat(bool all) {
  const Steady at = steady_now();
  // A lease that is this young can wait for the next beat; most attempts end before they need one.
  const Steady young = at + core_.hold - core_.options.beat / 4;
  std::vector<AttemptPtr> held = core_.pool.held();
  for (AttemptPtr& attempt : core_.reporter.held()) held.push_back(std::move(attempt));
  std::erase_if(held, [&](const AttemptPtr& attempt) {
    return attempt->stop_reason() == StopReason::lost || (!all && attempt->hold_until() > young);
  });

  const std::size_t most = std::max<std::size_t>(core_.store.capabilities().batch_max, 1);
  bool good = true;
  bool answered = true;
  std::size_t begin = 0;
  do {
    Load load;
    const std::size_t end = std::min(begin + most, held.size());
    load.attempts.assign(held.begin() + static_cast<std::ptrdiff_t>(begin),
                         held.begin() + static_cast<std::ptrdiff_t>(end));
    for (const AttemptPtr& attempt : load.attempts) {
      load.beats.push_back({.lease = &attempt->lease(), .started = attempt->marked()});
      if (!attempt->settled()) attempt->take_news(load.beats.back());
    }
    answered = renew(load, begin == 0);
    good = good && load.unknown.empty() && answered;
    begin = end;
  } while (answered && begin < held.size());
  next_beat_ = good ? at + core_.options.beat : at;  // After a failure as soon as the pause is over.
}

bool WorkerKeeper::renew(Load& load, bool with_stats) {
  const std::vector<Stat> stats = with_stats ? core_.stats.take() : std::vector<Stat>{};
  std::string why;
  try {
    const Call call = lane_.next(std::max(core_.options.beat, core_.hold / 2));
    const WorkerInfo info = core_.info();
    const Steady sent = steady_now();
    const Renewed renewed = core_.store.renew(info, load.beats, core_.options.lease, stats, call);
    core_.clock.learn(renewed.now, sent, steady_now());
    core_.last_renewal = sent;
    core_.obey(renewed.worker);
    sort_out(load, renewed, sent);
    if (load.unknown.empty()) {
      trouble_.over();
    } else {
      quiet_until_ = steady_now() + trouble_.failed("the store doesn't answer for some of them");
    }
    return true;
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
    why = "unknown exception";
  }
  core_.stats.put_back(stats);
  for (std::size_t i = 0; i < load.attempts.size(); ++i) load.attempts[i]->put_back(std::move(load.beats[i]));
  quiet_until_ = steady_now() + trouble_.failed(why);
  return false;
}

void WorkerKeeper::sort_out(Load& load, const Renewed& renewed, Steady sent) {
  std::vector<AttemptPtr> known;
  for (std::size_t i = 0; i < load.attempts.size() && i < renewed.leases.size(); ++i) {
    AttemptPtr& attempt = load.attempts[i];
    if (renewed.leases[i] == Signal::unknown) {
      attempt->put_back(std::move(load.beats[i]));
      load.unknown.push_back(std::move(attempt));
      continue;
    }
    deliver(attempt, renewed.leases[i], sent);
    known.push_back(std::move(attempt));
  }
  load.attempts = std::move(known);
}

void WorkerKeeper::deliver(const AttemptPtr& attempt, Signal signal, Steady sent) {
  if (signal == Signal::lost) {
    // One that has ended was reported meanwhile; one that waits finds its time run out when its turn comes.
    if (attempt->settled()) return;
    attempt->extend(sent);
    if (attempt->begun()) core_.stop(attempt, StopReason::lost);
    return;
  }
  attempt->extend(sent + core_.hold);
  if (signal != Signal::cancel && signal != Signal::hold) return;
  core_.signal(attempt, signal);
}

void WorkerKeeper::last_beat() {
  WorkerInfo info = core_.info();
  info.state = "gone";
  const std::vector<Stat> stats = core_.stats.take();
  std::string why;
  for (int i = 0; i < last_tries; ++i) {
    try {
      (void)core_.store.renew(info, {}, core_.options.lease, stats, lane_.next(core_.options.beat));
      return;
    } catch (const std::exception& error) {
      why = error.what();
    }
    std::this_thread::sleep_for(trouble_.failed(why));
  }
  core_.options.log.warning("stopped without having told the store; its last statistics are lost",
                            {{"error", why}});
}

// ---- Marks

void WorkerKeeper::mark_all() {
  Load load;
  {
    const std::lock_guard lock{mutex_};
    const std::size_t most = std::max<std::size_t>(core_.store.capabilities().batch_max, 1);
    const auto end = to_mark_.begin() + static_cast<std::ptrdiff_t>(std::min(most, to_mark_.size()));
    load.attempts.assign(to_mark_.begin(), end);
    to_mark_.erase(to_mark_.begin(), end);
  }
  std::erase_if(load.attempts, [this](const AttemptPtr& attempt) {
    const bool out = core_.stopping || steady_now() >= attempt->hold_until();
    if (out) drop(attempt);
    return out;
  });
  if (load.attempts.empty()) return;
  for (const AttemptPtr& attempt : load.attempts) {
    load.beats.push_back({.lease = &attempt->lease(), .started = true});
  }
  const bool answered = renew(load, false);
  {
    const std::lock_guard lock{mutex_};
    const auto& again = answered ? load.unknown : load.attempts;
    to_mark_.insert(to_mark_.begin(), again.begin(), again.end());
  }
  if (!answered) return;
  for (const AttemptPtr& attempt : load.attempts) after_mark(attempt);
}

/// A cancelled one goes on too: the pool withdraws it instead of running it.
void WorkerKeeper::after_mark(const AttemptPtr& attempt) {
  if (steady_now() >= attempt->hold_until()) {
    drop(attempt);
    return;
  }
  attempt->set_marked();
  if (!core_.pool.resume(attempt)) drop(attempt);
}

/// It has a slot and will not run: its time has run out, or the worker stops.
void WorkerKeeper::drop(const AttemptPtr& attempt) {
  if (steady_now() >= attempt->hold_until()) {
    core_.lost(attempt->task(), "before it started");
  } else if (attempt->abandon()) {
    core_.reporter.add(attempt, rules::give_back(attempt->lease()));
  }
  core_.pool.release(attempt);
}

}  // namespace tidemill::engine
