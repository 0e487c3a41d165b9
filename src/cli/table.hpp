#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::cli {

/// Columns that are as wide as what is in them. The last cell of a row may be as long as it likes; others are
/// cut at `width_max` characters.
class Table {
 public:
  explicit Table(std::vector<std::string> heads);

  /// Numbers stand at the right of their column.
  Table& right(std::size_t column);
  void add(std::vector<std::string> cells);
  void print(std::ostream& out) const;

  static constexpr std::size_t width_max = 48;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> right_;
};

/// Characters, not bytes: of well-formed UTF-8, without regard to wide ones.
std::size_t width(std::string_view text);
/// At most `most` characters, the last of them an ellipsis if something was left out. Never cuts a character.
std::string cut(std::string_view text, std::size_t most);
/// On one line: line breaks and other control characters become blanks, so that no text breaks a table or
/// steers the terminal.
std::string one_line(std::string_view text);

}  // namespace tidemill::cli
