#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Where a page of a listing ended.
namespace tidemill::sql_store {

/// The last row that was looked at. It need not be there any more.
struct Cursor {
  std::int64_t state = 0;
  std::int64_t lane = 0;
  std::int64_t at = 0;
  std::int64_t seq = 0;
  std::string queue = {};  // The name, as pages are ordered by that.
};

std::string to_text(const Cursor& cursor);
/// Throws Error{invalid} for what `to_text` has not made.
Cursor parse_cursor(std::string_view text);

}  // namespace tidemill::sql_store
