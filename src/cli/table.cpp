#include "cli/table.hpp"

#include <algorithm>
#include <ostream>

namespace tidemill::cli {

namespace {

/// Whether a byte begins a character.
bool begins(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }

}  // namespace

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins));
}

std::string cut(std::string_view text, std::size_t most) {
  if (width(text) <= most) return std::string{text};
  std::size_t end = 0;
  for (std::size_t characters = 0; end < text.size(); ++end) {
    if (begins(text[end]) && ++characters == most) break;
  }
  return std::string{text.substr(0, end)} + "…";
}

std::string one_line(std::string_view text) {
  std::string out{text};
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

Table::Table(std::vector<std::string> heads) : right_(heads.size()) { rows_.push_back(std::move(heads)); }

Table& Table::right(std::size_t column) {
  right_[column] = true;
  return *this;
}

void Table::add(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cells[i] = one_line(cells[i]);
    if (i + 1 < cells.size()) cells[i] = cut(cells[i], width_max);
  }
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths(right_.size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      const std::string padding(widths[i] - width(row[i]), ' ');
      line += right_[i] ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

}  // namespace tidemill::cli
