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
  return result_ != nullptr ? static_cast<std::int64_t>(mysql_num_rows(result_.get())) : 0;
}

std::size_t Query::columns() const noexcept {
  return result_ != nullptr ? mysql_num_fields(result_.get()) : 0;
}

bool Query::step() noexcept {
  row_ = result_ != nullptr ? mysql_fetch_row(result_.get()) : nullptr;
  if (row_ != nullptr) lengths_ = mysql_fetch_lengths(result_.get());
  return row_ != nullptr;
}

void Query::check(int column) const {
  if (row_ == nullptr || column < 0 || column >= static_cast<int>(mysql_num_fields(result_.get())))
    throw std::logic_error{"there is no such row or column in the answer"};
}

bool Query::null(int column) const {
  check(column);
  return row_[column] == nullptr;
}

std::int64_t Query::integer(int column) const {
  const std::string_view text = bytes(column);
  const MYSQL_FIELD* const field = mysql_fetch_field_direct(result_.get(), static_cast<unsigned>(column));
  // What is NULL and nothing else has a type of its own.
  if (!is_number(field->type) && field->type != MYSQL_TYPE_NULL)
    throw std::logic_error{fmt::format("the column {} is no integer; CAST it AS SIGNED", field->name)};
  if (null(column)) return 0;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    throw std::logic_error{fmt::format("{} in the column {} is no integer of 64 bits", text, field->name)};
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
