#include <mysql.h>

#include <charconv>
#include <stdexcept>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"

namespace tidemill::mysql {

namespace {

bool is_number(enum_field_types type) {
  switch (type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_NEWDECIMAL:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Query::Clear::operator()(st_mysql_res* result) const noexcept { mysql_free_result(result); }

std::int64_t Query::rows() const noexcept {
  return static_cast<std::int64_t>(result_ != nullptr ? mysql_num_rows(result_.get()) : texts_.size());
}

std::size_t Query::columns() const noexcept {
  if (result_ != nullptr) return mysql_num_fields(result_.get());
  return texts_.empty() ? 0 : texts_.front().size();
}

bool Query::step() noexcept {
  if (result_ == nullptr) return step_texts();
  row_ = mysql_fetch_row(result_.get());
  if (row_ != nullptr) lengths_ = mysql_fetch_lengths(result_.get());
  return row_ != nullptr;
}

bool Query::step_texts() noexcept {
  row_ = nullptr;
  if (text_ == texts_.size()) return false;
  cells_.clear();
  cell_lengths_.clear();
  for (std::optional<std::string>& text : texts_[text_++]) {
    cells_.push_back(text ? text->data() : nullptr);
    cell_lengths_.push_back(text ? text->size() : 0);
  }
  row_ = cells_.data();
  lengths_ = cell_lengths_.data();
  return true;
}

void Query::check(int column) const {
  if (row_ == nullptr || column < 0 || column >= static_cast<int>(columns()))
    throw std::logic_error{"there is no such row or column in the answer"};
}

bool Query::null(int column) const {
  check(column);
  return row_[column] == nullptr;
}

std::int64_t Query::integer(int column) const {
  const std::string_view text = bytes(column);
  std::string name = std::to_string(column);
  if (result_ != nullptr) {
    const MYSQL_FIELD* const field = mysql_fetch_field_direct(result_.get(), static_cast<unsigned>(column));
    name = field->name;
    // What is NULL and nothing else has a type of its own.
    if (!is_number(field->type) && field->type != MYSQL_TYPE_NULL)
      throw std::logic_error{fmt::format("the column {} is no integer; CAST it AS SIGNED", name)};
  }
  if (null(column)) return 0;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    throw std::logic_error{fmt::format("{} in the column {} is no integer of 64 bits", text, name)};
  return value;
}

std::optional<std::int64_t> Query::optional_integer(int column) const {
  if (null(column)) return {};
  return integer(column);
}

std::string_view Query::bytes(int column) const {
  if (null(column)) return {};
  return {row_[column], lengths_[column]};
}

}  // namespace tidemill::mysql
