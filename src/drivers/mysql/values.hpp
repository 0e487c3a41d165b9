#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "drivers/sql/blob.hpp"

/// Values as they stand in statements: literals, which mean the same in every sql_mode.
namespace tidemill::mysql {

using sql::Blob;

template <class T>
concept Integer = (std::integral<T> && !std::same_as<T, bool>) || std::is_enum_v<T>;

/// Bytes in quotes, or in hexadecimal digits where there is a backslash: sql_mode says what that would mean.
/// A quote is doubled.
void append_literal(std::string& out, std::string_view text);
void append_literal(std::string& out, Blob blob);
inline void append_literal(std::string& out, std::nullptr_t) { out += "NULL"; }
template <std::same_as<bool> T>  // And nothing that only converts to it, as pointers do.
void append_literal(std::string& out, T value) {
  out += value ? '1' : '0';
}
/// Integers and enumerations are BIGINT, whatever their width.
template <Integer T>
void append_literal(std::string& out, T value) {
  char digits[24];
  const auto [end, error] =
      std::to_chars(std::begin(digits), std::end(digits), static_cast<std::int64_t>(value));
  out.append(digits, end);
}
/// Without a value it is NULL.
template <class T>
void append_literal(std::string& out, const std::optional<T>& value);
/// Whatever has `bind_to`, which calls back with one of these.
template <class T>
  requires requires(const T& value) { value.bind_to([](const auto&) {}); }
void append_literal(std::string& out, const T& value) {
  value.bind_to([&](const auto& plain) { append_literal(out, plain); });
}
template <class T>
void append_literal(std::string& out, const std::optional<T>& value) {
  if (value) {
    append_literal(out, *value);
  } else {
    append_literal(out, nullptr);
  }
}

/// The text with other literals of the same values, in which there is neither a question mark nor a colon nor
/// a `$`: for those who would take that for something else.
std::string without_marks(std::string_view text);

/// The rows of `INSERT INTO … (id, kind) VALUES $1`: at least one. A thousand of them take less than half of
/// the time of a batch of a thousand statements.
class Rows {
 public:
  /// One value a column. What is added is copied.
  template <class... Values>
  void add(const Values&... values) {
    if (!text_.empty()) text_ += ',';
    places_.push_back(text_.size());
    char separator = '(';
    ((text_ += std::exchange(separator, ','), append_literal(text_, values)), ...);
    text_ += ')';
  }

  std::size_t size() const noexcept { return places_.size(); }
  bool empty() const noexcept { return places_.empty(); }
  /// Of all values as they are sent.
  std::size_t bytes() const noexcept { return text_.size(); }
  void clear() noexcept {
    text_.clear();
    places_.clear();
  }

  const std::string& text() const noexcept { return text_; }
  /// Where each begins in the text.
  std::span<const std::size_t> places() const noexcept { return places_; }

 private:
  std::string text_;
  std::vector<std::size_t> places_;
};

/// Rows that stand where a table can: `UPDATE main.task JOIN $1 AS new USING (id) SET task.state =
/// new.state`. There may be none. A column has one type, which is that of all its values.
class Table {
 public:
  Table(std::initializer_list<std::string_view> columns) : columns_(columns.begin(), columns.end()) {}

  /// One value a column. What is added is copied.
  template <class... Values>
  void add(const Values&... values) {
    rows_.add(values...);
  }

  std::size_t size() const noexcept { return rows_.size(); }
  bool empty() const noexcept { return rows_.empty(); }
  std::size_t bytes() const noexcept { return rows_.bytes(); }
  void clear() noexcept { rows_.clear(); }

  const std::vector<std::string>& columns() const noexcept { return columns_; }
  const Rows& rows() const noexcept { return rows_; }

 private:
  std::vector<std::string> columns_;
  Rows rows_;
};

/// The parameters of one statement.
class Parameters {
 public:
  struct Place {
    std::size_t begin = 0, size = 0;
    /// Where in it MySQL, and not MariaDB, wants the word ROW.
    std::vector<std::size_t> rows = {};
  };

  /// What has a literal; Rows; a Table; or a range of what has a literal, for `IN $1`: of an empty one
  /// nothing is IN. What is added is copied.
  template <class T>
  void add(const T& value) {
    const std::size_t begin = text_.size();
    if constexpr (requires { append_literal(text_, value); }) {
      append_literal(text_, value);
    } else if constexpr (std::ranges::range<T>) {
      append_range(value);
    } else {
      return append(value);
    }
    places_.push_back({.begin = begin, .size = text_.size() - begin});
  }

  std::span<const Place> places() const noexcept { return places_; }
  std::size_t bytes() const noexcept { return text_.size(); }
  /// Appends the parameter as MariaDB takes it, or as MySQL does.
  void append_to(std::string& out, const Place& place, bool mariadb) const;

 private:
  template <class Range>
  void append_range(const Range& range) {
    char separator = '(';
    for (const auto& element : range) {
      text_ += std::exchange(separator, ',');
      append_literal(text_, element);
    }
    text_ += separator == '(' ? "(NULL)" : ")";
  }
  /// Throws std::logic_error for no rows: that is no statement.
  void append(const Rows& rows);
  void append(const Table& table);

  std::string text_;
  std::vector<Place> places_;
};

}  // namespace tidemill::mysql
