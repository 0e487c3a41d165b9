#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"
#include "stores/postgres/fronts.hpp"

namespace tidemill::postgres_store {

/// When the first scheduled task and the first to be retried of queue `q` are due; 1 and 4 are these states:
/// stores/sql/layout.hpp.
inline constexpr char first_dues[] =
    "(SELECT j.at FROM main.tidemill_job j WHERE j.line = (q.id::bigint << 16 | 384) ORDER BY j.at LIMIT 1), "
    "(SELECT j.at FROM main.tidemill_job j WHERE j.line = (q.id::bigint << 16 | 1152) ORDER BY j.at LIMIT 1)";

/// What a look at a wanted queue tells that there is and that isn't paused.
struct QueueLook {
  const Want* want = nullptr;
  std::int64_t queue = 0;
  Fronts::Begin begin = {};
  std::chrono::steady_clock::duration took{};
  bool pending = false;
  std::optional<TimePoint> due = {};
};

/// What a claim gives its worker, and what the hub must know of it.
struct ClaimAnswer {
  Claimed claimed = {};
  /// When the next task of each wanted queue falls due.
  std::vector<std::pair<std::string_view, std::optional<TimePoint>>> dues = {};
  std::vector<QueueLook> looks = {};
  TimePoint time{};           ///< The server's, some time during the call.
  bool found_locked = false;  ///< Nothing was taken, though tasks are pending.
};

/// True, with the answer, when there is nothing to claim and nothing due, so that nothing is to be written.
bool claim_nothing(Scope& scope, const Claim& claim, Fronts& fronts, TimePoint now, ClaimAnswer& answer);

/// Claims as the look of `claim_nothing` has shown; without one it looks first.
ClaimAnswer claim_tasks(Write& write, const Claim& claim, Fronts& fronts, ClaimAnswer looked, TimePoint now);

/// Makes the first due tasks of the queues pending, in the order of their due times, and returns how many
/// there were; their place in the line is their due time.
std::size_t promote(Write& write, std::span<const std::int64_t> queues, std::size_t limit, TimePoint now);

/// Which of the queues, by number, aren't paused, in that order.
std::vector<std::int64_t> unpaused(Scope& scope, std::span<const std::int64_t> queues);

}  // namespace tidemill::postgres_store
