#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "drivers/sql/blob.hpp"

/// Values as they travel: in PostgreSQL's binary formats.
namespace tidemill::postgres {

using sql::Blob;  // Travels as bytea.

/// Numbers of PostgreSQL's own types: never another.
enum class Type : std::uint32_t {
  unknown = 0,  ///< The server finds out.
  boolean = 16,
  bytea = 17,
  int8 = 20,
  int2 = 21,
  int4 = 23,
  text = 25,
  oid = 26,
  booleans = 1000,
  byteas = 1001,
  int4s = 1007,
  texts = 1009,
  int8s = 1016,
};

template <class T>
concept Integer = (std::integral<T> && !std::same_as<T, bool>) || std::is_enum_v<T>;

/// The most significant byte first.
template <class T>
void append_big_endian(std::string& out, T value) {
  for (std::size_t i = sizeof value; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i)));
}

/// A parameter such as `$1::bigint[]` of a batch's `unnest`. T is std::int64_t, std::int32_t, bool, Blob
/// (bytea[]) or std::string_view (text[]). What is added is copied.
template <class T>
class Array {
  static_assert(std::same_as<T, std::int64_t> || std::same_as<T, std::int32_t> || std::same_as<T, bool> ||
                std::same_as<T, Blob> || std::same_as<T, std::string_view>);

 public:
  void add(const T& value) {
    append_value(value);
    ++size_;
  }
  template <Integer U>
    requires(!std::same_as<U, T> && std::same_as<T, std::int64_t>)
  void add(U value) {
    add(static_cast<std::int64_t>(value));
  }
  /// NULL if there is none.
  template <class U>
  void add(const std::optional<U>& value) {
    if (value) {
      add(T(*value));
    } else {
      add_null();
    }
  }
  void add_null() {
    append_big_endian(elements_, std::uint32_t{0xffffffff});
    with_null_ = true;
    ++size_;
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept {
    elements_.clear();
    size_ = 0;
    with_null_ = false;
  }

  static constexpr Type element = std::same_as<T, std::int64_t>   ? Type::int8
                                  : std::same_as<T, std::int32_t> ? Type::int4
                                  : std::same_as<T, bool>         ? Type::boolean
                                  : std::same_as<T, Blob>         ? Type::bytea
                                                                  : Type::text;
  static constexpr Type type = std::same_as<T, std::int64_t>   ? Type::int8s
                               : std::same_as<T, std::int32_t> ? Type::int4s
                               : std::same_as<T, bool>         ? Type::booleans
                               : std::same_as<T, Blob>         ? Type::byteas
                                                               : Type::texts;

  /// In the binary format: dimensions, whether there are NULLs, type, length, lowest index, the elements.
  void append_to(std::string& out) const {
    append_big_endian(out, std::uint32_t{empty() ? 0U : 1U});
    append_big_endian(out, std::uint32_t{with_null_ ? 1U : 0U});
    append_big_endian(out, static_cast<std::uint32_t>(element));
    if (empty()) return;
    append_big_endian(out, static_cast<std::uint32_t>(size_));
    append_big_endian(out, std::uint32_t{1});
    out += elements_;
  }

 private:
  void append_value(std::string_view bytes) {
    append_big_endian(elements_, static_cast<std::uint32_t>(bytes.size()));
    elements_ += bytes;
  }
  void append_value(Blob blob) { append_value(blob.bytes); }
  template <std::integral I>
  void append_value(I value) {
    append_big_endian(elements_, std::uint32_t{sizeof value});
    append_big_endian(elements_, value);
  }

  std::string elements_;
  std::size_t size_ = 0;
  bool with_null_ = false;
};

/// What an Array of such values has.
template <class T>
struct ElementOfRange {
  using type = std::conditional_t<
      std::convertible_to<T, std::string_view>, std::string_view,
      std::conditional_t<std::same_as<T, Blob> || std::same_as<T, bool> || std::same_as<T, std::int32_t>, T,
                         std::int64_t>>;
};
template <class T>
struct ElementOfRange<std::optional<T>> : ElementOfRange<T> {};
template <class T>
using ElementOf = typename ElementOfRange<T>::type;

/// The parameters of one statement, encoded.
class Parameters {
 public:
  struct Place {
    Type type = Type::unknown;
    bool null = false;
    std::size_t begin = 0, size = 0;
  };

  /// Integers and enumerations travel as bigint, whatever their width; bool, std::string_view (text), Blob
  /// (bytea), nullptr, an Array, a range of what an Array takes, an optional of a scalar, or whatever has
  /// `bind_to`, which calls back with one of these, or with several, for as many parameters. What is added is
  /// copied.
  template <class T>
  void add(const T& value) {
    if constexpr (requires { value.bind_to([](const auto&) {}); }) {
      value.bind_to([&](const auto& plain) { add(plain); });
    } else if constexpr (requires { value.append_to(bytes_); }) {
      put(T::type, [&] { value.append_to(bytes_); });
    } else if constexpr (!std::same_as<T, std::nullptr_t> &&
                         std::convertible_to<const T&, std::string_view>) {
      put(Type::text, [&] { bytes_ += std::string_view{value}; });
    } else if constexpr (std::ranges::range<T>) {
      add_range(value);
    } else {
      add_scalar(value);
    }
  }

  std::span<const Place> places() const noexcept { return places_; }
  const char* data(const Place& place) const noexcept { return bytes_.data() + place.begin; }
  /// Appends the value as it stands in a text: without question marks, colons and `$`.
  void append_literal(std::string& out, const Place& place) const;

 private:
  template <class Write>
  void put(Type type, Write write) {
    const std::size_t begin = bytes_.size();
    write();
    places_.push_back({.type = type, .null = false, .begin = begin, .size = bytes_.size() - begin});
  }
  void add_scalar(std::nullptr_t) { places_.push_back({.type = Type::unknown, .null = true}); }
  void add_scalar(Blob blob) {
    put(Type::bytea, [&] { bytes_ += blob.bytes; });
  }
  void add_scalar(bool value) {
    put(Type::boolean, [&] { bytes_.push_back(value ? '\1' : '\0'); });
  }
  template <Integer T>
  void add_scalar(T value) {
    put(Type::int8, [&] { append_big_endian(bytes_, static_cast<std::int64_t>(value)); });
  }
  template <class T>
  void add_scalar(const std::optional<T>& value) {
    // The type is the same with a value and without: the statement is prepared once.
    if (value) return add(*value);
    add(T{});
    bytes_.resize(places_.back().begin);
    places_.back().null = true;
    places_.back().size = 0;
  }
  template <class Range>
  void add_range(const Range& range) {
    Array<ElementOf<std::ranges::range_value_t<Range>>> array;
    for (const auto& element : range) array.add(element);
    add(array);
  }

  std::string bytes_;
  std::vector<Place> places_;
};

}  // namespace tidemill::postgres
