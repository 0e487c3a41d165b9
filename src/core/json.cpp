#include <tidemill/json.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <tidemill/error.hpp>

#include "core/utf8.hpp"

namespace tidemill::json {

namespace {

namespace bj = boost::json;

// Deep enough for any honest payload, and shallow enough for any stack.
constexpr std::size_t depth_max = 64;

const bj::value& node(const void* pointer) { return *static_cast<const bj::value*>(pointer); }

void append_escape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
  }
}

}  // namespace

void Writer::comma() {
  if (!first_) out_ += ',';
  first_ = false;
}

void Writer::open(char bracket) {
  out_ += bracket;
  first_ = true;
}

void Writer::close(char bracket) {
  out_ += bracket;
  first_ = false;
}

void Writer::key(std::string_view name) {
  comma();
  write(name);
  out_ += ':';
}

void Writer::raw(std::string_view json) { out_ += json; }

void Writer::null() { out_ += "null"; }
void Writer::write(bool value) { out_ += value ? "true" : "false"; }
void Writer::write(std::int64_t value) { fmt::format_to(std::back_inserter(out_), "{}", value); }
void Writer::write(std::uint64_t value) { fmt::format_to(std::back_inserter(out_), "{}", value); }

void Writer::write(double value) {
  if (!std::isfinite(value)) return null();
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  out_.append(text.data(), end.ptr);
}

void Writer::write(std::string_view value) {
  out_ += '"';
  while (!value.empty()) {
    const char c = value.front();
    const bool plain = static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
    const std::size_t length = plain ? utf8_length(value) : 1;
    if (!plain) {
      append_escape(out_, c);
    } else if (length == 0) {
      out_ += "\xef\xbf\xbd";
    } else {
      out_.append(value.substr(0, length));
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  out_ += '"';
}

bool Value::is_null() const { return node(node_).is_null(); }

std::size_t Value::size() const {
  if (const auto* array = node(node_).if_array()) return array->size();
  if (const auto* object = node(node_).if_object()) return object->size();
  return 0;
}

Value Value::at(std::size_t index) const {
  if (const auto* array = node(node_).if_array()) return Value{&array->at(index)};
  expect_object();
  return Value{&(node(node_).get_object().begin() + static_cast<std::ptrdiff_t>(index))->value()};
}

std::string_view Value::name_at(std::size_t index) const {
  expect_object();
  const auto name = (node(node_).get_object().begin() + static_cast<std::ptrdiff_t>(index))->key();
  return {name.data(), name.size()};
}

std::optional<Value> Value::field(std::string_view name) const {
  expect_object();
  const auto* found = node(node_).get_object().if_contains({name.data(), name.size()});
  return found == nullptr ? std::nullopt : std::optional{Value{found}};
}

void Value::read(bool& out) const {
  const auto* value = node(node_).if_bool();
  if (value == nullptr) mismatch("true or false");
  out = *value;
}

void Value::read(double& out) const {
  boost::system::error_code error;
  const auto value = node(node_).to_number<double>(error);
  if (error) mismatch("a number");
  out = value;
}

void Value::read(std::int64_t& out) const {
  boost::system::error_code error;
  const auto value = node(node_).to_number<std::int64_t>(error);
  if (error) mismatch("a whole number in range");
  out = value;
}

void Value::read(std::uint64_t& out) const {
  boost::system::error_code error;
  const auto value = node(node_).to_number<std::uint64_t>(error);
  if (error) mismatch("a whole number from 0 in range");
  out = value;
}

void Value::read(std::string& out) const {
  const auto* value = node(node_).if_string();
  if (value == nullptr) mismatch("a string");
  out.assign(value->data(), value->size());
}

void Value::expect_array() const {
  if (!node(node_).is_array()) mismatch("an array");
}

void Value::expect_object() const {
  if (!node(node_).is_object()) mismatch("an object");
}

void Value::mismatch(std::string_view wanted) const {
  const auto kind = bj::to_string(node(node_).kind());
  throw Error{ErrorKind::corrupt, fmt::format("must be {}, and is of type {}", wanted,
                                              std::string_view{kind.data(), kind.size()})};
}

void Value::rethrow_from(std::string_view place) {
  try {
    throw;
  } catch (const Error& error) {
    throw Error{error.kind(), fmt::format("{}{}{}", place,
                                          std::string_view{error.what()}.substr(0, 5) == "must " ? " " : ".",
                                          error.what())};
  }
}

struct Document {
  static Value root(const bj::value& value) { return Value{&value}; }
};

void with_document(std::string_view bytes, void (*use)(Value, void*), void* out) {
  bj::parse_options options;
  options.max_depth = depth_max;
  boost::system::error_code error;
  const bj::value document = bj::parse({bytes.data(), bytes.size()}, error, {}, options);
  if (error) throw Error{ErrorKind::corrupt, fmt::format("payload is no JSON: {}", error.message())};
  try {
    use(Document::root(document), out);
  } catch (const Error& mismatch) {
    throw Error{mismatch.kind(), fmt::format("payload: {}", mismatch.what())};
  }
}

}  // namespace tidemill::json
