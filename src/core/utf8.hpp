#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tidemill {

/// How many bytes from `text` are one well-formed UTF-8 character; 0 when they are none. REQUIRES: not empty.
std::size_t utf8_length(std::string_view text);

/// Whether all of it is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// The text with U+FFFD for each byte that belongs to no well-formed character.
std::string replace_bad_utf8(std::string_view text);

}  // namespace tidemill
