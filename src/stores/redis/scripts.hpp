#pragma once

#include "drivers/redis/command.hpp"

/// The Lua scripts. Each works on one queue, named by its first key, does no more than some 50 tasks' work,
/// and checks all before its first write. How arguments and answers are laid out stands at the head of each,
/// in scripts.cpp, group_scripts.cpp and edit_scripts.cpp.
namespace tidemill::redis_store {

const redis::Script& enqueue_plain_script();
const redis::Script& enqueue_script();
const redis::Script& fire_script();
const redis::Script& fire_once_script();
const redis::Script& claim_script();
const redis::Script& done_script();
const redis::Script& report_script();
const redis::Script& beat_script();
const redis::Script& sweep_script();
const redis::Script& bury_script();
const redis::Script& change_script();
const redis::Script& page_script();
const redis::Script& gather_script();
const redis::Script& settle_script();
const redis::Script& bury_gathered_script();
const redis::Script& describe_groups_script();

// edit_scripts.cpp
const redis::Script& edit_script();
const redis::Script& depart_script();
const redis::Script& arrive_script();
const redis::Script& drop_script();
const redis::Script& land_script();

}  // namespace tidemill::redis_store
