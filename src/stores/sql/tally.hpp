#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/hub.hpp"

namespace tidemill::sql_store {

/// What one transaction changes in the numbers of tasks, and what others may wait for because of it: gathers
/// in memory, so that it is written once, at the transaction's end.
class Tally {
 public:
  void count(std::int64_t queue, State state, std::int64_t tasks);
  /// So many tasks have come into `state`, the first of them at `at`: counts them, and tells those who wait
  /// for such.
  void arrived(std::int64_t queue, State state, TimePoint at, std::int64_t tasks = 1);
  void left(std::int64_t queue, State state, std::int64_t tasks = 1) { count(queue, state, -tasks); }
  void unpaused(std::int64_t queue) { touched(queue).news.ready = true; }
  /// There is a signal for this worker, or for the holder of a lease.
  void signalled(std::string_view worker) { workers_.emplace_back(worker); }
  bool signals() const noexcept { return !workers_.empty(); }

  struct Change {
    std::int64_t queue = 0;
    State state = State::gone;
    std::int64_t tasks = 0;
  };
  /// Of counts, ordered by queue and state: who locks their rows in this order waits for nobody who waits for
  /// him.
  std::vector<Change> changes();
  /// By the numbers of queues.
  std::map<std::int64_t, News::Queue> queue_news() const;
  std::vector<std::string> take_workers() { return std::exchange(workers_, {}); }
  void clear();

 private:
  struct Touched {
    std::int64_t queue = 0;
    std::int64_t tasks[state_count] = {};
    News::Queue news = {};
  };
  Touched& touched(std::int64_t queue);

  std::vector<Touched> touched_;
  std::size_t last_ = 0;  // Index of the queue that was asked for last.
  std::vector<std::string> workers_;
};

}  // namespace tidemill::sql_store
