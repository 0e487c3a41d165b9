#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/groups.hpp>
#include <tidemill/worker.hpp>

#include "engine/store_clock.hpp"
#include "engine/worker_crew.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill::engine {

class WorkerCore;

/// The one thread that gathers due groups, has aggregators make one task of each, and settles them. An
/// aggregator that takes long delays other groups and nothing else. There is no thread without aggregators.
/// Owned by the core.
///
/// Thread safety: start, stop, finish and leave from one thread.
class WorkerGatherer {
 public:
  explicit WorkerGatherer(WorkerCore& core);
  void start(const std::shared_ptr<WorkerCore>& core);
  /// Gathers no more. What is gathered and not yet with an aggregator goes back.
  void stop();
  /// Waits for the aggregator that runs, and when it has not ended by then, for no longer than the thread is
  /// in the store: from then on it doesn't touch it any more, and the store takes the set back when its lease
  /// ends.
  void finish(Steady until);
  /// Waits for the thread to end, and leaves it behind if it doesn't.
  std::size_t leave(Steady until) { return crew_.leave(until); }

 private:
  using GroupName = std::pair<std::string, std::string>;  // Queue and group.

  void loop();
  /// When to look again.
  Steady look();
  Steady gather(const Aggregation& rule);
  Gathered ask(const Gather& gather);
  /// None when it is to go back; `why` says so then.
  std::optional<Task> merge(const Aggregation& rule, const TaskSet& set, std::string& why);
  void settle(std::vector<Settle> ends, Steady until);
  std::vector<Reported> report(std::span<const Settle> ends, Steady until);
  /// Notes that the group could not be merged; for how long it rests.
  Duration failed(const TaskSet& set, std::string_view why);
  /// False at the end; then user code must not be called.
  bool enter_user_code();
  /// False if the thread was left behind meanwhile.
  bool leave_user_code();
  /// True at the end.
  bool sleep(Steady until);

  WorkerCore& core_;
  Lane lane_;
  Trouble trouble_;
  WorkerCrew crew_;
  std::map<GroupName, int> failures_;  // In a row. The thread's.
  std::size_t sets_ = 1;               // To gather in one call. The thread's.

  std::mutex mutex_;  // Guards all below.
  std::condition_variable changed_;
  bool stopping_ = false;
  bool running_ = false;      // The thread has begun and not ended.
  bool aggregating_ = false;  // It is in user code.
  bool left_ = false;         // It must not touch the store when it comes back from there.
};

}  // namespace tidemill::engine
