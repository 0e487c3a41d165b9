#include "engine/worker_pool.hpp"

#include <algorithm>
#include <utility>

#include "core/rules.hpp"
#include "engine/suspects.hpp"
#include "engine/worker_core.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// What waits is worked off within this, by measured run times.
constexpr double stock_us = 100'000;
/// However fast the handlers are, no more than this waits.
constexpr std::size_t stock_max = 2000;
constexpr std::size_t stock_bytes_max = 1U << 20U;
/// How long an attempt waits for a slot before it is given back.
constexpr auto stale = 1s;
/// The weight of the newest run time in the average.
constexpr double newest = 1.0 / 16;

}  // namespace

WorkerPool::WorkerPool(WorkerCore& core, std::size_t slots, std::size_t threads)
    : core_(core), slot_count_(slots), thread_count_(threads), slots_(slots) {
  free_.reserve(slots);
  for (std::size_t i = slots; i > 0; --i) free_.push_back(i - 1);
}

void WorkerPool::start(const std::shared_ptr<WorkerCore>& core) {
  for (std::size_t i = 0; i < thread_count_; ++i) {
    crew_.add("tm-handler", [core] { core->pool.work(); });
  }
}

// ---- Threads

void WorkerPool::work() {
  AttemptPtr over;
  while (AttemptPtr attempt = next(std::move(over))) {
    const bool ended = core_.run(attempt);
    over = ended ? std::move(attempt) : nullptr;
  }
}

AttemptPtr WorkerPool::next(AttemptPtr over) {
  const bool was_suspect = over && rules::suspect(over->task());
  if (was_suspect) SuspectGate::of_process().leave(*over);
  std::unique_lock lock{mutex_};
  if (over) unseat(over);
  while (true) {
    AttemptPtr attempt = take();
    const std::vector<AttemptPtr> to_mark = std::exchange(to_mark_, {});
    const bool end = closed_ && !attempt;
    const bool wake = wants_thread();
    const bool ring = must_ring();
    if (attempt || end || wake || ring || !to_mark.empty()) {
      lock.unlock();
      if (wake) work_.notify_one();
      if (ring) core_.bell.ring();
      if (!to_mark.empty()) core_.keeper.mark(to_mark);
      if (attempt || end) return attempt;
      over.reset();
      lock.lock();
      continue;
    }
    over.reset();
    ++sleeping_;
    work_.wait(lock);
    --sleeping_;
    waking_ = false;
  }
}

/// The next attempt that may start, in its slot.
AttemptPtr WorkerPool::take() {
  if (!marked_.empty()) {
    AttemptPtr attempt = std::move(marked_.front());
    marked_.pop_front();
    return attempt;
  }
  while (!line_.empty() && !full()) {
    AttemptPtr attempt = std::move(line_.front());
    line_.pop_front();
    bytes_ -= attempt->task().payload.size();
    if (may_start(attempt)) return attempt;
  }
  return nullptr;
}

/// Seats it. A suspect waits for the gate first, without a slot; then, as others that must be marked as
/// started, for the mark, with its slot, so that nothing is marked that can't start at once.
bool WorkerPool::may_start(const AttemptPtr& attempt) {
  if (!core_.must_mark(attempt->task()) || attempt->marked() || attempt->signal() != Signal::none) {
    seat(attempt);
    return true;
  }
  if (rules::suspect(attempt->task()) && !SuspectGate::of_process().enter(*attempt)) {
    suspects_.push_back(attempt);
    return false;
  }
  seat(attempt);
  to_mark_.push_back(attempt);
  return false;
}

void WorkerPool::seat(const AttemptPtr& attempt) {
  attempt->slot = free_.back();
  free_.pop_back();
  slots_[attempt->slot] = attempt;
}

void WorkerPool::unseat(const AttemptPtr& attempt) {
  slots_[attempt->slot].reset();
  free_.push_back(attempt->slot);
  if (attempt->begun()) measure(attempt->ran());
  if (closed_) idle_.notify_all();
}

void WorkerPool::measure(Duration ran) {
  const double us = std::max(static_cast<double>(ran.count()), 1.0);
  run_us_ = run_us_ == 0 ? us : run_us_ + (us - run_us_) * newest;
  const double stock = static_cast<double>(slot_count_) * stock_us / run_us_;
  stock_ = static_cast<std::size_t>(std::min(stock, static_cast<double>(stock_max)));
}

/// Whether one more thread would find work. One is woken at a time, and that one wakes the next if there is
/// still work: so a handful of short tasks doesn't bring all threads to their feet.
bool WorkerPool::wants_thread() {
  if (sleeping_ == 0 || waking_) return false;
  const bool work = !marked_.empty() || (!line_.empty() && !full()) || closed_;
  if (work) waking_ = true;
  return work;
}

