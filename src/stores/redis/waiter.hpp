#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/redis/client.hpp"

namespace tidemill::redis_store {

/// Wakes those who wait for tasks or signals.
///
/// One thread for each store watches the lists of pending tasks by having Redis track them (so it hears of
/// the first push after each look), and hears the channels of signals. It begins with the first wait. In a
/// cluster it has a connection to each node of the queues that are waited for. As messages can be lost, and
/// an empty list moves to another node without one, it looks again by itself, at times.
///
/// Thread safety: all members may be called from any thread.
class Waiter {
 public:
  explicit Waiter(redis::Client& client);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop);
  /// There may be something to claim from the queue.
  void ring(std::string_view queue);
  /// How often it has rung, for all queues; what a claim saw is told after it, by the number before it.
  std::uint64_t rings();
  void claimed(std::string_view worker, std::uint64_t before);
  /// How long ago Asynq's inspector last told whoever runs a task with this id to cancel it; none: it has
  /// not of late.
  std::optional<Duration> cancelled(std::string_view id);

 private:
  struct Member {
    std::uint64_t seen = 0;  ///< The last ring that it knew of.
    std::uint64_t signals = 0, signals_seen = 0;
  };
  struct Watched {
    int waiting = 0;
    /// Of the connection on which Redis will say when one of its keys changes; zero: nobody will.
    std::uint64_t armed = 0;
  };

  void watch(std::stop_token stop);
  bool arm(const std::vector<std::string>& queues);
  void hear(const redis::Reply& message);
  // These want the mutex held.
  std::vector<std::string> to_arm();
  /// Of queues for which this holds, what has happened is unknown.
  template <class Condition>
  void forget(const Condition& condition);

  redis::Listener listener_;
  std::mutex mutex_;  ///< Guards all that follows, but the thread.
  std::condition_variable_any changed_;
  std::map<std::string, Watched, std::less<>> watched_;
  std::map<std::string, std::uint64_t, std::less<>> rung_;
  std::map<std::string, Member, std::less<>> members_;
  std::map<std::string, std::chrono::steady_clock::time_point, std::less<>> cancelled_;
  std::uint64_t rings_ = 0;
  std::uint64_t newest_ = 0;  ///< The last connection on which queues were armed.
  std::jthread thread_;
};

}  // namespace tidemill::redis_store
