#pragma once

#include <string>
#include <string_view>

namespace tidemill::sql_store {

/// How ids lie in columns of bytes. A canonical UUID takes 16 bytes. Every other text stays as it is; but one
/// that would then be taken for a UUID, or for the rest of this rule, gets a zero byte at its end:
///
///   text of 16 bytes, or of 16 bytes and zeros  →  text, zero
std::string stored_id(std::string_view text);
/// The text of what `stored_id` has made.
std::string id_text(std::string_view bytes);

}  // namespace tidemill::sql_store
