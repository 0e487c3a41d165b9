#pragma once

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include <tidemill/store.hpp>

namespace tidemill::engine {

/// Adds up outcomes by queue, kind and minute until a beat carries them to the store.
///
/// Thread safety: all members may be called from any thread.
class WorkerStats {
 public:
  void add(const Task& task, Tally tally, TimePoint at, Duration busy);
  /// All that has gathered, which is forgotten here.
  std::vector<Stat> take();
  /// The beat did not arrive.
  void put_back(const std::vector<Stat>& stats);

 private:
  using Key = std::tuple<TimePoint, std::string, std::string>;
  Stat& entry(TimePoint minute, const std::string& queue, const std::string& kind);

  std::mutex mutex_;
  std::map<Key, Stat> stats_;  // Guarded by mutex_.
  Stat* last_ = nullptr;       // The one used last: most often it is the next one too. Guarded by mutex_.
};

}  // namespace tidemill::engine
