#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tidemill::deliver {

bool is_json(std::string_view text);

/// The beginning of what somebody else sent, for people: UTF-8 on one line, without control characters.
std::string printable(std::string_view text, std::size_t bytes_max);

}  // namespace tidemill::deliver
