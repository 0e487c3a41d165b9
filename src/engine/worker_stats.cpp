#include "engine/worker_stats.hpp"

#include <utility>

namespace tidemill::engine {

void WorkerStats::add(const Task& task, Tally tally, TimePoint at, Duration busy) {
  if (tally == Tally::none) return;
  const std::lock_guard lock{mutex_};
  Stat& stat = entry(std::chrono::floor<std::chrono::minutes>(at), task.ref.queue, task.kind);
  if (tally == Tally::success) ++stat.success;
  if (tally == Tally::failure) ++stat.failure;
  if (tally == Tally::crash) ++stat.crash;
  stat.busy += busy;
}

std::vector<Stat> WorkerStats::take() {
  const std::lock_guard lock{mutex_};
  std::vector<Stat> taken;
  taken.reserve(stats_.size());
  for (auto& [key, stat] : stats_) taken.push_back(std::move(stat));
  stats_.clear();
  last_ = nullptr;
  return taken;
}

void WorkerStats::put_back(const std::vector<Stat>& stats) {
  const std::lock_guard lock{mutex_};
  for (const Stat& from : stats) {
    Stat& stat = entry(from.at, from.queue, from.kind);
    stat.success += from.success;
    stat.failure += from.failure;
    stat.crash += from.crash;
    stat.busy += from.busy;
  }
}

Stat& WorkerStats::entry(TimePoint minute, const std::string& queue, const std::string& kind) {
  if (last_ != nullptr && last_->at == minute && last_->kind == kind && last_->queue == queue) return *last_;
  Stat& stat = stats_[Key{minute, queue, kind}];
  if (stat.kind.empty()) {
    stat.queue = queue;
    stat.kind = kind;
    stat.at = minute;
  }
  last_ = &stat;
  return stat;
}

}  // namespace tidemill::engine
