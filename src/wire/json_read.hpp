#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include <tidemill/clock.hpp>
#include <tidemill/error.hpp>

#include "wire/values.hpp"

/// Reads JSON that people and programs sent, and says where it isn't right.
namespace tidemill::wire {

/// A mistake in a document: where, as an RFC 6901 pointer, and what would be right.
class BadValue : public std::exception {
 public:
  BadValue(std::string pointer, std::string detail)
      : pointer_(std::move(pointer)), detail_(std::move(detail)) {}
  const char* what() const noexcept override { return detail_.c_str(); }
  const std::string& pointer() const noexcept { return pointer_; }

 private:
  std::string pointer_, detail_;
};

/// What becomes of members that a reader does not know.
enum class Unknown : unsigned char {
  refused,  ///< In requests: a name is mistyped.
  ignored,  ///< In answers: the other side is newer.
};

/// One value of a document; valid as long as that. All that reads throws BadValue.
class JsonValue {
 public:
  JsonValue(const boost::json::value& value, std::string_view raw, std::string pointer,
            Unknown unknown = Unknown::refused)
      : value_(value), raw_(raw), pointer_(std::move(pointer)), unknown_(unknown) {}

  const std::string& pointer() const noexcept { return pointer_; }
  /// As it was sent, to the digit.
  std::string_view raw() const noexcept { return raw_; }
  [[noreturn]] void refuse(std::string detail) const { throw BadValue{pointer_, std::move(detail)}; }

  Unknown unknown() const noexcept { return unknown_; }

  bool is_array() const { return value_.is_array(); }
  bool is_object() const { return value_.is_object(); }
  bool is_null() const { return value_.is_null(); }
  bool is_bool() const { return value_.is_bool(); }
  bool is_text() const { return value_.is_string(); }

  std::string text() const;
  bool truth() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  /// Any that fits: what makes sense is for others to say.
  std::int32_t small() const;
  /// An integer of milliseconds, or a text such as "90s", "5m" or "1h30m".
  Duration duration() const;
  TimePoint time() const;
  std::vector<std::string> texts() const;
  std::map<std::string, std::string> text_map() const;
  std::string base64() const;
  /// One of them, by its name.
  template <class E>
  E name(std::string_view what, std::span<const E> values) const {
    const std::string word = text();
    return checked([&] { return parse_name<E>(what, word, values); });
  }

  /// Of an array.
  std::vector<JsonValue> elements() const;
  /// Of an object, in the order they stand.
  std::vector<std::pair<std::string, JsonValue>> members() const;

  /// What `read()` answers; an Error{invalid} of its becomes a BadValue of this place.
  template <class Read>
  auto checked(Read read) const {
    try {
      return read();
    } catch (const Error& error) {
      refuse(error.what());
    }
  }

 private:
  const boost::json::value& value_;
  std::string_view raw_;
  std::string pointer_;
  Unknown unknown_;
};

/// A whole document. Nested 32 deep at most.
class JsonDocument {
 public:
  /// Throws BadValue when it is no JSON. The text must outlive the document.
  explicit JsonDocument(std::string_view text, Unknown unknown = Unknown::refused);
  JsonValue root() const { return {value_, text_, "", unknown_}; }

 private:
  std::string_view text_;
  Unknown unknown_;
  boost::json::value value_;
};

/// A member that an object may have, and where it goes.
template <class T>
struct JsonMember {
  std::string_view name;
  void (*read)(T& target, const JsonValue& value);
};

template <class Members>
std::vector<std::string> names_of(const Members& members) {
  std::vector<std::string> names;
  for (const auto& each : members) names.emplace_back(each.name);
  return names;
}

/// Reads an object; a member that isn't among `known` is a mistake, unless the document's are ignored.
template <class T>
void read_members(const JsonValue& object, T& target,
                  std::type_identity_t<std::span<const JsonMember<T>>> known) {
  for (const auto& [name, value] : object.members()) {
    const auto found = std::ranges::find(known, std::string_view{name}, &JsonMember<T>::name);
    if (found == known.end()) {
      if (value.unknown() == Unknown::ignored) continue;
      value.refuse("there is no such field" + suggestion(name, names_of(known)));
    }
    found->read(target, value);
  }
}

}  // namespace tidemill::wire
