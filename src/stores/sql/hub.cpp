#include "stores/sql/hub.hpp"

#include <algorithm>

namespace tidemill::sql_store {

namespace {

using std::chrono::steady_clock;

/// Workers that are remembered; far more than a process has, but remote ones come and go.
constexpr std::size_t workers_max = 10'000;

}  // namespace

Hub::Sequence Hub::sequence() const {
  const std::lock_guard lock{mutex_};
  return sequence_;
}

bool Hub::watched() const {
  const std::lock_guard lock{mutex_};
  return !waiters_.empty();
}

Hub::Seen& Hub::seen(std::string_view worker) {
  auto found = seen_.find(worker);
  if (found == seen_.end()) {
    if (seen_.size() >= workers_max) {
      seen_.erase(std::min_element(seen_.begin(), seen_.end(), [](const auto& a, const auto& b) {
        return a.second.used < b.second.used;
      }));
    }
    found = seen_.emplace(worker, Seen{sequence_, sequence_, 0, 0}).first;
  }
  found->second.used = ++uses_;
  return found->second;
}

void Hub::publish(const News& news) {
  if (news.queues.empty() && news.workers.empty()) return;
  const std::lock_guard lock{mutex_};
  ++sequence_;
  for (const auto& [name, queue] : news.queues) {
    Mark& mark = marks_.try_emplace(name).first->second;
    const bool sooner = queue.due && (!mark.due || *queue.due < *mark.due);
    if (sooner && mark.due) mark.due = queue.due;
    if (queue.ready || sooner) mark.changed = sequence_;
  }
  for (const std::string& worker : news.workers) {
    if (const auto found = seen_.find(worker); found != seen_.end()) found->second.signalled = sequence_;
  }
  for (Waiter* const waiter : waiters_) {
    if (reason(*waiter)) waiter->condition.notify_one();
  }
}

void Hub::foreign(bool signals) {
  const std::lock_guard lock{mutex_};
  foreign_tasks_ = ++sequence_;
  if (signals) foreign_signals_ = sequence_;
  for (Waiter* const waiter : waiters_) waiter->condition.notify_one();
}

void Hub::claimed(std::string_view worker, Sequence seen_up_to,
                  std::span<const std::pair<std::string_view, std::optional<TimePoint>>> dues) {
  const std::lock_guard lock{mutex_};
  seen(worker).tasks = seen_up_to;
  for (const auto& [queue, due] : dues) {
    auto found = marks_.find(queue);
    if (found == marks_.end()) found = marks_.emplace(queue, Mark{}).first;
    found->second.due = due.value_or(TimePoint::max());
  }
}

void Hub::forget(std::string_view worker) {
  const std::lock_guard lock{mutex_};
  if (const auto found = seen_.find(worker); found != seen_.end()) seen_.erase(found);
}

/// REQUIRES: mutex_.
std::optional<Wake> Hub::reason(const Waiter& waiter) {
  Seen& mine = seen(waiter.worker);
  if (waiter.stopped) return Wake::stopped;
  if (std::max(mine.signalled, foreign_signals_) > mine.signals) {
    return Wake::signals;
  }
  if (foreign_tasks_ > mine.tasks) return Wake::tasks;
  for (const std::string_view queue : waiter.queues) {
    const auto mark = marks_.find(queue);
    if (mark != marks_.end() && mark->second.changed > mine.tasks) return Wake::tasks;
  }
  return {};
}

Wake Hub::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
               std::stop_token stop) {
  const auto until =
      steady_clock::now() + std::clamp<Duration>(timeout, Duration::zero(), std::chrono::hours{24});
  Waiter self{worker, queues};
  // Runs in the thread that stops us; or right here, when that was before.
  const std::stop_callback on_stop{stop, [&] {
                                     const std::lock_guard lock{mutex_};
                                     self.stopped = true;
                                     self.condition.notify_one();
                                   }};
  std::unique_lock lock{mutex_};
  waiters_.push_back(&self);
  std::optional<Wake> wake = reason(self);
  while (!wake) {
    rest(self, lock, until);
    wake = reason(self);
    if (!wake && steady_clock::now() >= until) wake = Wake::timeout;
  }
  if (*wake == Wake::tasks) seen(worker).tasks = sequence_;
  if (*wake == Wake::signals) seen(worker).signals = sequence_;
  leave(self);
  return *wake;
}

/// Sleeps for a while; one of all the waiters also looks out for other processes.
/// REQUIRES: mutex_.
void Hub::rest(Waiter& waiter, std::unique_lock<std::mutex>& lock, steady_clock::time_point until) {
  if (lookout_ == nullptr) lookout_ = &waiter;
  if (lookout_ != &waiter) {
    waiter.condition.wait_until(lock, until);
    return;
  }
  if (steady_clock::now() < next_look_) waiter.condition.wait_until(lock, std::min(until, next_look_));
  if (steady_clock::now() < next_look_ || reason(waiter)) return;
  lock.unlock();
  const auto pause = look_();
  lock.lock();
  next_look_ = steady_clock::now() + pause;
}

/// REQUIRES: mutex_.
void Hub::leave(Waiter& waiter) {
  std::erase(waiters_, &waiter);
  if (lookout_ != &waiter) return;
  lookout_ = nullptr;
  if (!waiters_.empty()) waiters_.front()->condition.notify_one();  // It becomes the lookout.
}

}  // namespace tidemill::sql_store
