#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>

#include <tidemill/task.hpp>

namespace tidemill::postgres_store {

/// Where claims begin in the line of a queue's pending tasks.
///
/// The server keeps what has left the line as long as any transaction is open that is older, and whoever
/// looks from the beginning steps over it. So once a whole look takes long, claims go on where the last one
/// ended, and look at the whole line so seldom that it takes a twentieth of their time: for tasks that came
/// to an older place meanwhile, as those given back do, and those of a higher priority or of a late commit.
///
/// Thread safety: none; it is the lane's of claims.
class Fronts {
 public:
  using Steady = std::chrono::steady_clock::time_point;

  /// In the order of the line.
  struct Place {
    std::int64_t line = 0, at = INT64_MIN, seq = INT64_MIN;
    auto operator<=>(const Place&) const = default;
  };
  struct Begin {
    Place place = {};
    bool whole = true;  ///< It began as the line's beginning; a look moves it to what it has found.
    Steady again = {};  ///< Unless whole: when the next whole look is allowed.
  };

  Begin begin(std::int64_t queue, Steady now) const;
  /// A whole look has taken so long, with the claim that followed.
  void looked(std::int64_t queue, std::chrono::steady_clock::duration took, Steady now);
  /// A whole look has not come to its end in so long. Where nothing was claimed yet, claims begin with what
  /// comes from `time`, the store's, on; the rest has to wait for other workers, or for a look that ends.
  void gave_up(std::int64_t queue, TimePoint time, std::chrono::steady_clock::duration took, Steady now);
  /// So many, up to this one. `more`: others may stand between it and the front.
  void claimed(std::int64_t queue, std::size_t count, const Place& last, bool more);

 private:
  struct Front {
    Place place = {};
    std::size_t claimed = 0;  ///< Since the last whole look that was quick.
    Steady whole_at = {};
  };
  std::map<std::int64_t, Front> fronts_;
};

}  // namespace tidemill::postgres_store
