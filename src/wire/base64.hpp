#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemill::wire {

/// RFC 4648, section 4, with padding.
std::string encode_base64(std::string_view bytes);
/// None when it isn't that.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace tidemill::wire
