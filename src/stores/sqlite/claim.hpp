#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sqlite/tasks.hpp"
#include "stores/sqlite/write.hpp"

namespace tidemill::sqlite_store {

/// What a claim gives its worker, and what the hub must know of it.
struct ClaimAnswer {
  Claimed claimed = {};
  /// When the next task of each wanted queue falls due.
  std::vector<std::pair<std::string_view, std::optional<TimePoint>>> dues = {};
};

/// Whether nothing is to be taken from the queue.
bool paused(Scope& scope, std::int64_t queue);

/// True, with the answer, when there is nothing to claim and nothing due, so that nothing is to be written.
bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer);

ClaimAnswer claim_tasks(Write& write, const Claim& claim, TimePoint now);

/// Makes a due task pending; its place in the line is its due time.
struct Due {
  std::int64_t at = 0;
  std::int64_t seq = 0;
  std::int64_t line = 0;
  std::int32_t priority = 0;
  auto operator<=>(const Due&) const = default;
};
/// Adds the due tasks of a queue, `limit` of each state at most.
void find_due(Scope& scope, std::int64_t queue, TimePoint now, std::size_t limit, std::vector<Due>& due);
/// Takes the first `limit` in the order of their due times, and returns how many there were.
std::size_t promote(Write& write, std::vector<Due>& due, std::size_t limit);

}  // namespace tidemill::sqlite_store
