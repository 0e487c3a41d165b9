#pragma once

#include <string>
#include <string_view>

namespace tidemill {

/// SHA-256 in hexadecimal, lower case.
std::string sha256_hex(std::string_view bytes);

/// MD5 in hexadecimal, lower case: for formats that ask for it, not for secrets.
std::string md5_hex(std::string_view bytes);

}  // namespace tidemill
