#pragma once

#include <string>
#include <string_view>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

namespace tidemill::wire {

/// What is wrong with a filter's text, and where.
class FilterError : public Error {
 public:
  FilterError(std::size_t column, const std::string& what);
  std::size_t column() const noexcept { return column_; }  ///< Of the word, from 1.

 private:
  std::size_t column_;
};

/// "state:archived,retry queue:mail kind:image:* created:-1h.. 421": fields by name, and other words for the
/// text.
///
/// Words are separated by blanks; a word, or a value, with blanks in it or a comma stands in double quotes.
/// All of them must match. created:A..B is from A to before B, each a date, an RFC 3339 time, or so long
/// before `now`: -1h; one of them may be left out. Throws FilterError, also for what no store can look for
/// yet.
Filter parse_filter(std::string_view text, TimePoint now = {});
/// As `parse_filter` reads it, with times that don't hang on now.
std::string format_filter(const Filter& filter);
/// One field: state, queue, kind, id, group, text, created_from, created_before. Throws Error{invalid}.
void set_filter(Filter& filter, std::string_view name, std::string_view value);

/// "pending,retry". Throws Error{invalid} with the names that there are.
States parse_states(std::string_view text);

}  // namespace tidemill::wire
