#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>

/// How the columns of answers are read: servers and libraries write numbers as text.
namespace tidemill::persistent_queue {

/// Empty for NULL.
inline std::string text_of(const SqlRow& row, std::size_t column) { return row.at(column).value_or(""); }

/// 0 for NULL. Throws Error{corrupt}.
inline std::int64_t integer_of(const SqlRow& row, std::size_t column) {
  const std::string text = text_of(row, column);
  if (text.empty()) return 0;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Error{ErrorKind::corrupt, "the database answered \"" + text + "\" where an integer stands"};
  return value;
}

/// So many parameters, for an IN list: "?,?,?".
inline std::string marks(std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += i == 0 ? "?" : ",?";
  return result;
}

}  // namespace tidemill::persistent_queue
