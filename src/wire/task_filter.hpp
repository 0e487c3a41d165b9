#pragma once

#include <string>
#include <string_view>

#include <tidemill/store.hpp>

namespace tidemill::wire {

/// "state:archived,retry queue:mail kind:image:* 421": fields by name, and other words for the text. A value
/// with blanks stands in double quotes. Throws Error{invalid} that says what there is.
Filter parse_filter(std::string_view text);
/// As `parse_filter` reads it.
std::string format_filter(const Filter& filter);
/// One field: state, queue, kind, group, text, created_before. Throws Error{invalid}.
void set_filter(Filter& filter, std::string_view name, std::string_view value);

/// "pending,retry". Throws Error{invalid} with the names that there are.
States parse_states(std::string_view text);

}  // namespace tidemill::wire
