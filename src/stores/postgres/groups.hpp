#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <tidemill/groups.hpp>

#include "stores/postgres/database.hpp"
#include "stores/postgres/tasks.hpp"

/// Groups of tasks, and the sets that workers gather from them.
namespace tidemill::postgres_store {

/// The row is about to leave where it stands: if it waits in a group, that has one task less.
void leave_group(Write& write, const Row& row);

/// Answers by reading alone and returns true, if no group is due.
bool gather_nothing(Scope& scope, const Gather& gather, TimePoint now, Gathered& answer);
Gathered gather_sets(Write& write, const Gather& gather, TimePoint now);
std::vector<Reported> settle_all(Write& write, std::span<const Settle> ends, TimePoint now,
                                 std::size_t task_bytes_max);

/// Sets whose lease has run out go back to their groups, a hundred at most.
void regroup_lapsed(Write& write, TimePoint now);

/// Groups of the queue that have tasks, by name, after the name `after`.
std::vector<GroupInfo> list_groups(Scope& scope, std::string_view queue, std::string_view after,
                                   std::size_t limit);

/// Brings what callers' transactions have noted of groups into their rows.
void fold_joined(Write& write);

}  // namespace tidemill::postgres_store
