#include <libpq-fe.h>

#include <charconv>
#include <stdexcept>

#include "drivers/postgres/postgres.hpp"

namespace tidemill::postgres {

namespace {

/// The most significant byte first, with a sign. Of 1, 2, 4 or 8 bytes.
std::int64_t signed_number(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  const int unused = 64 - 8 * static_cast<int>(bytes.size());
  return static_cast<std::int64_t>(value << unused) >> unused;
}

std::int64_t number_of(Type type, std::string_view bytes) {
  switch (type) {
    case Type::boolean:
    case Type::int2:
    case Type::int4:
    case Type::int8:
      return signed_number(bytes);
    case Type::oid:
      return signed_number(bytes) & 0xffffffff;
    default:
      throw std::logic_error{"a column of type " + std::to_string(static_cast<std::uint32_t>(type)) +
                             " is no integer; cast it to bigint"};
  }
}

/// Of an answer that came as text.
std::int64_t number_in(std::string_view text) {
  if (text == "t" || text == "f") return text == "t" ? 1 : 0;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  throw std::logic_error{"a column with \"" + std::string{text} + "\" is no integer"};
}

/// Cuts the bytes off the front.
std::string_view take(std::string_view& bytes, std::size_t count) {
  if (count > bytes.size()) throw std::logic_error{"a column that is read as an array is none"};
  const std::string_view part = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return part;
}

std::int64_t take_number(std::string_view& bytes) { return signed_number(take(bytes, 4)); }

struct Elements {
  Type type = Type::unknown;
  std::vector<std::optional<std::string_view>> values = {};
};

Elements elements_of(std::string_view bytes) {
  Elements found;
  const std::int64_t dimensions = take_number(bytes);
  take_number(bytes);  // Whether there are NULLs.
  found.type = static_cast<Type>(take_number(bytes));
  if (dimensions == 0) return found;
  if (dimensions != 1) throw std::logic_error{"a column that is read as an array has several dimensions"};
  const std::int64_t count = take_number(bytes);
  take_number(bytes);  // The lowest index.
  found.values.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t size = take_number(bytes);
    if (size < 0) {
      found.values.emplace_back();
    } else {
      found.values.emplace_back(take(bytes, static_cast<std::size_t>(size)));
    }
  }
  return found;
}

}  // namespace

void Query::Clear::operator()(pg_result* result) const noexcept { PQclear(result); }

bool Query::step() noexcept { return row_ < rows() && ++row_ < rows(); }

int Query::rows() const noexcept { return PQntuples(result_.get()); }

std::int64_t Query::changes() const {
  if (changes_) return *changes_;
  const std::string_view text = PQcmdTuples(result_.get());
  std::int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

std::string_view Query::cell(int column) const {
  if (row_ < 0 || row_ >= rows() || column < 0 || column >= PQnfields(result_.get()))
    throw std::logic_error{"there is no such row or column in the answer"};
  return {PQgetvalue(result_.get(), row_, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row_, column))};
}

bool Query::null(int column) const {
  cell(column);
  return PQgetisnull(result_.get(), row_, column) != 0;
}

std::int64_t Query::integer(int column) const {
  if (null(column)) return 0;
  if (PQfformat(result_.get(), column) == 0) return number_in(cell(column));
  return number_of(static_cast<Type>(PQftype(result_.get(), column)), cell(column));
}

std::optional<std::int64_t> Query::optional_integer(int column) const {
  if (null(column)) return {};
  return integer(column);
}

std::string_view Query::bytes(int column) const { return cell(column); }

std::vector<std::optional<std::int64_t>> Query::integers(int column) const {
  std::vector<std::optional<std::int64_t>> numbers;
  if (null(column)) return numbers;
  const Elements elements = elements_of(cell(column));
  numbers.reserve(elements.values.size());
  for (const std::optional<std::string_view>& value : elements.values) {
    numbers.emplace_back();
    if (value) numbers.back() = number_of(elements.type, *value);
  }
  return numbers;
}

std::vector<std::optional<std::string_view>> Query::texts(int column) const {
  if (null(column)) return {};
  return elements_of(cell(column)).values;
}

}  // namespace tidemill::postgres
