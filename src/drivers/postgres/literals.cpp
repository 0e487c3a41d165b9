// Values as they stand in texts.
#include <cctype>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "drivers/postgres/values.hpp"
#include "drivers/sql/statement.hpp"

namespace tidemill::postgres {

namespace {

std::string_view name_of(Type type) {
  switch (type) {
    case Type::boolean:
      return "boolean";
    case Type::bytea:
      return "bytea";
    case Type::int8:
      return "bigint";
    case Type::int2:
      return "smallint";
    case Type::int4:
      return "integer";
    case Type::text:
      return "text";
    case Type::oid:
      return "oid";
    case Type::booleans:
      return "boolean[]";
    case Type::byteas:
      return "bytea[]";
    case Type::int4s:
      return "integer[]";
    case Type::texts:
      return "text[]";
    case Type::int8s:
      return "bigint[]";
    case Type::unknown:
      break;
  }
  throw std::logic_error{"a parameter of no known type"};
}

/// The bytes, the most significant one first.
std::int64_t number_of(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  const auto unused = 64 - 8 * bytes.size();
  return static_cast<std::int64_t>(value << unused) >> unused;
}

/// As the server writes it, and reads it.
void append_plain(std::string& out, Type type, std::string_view bytes) {
  switch (type) {
    case Type::boolean:
      out += bytes[0] != 0 ? "t" : "f";
      return;
    case Type::bytea:
      out += "\\x";
      return sql::append_hex(out, bytes);
    case Type::text:
      out += bytes;
      return;
    default:
      fmt::format_to(std::back_inserter(out), "{}", number_of(bytes));
  }
}

std::string_view take(std::string_view& bytes, std::size_t count) {
  const std::string_view part = bytes.substr(0, count);
  bytes.remove_prefix(part.size());
  return part;
}

/// Array::append_to has written it.
void append_array(std::string& out, std::string_view bytes) {
  const std::int64_t dimensions = number_of(take(bytes, 4));
  take(bytes, 4);  // Whether there are NULLs.
  const auto type = static_cast<Type>(number_of(take(bytes, 4)));
  out += '{';
  if (dimensions > 0) take(bytes, 8);  // How many there are, and the lowest index.
  std::string element;
  for (std::string_view separator; !bytes.empty(); separator = ",") {
    out += separator;
    const std::int64_t size = number_of(take(bytes, 4));
    if (size < 0) {
      out += "NULL";
      continue;
    }
    element.clear();
    append_plain(element, type, take(bytes, static_cast<std::size_t>(size)));
    out += '"';
    for (const char c : element) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  out += '}';
}

/// In quotes; what is neither a letter nor harmless is an escape.
void append_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view harmless = " {}\",-_.";
  out += "E'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (byte >= 0x80 || std::isalnum(byte) != 0 || harmless.find(c) != harmless.npos) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\{:03o}", byte);
    }
  }
  out += '\'';
}

}  // namespace

void Parameters::append_literal(std::string& out, const Place& place) const {
  if (place.type == Type::unknown) {
    out += "NULL";
    return;
  }
  const std::string_view bytes{data(place), place.size};
  out += "CAST(";
  if (place.null) {
    out += "NULL";
  } else {
    std::string plain;
    const std::string_view name = name_of(place.type);
    if (name.ends_with(']')) {
      append_array(plain, bytes);
    } else {
      append_plain(plain, place.type, bytes);
    }
    append_quoted(out, plain);
  }
  out += " AS ";
  out += name_of(place.type);
  out += ')';
}

}  // namespace tidemill::postgres
