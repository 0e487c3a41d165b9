#pragma once

#include <span>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

std::vector<Reported> report_all(Write& write, std::span<const Report> reports, TimePoint now,
                                 std::size_t task_bytes_max);

std::vector<Changed> change_all(Write& write, std::span<const Ref> refs, const Change& change, TimePoint now);

}  // namespace tidemill::postgres_store
