#pragma once

#include <cstddef>
#include <string_view>

namespace tidemill {

/// How many bytes from `text` are one well-formed UTF-8 character; 0 when they are none. REQUIRES: not empty.
std::size_t utf8_length(std::string_view text);

/// Whether all of it is well-formed UTF-8.
bool is_utf8(std::string_view text);

}  // namespace tidemill
