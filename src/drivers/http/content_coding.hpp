#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "drivers/http/headers.hpp"

namespace tidemill::http {

/// Why a body can't be had in plain.
struct CodingError {
  int status = 400;  ///< 400: malformed; 413: more than `most` bytes; 415: coded in another way.
  const char* why = "";
};

/// Undoes a body's Content-Encoding, which may be gzip, and takes the header away. Never makes more than
/// `most` bytes of it, however few they are now.
std::optional<CodingError> decode_body(Headers& headers, std::string& body, std::size_t most);

}  // namespace tidemill::http
