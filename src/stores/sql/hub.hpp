#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

namespace tidemill::sql_store {

/// What a transaction did that someone may wait for.
struct News {
  struct Queue {
    bool ready = false;                 ///< A task became pending, or the queue is no longer paused.
    std::optional<TimePoint> due = {};  ///< The soonest due time that was set.
  };
  std::map<std::string, Queue, std::less<>> queues = {};
  std::vector<std::string> workers = {};  ///< For whom there is a signal.
};

/// Wakes those who wait for tasks and signals. It counts changes, and knows up to where each worker has seen
/// them, so that nothing is lost between a claim that found nothing and the wait that follows it.
///
/// Thread safety: all members may be called from any thread.
class Hub {
 public:
  using Sequence = std::uint64_t;

  /// Looks for what other processes did, calls `foreign` if they did anything, and returns how long the next
  /// look has time. Must not throw.
  using Look = std::function<std::chrono::microseconds()>;
  explicit Hub(Look look) : look_(std::move(look)) {}

  Sequence sequence() const;
  void publish(const News& news);
  /// Another process has written; something that we can't tell.
  void foreign(bool signals);

  /// A claim has seen all changes up to `seen`, and tells its worker when the next task of each queue is due.
  void claimed(std::string_view worker, Sequence seen,
               std::span<const std::pair<std::string_view, std::optional<TimePoint>>> dues);
  void forget(std::string_view worker);

  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop);

  bool watched() const;

 private:
  struct Mark {
    Sequence changed = 0;
    /// No task is due before, as far as the last claim could see. None: never claimed from.
    std::optional<TimePoint> due = {};
  };
  struct Seen {
    Sequence tasks = 0;
    Sequence signals = 0;
    Sequence signalled = 0;  ///< The last signal for this worker.
    std::uint64_t used = 0;  ///< For dropping who was not heard of for longest.
  };
  struct Waiter {
    std::string_view worker;
    std::span<const std::string_view> queues;
    std::condition_variable condition = {};
    bool stopped = false;
  };

  Seen& seen(std::string_view worker);
  std::optional<Wake> reason(const Waiter& waiter);
  void rest(Waiter& waiter, std::unique_lock<std::mutex>& lock, std::chrono::steady_clock::time_point until);
  void leave(Waiter& waiter);

  const Look look_;
  mutable std::mutex mutex_;
  // All below is guarded by mutex_.
  Sequence sequence_ = 1;
  Sequence foreign_tasks_ = 0;
  Sequence foreign_signals_ = 0;
  std::uint64_t uses_ = 0;
  std::map<std::string, Mark, std::less<>> marks_;
  std::map<std::string, Seen, std::less<>> seen_;
  std::vector<Waiter*> waiters_;
  Waiter* lookout_ = nullptr;  // The one waiter who looks for other processes' writes.
  std::chrono::steady_clock::time_point next_look_{};
};

}  // namespace tidemill::sql_store
