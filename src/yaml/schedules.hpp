#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tidemill/schedule.hpp>

#include "yaml/yaml.hpp"

namespace tidemill::yaml {

/// A list of schedules.
void read_schedules(std::vector<Schedule>& schedules, const Node& list);
/// A whole file, as periodic_file.hpp has it; `file` names it in what is wrong.
std::vector<Schedule> read_schedules(std::string_view text, const std::string& file, Mistakes& mistakes);

}  // namespace tidemill::yaml
