#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

/// What a look at a wanted queue tells that there is and that isn't paused.
struct QueueLook {
  const Want* want = nullptr;
  std::int64_t queue = 0;
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
  bool inbox = false;         ///< Plain SQL has brought tasks.
  bool found_locked = false;  ///< Nothing was taken, though tasks are pending.
};

/// Asks for what is in a queue: whether it is paused and any task is pending, and when the first of those
/// scheduled and the first of those to be retried are due.
void add_look(Batch& batch, std::int64_t queue);

/// True, with the answer, when there is nothing to claim and nothing due, so that nothing is to be written.
bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer);

/// Claims as the look of `claim_nothing` has shown; without one it looks first.
ClaimAnswer claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now,
                        std::size_t task_bytes_max);

/// Makes the first due tasks of the queues pending, in the order of their due times, and returns how many
/// there were; their place in the line is their due time.
std::size_t promote(Write& write, std::span<const std::int64_t> queues, std::size_t limit, TimePoint now);

/// Which of the queues, by number, aren't paused, in that order.
std::vector<std::int64_t> unpaused(Scope& scope, std::span<const std::int64_t> queues);

}  // namespace tidemill::mysql_store
