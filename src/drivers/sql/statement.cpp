#include "drivers/sql/statement.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

namespace tidemill::sql {

namespace {

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// Where the literal or the quoted name ends that begins here: behind its last mark.
std::size_t end_of_quoted(std::string_view text, std::size_t at) {
  const std::size_t end = text.find(text[at], at + 1);
  return end == text.npos ? text.size() : end + 1;
}

/// The words and commas outside of parentheses and quotes, until `take` says true.
template <class F>
void each_outer_word(std::string_view text, F&& take) {
  int depth = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '\'' || c == '"' || c == '`') {
      at = end_of_quoted(text, at);
      continue;
    }
    if (!in_word(c)) {
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
      ++at;
      if (depth == 0 && c == ',' && take(",")) return;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && in_word(text[at])) ++at;
    if (depth == 0 && take(text.substr(begin, at - begin))) return;
  }
}

/// Where the operand of a cast begins that ends here.
std::size_t begin_of_operand(std::string_view text, std::size_t end) {
  std::size_t at = end;
  if (at > 0 && text[at - 1] == ')') {
    int depth = 0;
    do {
      --at;
      depth += text[at] == ')' ? 1 : text[at] == '(' ? -1 : 0;
    } while (at > 0 && depth > 0);
  } else if (at > 0 && text[at - 1] == '\'') {
    const std::size_t mark = text.rfind('\'', at - 2);
    return mark == text.npos ? 0 : mark;
  }
  while (at > 0 && (in_word(text[at - 1]) || text[at - 1] == '.' || text[at - 1] == '$')) --at;
  return at;
}

}  // namespace

Template cut(std::string_view text, char mark) {
  Template result;
  std::string part;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), number);
    if (text[at] != mark || error != std::errc{} || number == 0) {
      part += text[at];
      continue;
    }
    result.parts.push_back({.text = std::exchange(part, {}), .parameter = number - 1});
    result.parameters = std::max(result.parameters, number);
    at = static_cast<std::size_t>(end - text.data()) - 1;
  }
  result.end = std::move(part);
  return result;
}

bool has_rows(std::string_view text) {
  constexpr std::array<std::string_view, 4> changing{"INSERT", "UPDATE", "DELETE", "REPLACE"};
  bool changes = false;
  bool rows = false;
  each_outer_word(text, [&](std::string_view word) {
    changes = changes || std::ranges::find(changing, word) != changing.end();
    rows = word == "RETURNING" || (!changes && (word == "SELECT" || word == "SHOW" || word == "VALUES"));
    return rows;
  });
  return rows;
}

std::size_t columns_of(std::string_view select) {
  std::size_t columns = 1;
  each_outer_word(select, [&](std::string_view word) {
    columns += word == "," ? 1 : 0;
    return word == "FROM";
  });
  return columns;
}

std::vector<std::string> statements_of(std::string_view script) {
  std::vector<std::string> statements;
  while (!script.empty()) {
    const std::size_t end = std::min(script.find(';'), script.size());
    const std::string_view one = script.substr(0, end);
    if (one.find_first_not_of(" \n") != one.npos) statements.emplace_back(one);
    script.remove_prefix(std::min(end + 1, script.size()));
  }
  return statements;
}

std::string without_colons(std::string_view text) {
  std::string result{text};
  for (std::size_t at = result.find("::"); at != result.npos; at = result.find("::", at)) {
    const std::size_t begin = begin_of_operand(result, at);
    std::size_t end = at + 2;
    while (end < result.size() && in_word(result[end])) ++end;
    if (result.compare(end, 2, "[]") == 0) end += 2;
    const std::string type = result.substr(at + 2, end - at - 2);
    result.replace(at, end - at, " AS " + type + ")");
    result.insert(begin, "CAST(");
    at = begin;
  }
  return result;
}

void append_hex(std::string& out, std::string_view bytes) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4U];
    out += digits[static_cast<unsigned char>(c) & 15U];
  }
}

std::string from_hex(std::string_view digits) {
  std::string bytes;
  bytes.reserve(digits.size() / 2);
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    unsigned value = 0;
    std::from_chars(digits.data() + at, digits.data() + at + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

}  // namespace tidemill::sql
