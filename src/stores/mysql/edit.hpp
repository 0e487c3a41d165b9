#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

Changed edit_task(Write& write, const Edit& edit, TimePoint now);

std::vector<Changed> move_all(Write& write, std::span<const Ref> refs, States from, std::string_view queue,
                              TimePoint now);

}  // namespace tidemill::mysql_store
