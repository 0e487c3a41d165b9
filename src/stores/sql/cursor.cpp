#include "stores/sql/cursor.hpp"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::sql_store {

std::string to_text(const Cursor& cursor) {
  return fmt::format("{}:{}:{}:{}:{}", cursor.state, cursor.lane, cursor.at, cursor.seq, cursor.queue);
}

Cursor parse_cursor(std::string_view text) {
  std::array<std::int64_t, 4> numbers{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::int64_t& number : numbers) {
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc{} || stop == end || *stop != ':') {
      throw Error{ErrorKind::invalid,
                  fmt::format("\"{}\" is no cursor; take the one that the page before gave, as it is", text)};
    }
    at = stop + 1;
  }
  return {numbers[0], numbers[1], numbers[2], numbers[3], std::string{at, end}};
}

}  // namespace tidemill::sql_store