/// Whether the fetcher should be told that there is room: not for each slot while enough waits in the line.
bool WorkerPool::must_ring() {
  if (!hungry_ || line_.size() > std::max(free_.size(), stock_ / 2)) return false;
  if (line_.size() >= free_.size() + stock_ || core_.reporter.is_behind()) return false;
  hungry_ = false;
  return true;
}

// ---- The fetcher's side

WorkerPool::Room WorkerPool::room() {
  const bool behind = core_.reporter.is_behind();
  const std::lock_guard lock{mutex_};
  const std::size_t waits = line_.size();
  const std::size_t most = free_.size() + stock_;
  const bool slot_idles = waits < free_.size();
  const bool enough = waits >= most || waits > std::max(free_.size(), stock_ / 2) ||
                      (!slot_idles && bytes_ >= stock_bytes_max);
  hungry_ = behind || enough || closed_;
  if (hungry_) return {};
  const std::size_t bytes = bytes_ < stock_bytes_max ? stock_bytes_max - bytes_ : 1;
  return {most - waits, bytes};
}

bool WorkerPool::push(const std::vector<AttemptPtr>& fresh) {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    if (closed_) return false;
    for (const AttemptPtr& attempt : fresh) {
      line_.push_back(attempt);
      bytes_ += attempt->task().payload.size();
    }
    wake = wants_thread();
  }
  if (wake) work_.notify_one();
  return true;
}

std::vector<AttemptPtr> WorkerPool::take_stale() {
  const Steady at = std::chrono::steady_clock::now();
  const std::lock_guard lock{mutex_};
  std::vector<AttemptPtr> taken;
  while (full() && !line_.empty() && at - line_.front()->claimed_at() > stale) {
    bytes_ -= line_.front()->task().payload.size();
    taken.push_back(std::move(line_.front()));
    line_.pop_front();
  }
  // The run times measured so far were too hopeful.
  if (!taken.empty()) measure(std::max<Duration>(stale, Duration{static_cast<Duration::rep>(run_us_)}) * 16);
  return taken;
}

// ---- The keeper's side

std::vector<AttemptPtr> WorkerPool::held() {
  const std::lock_guard lock{mutex_};
  std::vector<AttemptPtr> all{line_.begin(), line_.end()};
  all.insert(all.end(), suspects_.begin(), suspects_.end());
  for (const AttemptPtr& attempt : slots_) {
    if (attempt && !attempt->settled()) all.push_back(attempt);
  }
  return all;
}

std::vector<AttemptPtr> WorkerPool::running() {
  const std::lock_guard lock{mutex_};
  std::vector<AttemptPtr> all;
  for (const AttemptPtr& attempt : slots_) {
    if (attempt) all.push_back(attempt);
  }
  return all;
}

bool WorkerPool::resume(const AttemptPtr& marked) {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    if (closed_) return false;
    marked_.push_back(marked);
    wake = wants_thread();
  }
  if (wake) work_.notify_one();
  return true;
}

void WorkerPool::release(const AttemptPtr& attempt) {
  if (rules::suspect(attempt->task())) SuspectGate::of_process().leave(*attempt);
  bool wake = false;
  bool ring = false;
  {
    const std::lock_guard lock{mutex_};
    unseat(attempt);
    wake = wants_thread();
    ring = must_ring();
  }
  if (wake) work_.notify_one();
  if (ring) core_.bell.ring();
}

void WorkerPool::admit_suspect() {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    if (suspects_.empty() || !SuspectGate::of_process().enter(*suspects_.front())) return;
    bytes_ += suspects_.front()->task().payload.size();
    line_.push_front(std::move(suspects_.front()));
    suspects_.pop_front();
    wake = wants_thread();
  }
  if (wake) work_.notify_one();
}

// ---- The end

std::vector<AttemptPtr> WorkerPool::close() {
  std::vector<AttemptPtr> waiting;
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    waiting.assign(line_.begin(), line_.end());
    waiting.insert(waiting.end(), suspects_.begin(), suspects_.end());
    line_.clear();
    suspects_.clear();
    bytes_ = 0;
  }
  work_.notify_all();
  idle_.notify_all();
  return waiting;
}

bool WorkerPool::wait_idle(Steady until) {
  std::unique_lock lock{mutex_};
  const auto idle = [this] {
    return std::ranges::all_of(slots_, [](const AttemptPtr& a) { return !a || a->abandoned(); });
  };
  idle_.wait_until(lock, until, [&] { return idle() || std::exchange(hurried_, false); });
  return idle();
}

void WorkerPool::hurry() {
  {
    const std::lock_guard lock{mutex_};
    hurried_ = true;
  }
  idle_.notify_all();
}

WorkerPool::Load WorkerPool::load() {
  const std::lock_guard lock{mutex_};
  Load load;
  for (const AttemptPtr& attempt : slots_) {
    if (!attempt) continue;
    ++load.busy;
    if (attempt->abandoned()) ++load.stuck;
  }
  return load;
}

}  // namespace tidemill::engine
