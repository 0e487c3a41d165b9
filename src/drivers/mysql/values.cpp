#include "drivers/mysql/values.hpp"

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "drivers/sql/statement.hpp"
#include "drivers/sql/text.hpp"

namespace tidemill::mysql {

namespace {

void append_bytes(std::string& out, std::string_view introducer, std::string_view bytes) {
  out += introducer;
  if (bytes.find('\\') != std::string_view::npos) {
    out += " x'";
    sql::append_hex(out, bytes);
  } else {
    out += '\'';
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t quote = std::min(bytes.find('\'', at), bytes.size() - 1);
      out += bytes.substr(at, quote - at + 1);
      if (bytes[quote] == '\'') out += '\'';
      at = quote + 1;
    }
  }
  out += '\'';
}

}  // namespace

std::string without_marks(std::string_view text) {
  constexpr std::string_view harmless = " ,.-_";
  const auto is_harmless = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || harmless.find(c) != harmless.npos;
  };
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = std::min(text.find('\'', at), text.size());
    result += text.substr(at, begin - at);
    if (begin == text.size()) break;
    std::string value;
    for (at = begin + 1; at < text.size(); ++at) {
      if (text[at] == '\'' && text.substr(at, 2) != "''") break;
      if (text[at] == '\'') ++at;
      value += text[at];
    }
    ++at;
    if (std::ranges::all_of(value, is_harmless)) {
      result += '\'' + value + '\'';
    } else {
      result += " x'";
      sql::append_hex(result, value);
      result += '\'';
    }
  }
  return result;
}

void append_literal(std::string& out, std::string_view text) { append_bytes(out, "_utf8mb4", text); }

void append_literal(std::string& out, Blob blob) { append_bytes(out, "_binary", blob.bytes); }

void Parameters::append(const Rows& rows) {
  if (rows.empty()) throw std::logic_error{"a parameter of no rows: VALUES takes at least one"};
  const std::size_t begin = text_.size();
  text_ += rows.text();
  places_.push_back({.begin = begin, .size = text_.size() - begin});
}

/// The first part has no row. It gives the columns their names.
void Parameters::append(const Table& table) {
  Place place{.begin = text_.size()};
  std::string_view separator = "(SELECT NULL AS ";
  for (const std::string& column : table.columns()) {
    text_ += std::exchange(separator, ",NULL AS ");
    text_ += sql::quoted(column, '`');
  }
  text_ += " FROM DUAL WHERE FALSE";
  if (!table.empty()) {
    text_ += " UNION ALL VALUES ";
    for (const std::size_t row : table.rows().places())
      place.rows.push_back(text_.size() - place.begin + row);
    text_ += table.rows().text();
  }
  text_ += ')';
  place.size = text_.size() - place.begin;
  places_.push_back(std::move(place));
}

void Parameters::append_to(std::string& out, const Place& place, bool mariadb) const {
  std::string_view text = std::string_view{text_}.substr(place.begin, place.size);
  if (!mariadb) {
    std::size_t before = 0;
    for (const std::size_t row : place.rows) {
      out += text.substr(before, row - before);
      out += "ROW";
      before = row;
    }
    text.remove_prefix(before);
  }
  out += text;
}

}  // namespace tidemill::mysql
