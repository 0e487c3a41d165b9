#include "wire/json_read.hpp"

#include <limits>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "wire/base64.hpp"
#include "wire/raw_json.hpp"

namespace tidemill::wire {

namespace bj = boost::json;

namespace {

/// "~" and "/" have a meaning in pointers.
std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string JsonValue::text() const {
  if (!value_.is_string()) refuse("must be a text in quotes");
  return std::string{value_.get_string()};
}

bool JsonValue::truth() const {
  if (!value_.is_bool()) refuse("must be true or false");
  return value_.get_bool();
}

std::int64_t JsonValue::integer(std::int64_t least, std::int64_t most) const {
  if (!value_.is_int64() || value_.get_int64() < least || value_.get_int64() > most) {
    refuse(fmt::format("must be a whole number from {} to {}", least, most));
  }
  return value_.get_int64();
}

std::int32_t JsonValue::small() const {
  using Limits = std::numeric_limits<std::int32_t>;
  if (!value_.is_int64()) refuse("must be a whole number");
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(value_.get_int64(), Limits::min(), Limits::max()));
}

Duration JsonValue::duration() const {
  constexpr std::int64_t most = std::int64_t{1} << 48U;  // As much as microseconds can hold, and some.
  if (value_.is_int64()) {
    if (value_.get_int64() < 0 || value_.get_int64() > most) refuse("is out of range");
    return std::chrono::milliseconds{value_.get_int64()};
  }
  if (!value_.is_string()) refuse("must be milliseconds, or a text such as \"90s\", \"5m\" or \"1h30m\"");
  return checked([&] { return parse_duration(text()); });
}

TimePoint JsonValue::time() const {
  const std::string written = text();
  return checked([&] { return parse_time(written); });
}

std::vector<std::string> JsonValue::texts() const {
  std::vector<std::string> found;
  for (const JsonValue& each : elements()) found.push_back(each.text());
  return found;
}

std::map<std::string, std::string> JsonValue::text_map() const {
  if (!value_.is_object()) refuse(R"(must be an object of texts, such as {"trace":"7f"})");
  std::map<std::string, std::string> found;
  for (const auto& [name, value] : members()) found[name] = value.text();
  return found;
}

std::string JsonValue::base64() const {
  auto bytes = decode_base64(text());
  if (!bytes) refuse("is no base64 with padding (RFC 4648, section 4)");
  return std::move(*bytes);
}

std::vector<JsonValue> JsonValue::elements() const {
  if (!value_.is_array()) refuse("must be an array");
  const bj::array& array = value_.get_array();
  const std::vector<std::string_view> raw = raw_elements(raw_);
  std::vector<JsonValue> found;
  found.reserve(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    found.emplace_back(array[i], raw[i], fmt::format("{}/{}", pointer_, i), unknown_);
  }
  return found;
}

std::vector<std::pair<std::string, JsonValue>> JsonValue::members() const {
  if (!value_.is_object()) refuse("must be an object");
  std::vector<std::pair<std::string, JsonValue>> found;
  const bj::object& object = value_.get_object();
  const std::vector<std::string_view> raw = raw_members(raw_);
  const bool in_order = raw.size() == object.size();  // Else a name is there twice, and the last one counts.
  const auto by_name = in_order ? std::map<std::string, std::string_view>{} : raw_members_by_name(raw_);
  std::size_t next = 0;
  for (const auto& [name, value] : object) {
    const std::string_view text = in_order ? raw[next++] : by_name.at(name);
    found.emplace_back(name, JsonValue{value, text, fmt::format("{}/{}", pointer_, escaped(name)), unknown_});
  }
  return found;
}

JsonDocument::JsonDocument(std::string_view text, Unknown unknown) : text_(text), unknown_(unknown) {
  bj::error_code failure;
  value_ = bj::parse(bj::string_view{text.data(), text.size()}, failure);
  if (failure) throw BadValue{"", fmt::format("this is no JSON: {}", failure.message())};
}

}  // namespace tidemill::wire
