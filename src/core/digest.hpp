#pragma once

#include <string>
#include <string_view>

namespace tidemill {

/// SHA-256 in hexadecimal, lower case.
std::string sha256_hex(std::string_view bytes);

}  // namespace tidemill
