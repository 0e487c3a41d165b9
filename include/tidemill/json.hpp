#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tidemill/task.hpp>

/// Names the fields of a payload struct, beside it, in its own namespace; up to 80 of them:
///
///   struct SendMail {
///     static constexpr std::string_view kind = "mail:send";
///     std::string to = {};
///     std::optional<Address> from = {};
///   };
///   TIDEMILL_FIELDS(SendMail, to, from)
///
/// Fields may be booleans, numbers, strings, structs with fields of their own, and std::optional, std::vector
/// and std::map<std::string, …> of all these.
#define TIDEMILL_FIELDS(Type, ...)                         \
  template <class Self, class Visit>                       \
    requires std::same_as<std::remove_const_t<Self>, Type> \
  void tidemill_fields(Self& self, Visit&& visit) {        \
    TIDEMILL_DETAIL_EACH(__VA_ARGS__)                      \
  }
// Each level scans its argument three times more, so that the list may be as long as promised.
#define TIDEMILL_DETAIL_SCAN(...) \
  TIDEMILL_DETAIL_SCAN2(TIDEMILL_DETAIL_SCAN2(TIDEMILL_DETAIL_SCAN2(__VA_ARGS__)))
#define TIDEMILL_DETAIL_SCAN2(...) \
  TIDEMILL_DETAIL_SCAN3(TIDEMILL_DETAIL_SCAN3(TIDEMILL_DETAIL_SCAN3(__VA_ARGS__)))
#define TIDEMILL_DETAIL_SCAN3(...) \
  TIDEMILL_DETAIL_SCAN4(TIDEMILL_DETAIL_SCAN4(TIDEMILL_DETAIL_SCAN4(__VA_ARGS__)))
#define TIDEMILL_DETAIL_SCAN4(...) \
  TIDEMILL_DETAIL_SCAN5(TIDEMILL_DETAIL_SCAN5(TIDEMILL_DETAIL_SCAN5(__VA_ARGS__)))
#define TIDEMILL_DETAIL_SCAN5(...) __VA_ARGS__
#define TIDEMILL_DETAIL_EACH(...) __VA_OPT__(TIDEMILL_DETAIL_SCAN(TIDEMILL_DETAIL_ONE(__VA_ARGS__)))
#define TIDEMILL_DETAIL_ONE(field, ...) \
  visit(#field, self.field);            \
  __VA_OPT__(TIDEMILL_DETAIL_AGAIN TIDEMILL_DETAIL_PARENS(__VA_ARGS__))
#define TIDEMILL_DETAIL_PARENS ()
#define TIDEMILL_DETAIL_AGAIN() TIDEMILL_DETAIL_ONE

namespace tidemill::json {

/// A struct with TIDEMILL_FIELDS.
template <class T>
concept Described = requires(T& value) { tidemill_fields(value, [](const char*, auto&) {}); };

/// Appends JSON to a string, and knows where the commas go.
class Writer {
 public:
  /// `out` must outlive the writer.
  explicit Writer(std::string& out) : out_(out) {}

  void null();
  void write(bool value);
  /// Shortest text that reads back as the same number; NaN and infinities, which JSON lacks, become null.
  void write(double value);
  void write(std::int64_t value);
  void write(std::uint64_t value);
  /// Bytes that are no UTF-8 become U+FFFD.
  void write(std::string_view value);
  void write(const char* value) { write(std::string_view{value}); }
  void write(const std::string& value) { write(std::string_view{value}); }
  void write(float value) { write(static_cast<double>(value)); }
  template <std::integral I>
  void write(I value) {
    if constexpr (std::is_signed_v<I>) {
      write(static_cast<std::int64_t>(value));
    } else {
      write(static_cast<std::uint64_t>(value));
    }
  }
  template <class T>
  void write(const std::optional<T>& value) {
    value ? write(*value) : null();
  }
  template <class T>
  void write(const std::vector<T>& values) {
    open('[');
    for (const auto& value : values) {
      comma();
      write(static_cast<const T&>(value));
    }
    close(']');
  }
  template <class T>
  void write(const std::map<std::string, T>& values) {
    open('{');
    for (const auto& [name, value] : values) member(name, value);
    close('}');
  }
  template <Described T>
  void write(const T& value) {
    open('{');
    tidemill_fields(value, [this](const char* name, const auto& field) { member(name, field); });
    close('}');
  }

  /// For documents made by hand: open('{'), member(…) …, close('}').
  void open(char bracket);
  void close(char bracket);
  template <class T>
  void member(std::string_view name, const T& value) {
    key(name);
    write(value);
  }
  void key(std::string_view name);
  void comma();
  /// JSON that is there already, as it is. REQUIRES: it is one value.
  void raw(std::string_view json);

 private:
  std::string& out_;
  bool first_ = true;
};

/// A borrowed look at one node of a parsed document; valid within `with_document` only.
class Value {
 public:
  bool is_null() const;
  std::size_t size() const;  ///< Of elements or members.
  Value at(std::size_t index) const;
  std::string_view name_at(std::size_t index) const;
  /// None when there is no such member.
  std::optional<Value> field(std::string_view name) const;

  // Each throws Error{corrupt} that names the place when the node has another type or does not fit.
  void read(bool& out) const;
  void read(double& out) const;
  void read(std::int64_t& out) const;
  void read(std::uint64_t& out) const;
  void read(std::string& out) const;
  void read(float& out) const {
    double wide = 0;
    read(wide);
    out = static_cast<float>(wide);
  }
  template <std::integral I>
  void read(I& out) const {
    std::conditional_t<std::is_signed_v<I>, std::int64_t, std::uint64_t> wide{};
    read(wide);
    if (!std::in_range<I>(wide)) mismatch("a number in range");
    out = static_cast<I>(wide);
  }
  template <class T>
  void read(std::optional<T>& out) const {
    if (is_null()) {
      out.reset();
    } else {
      read(out.emplace());
    }
  }
  template <class T>
  void read(std::vector<T>& out) const {
    expect_array();
    out.clear();
    out.reserve(size());
    for (std::size_t i = 0; i < size(); ++i) {
      T element{};
      in_place(std::to_string(i), [&] { at(i).read(element); });
      out.push_back(std::move(element));
    }
  }
  template <class T>
  void read(std::map<std::string, T>& out) const {
    expect_object();
    out.clear();
    for (std::size_t i = 0; i < size(); ++i) {
      const std::string name{name_at(i)};
      in_place(name, [&] { at(i).read(out[name]); });
    }
  }
  /// Unknown members are ignored and absent ones keep their default, so that old and new producers and
  /// workers can run side by side.
  template <Described T>
  void read(T& out) const {
    expect_object();
    tidemill_fields(out, [this](const char* name, auto& member) {
      if (const auto node = field(name)) in_place(name, [&] { node->read(member); });
    });
  }

 private:
  friend struct Document;
  explicit Value(const void* node) : node_(node) {}
  [[noreturn]] void mismatch(std::string_view wanted) const;
  void expect_array() const;
  void expect_object() const;
  [[noreturn]] static void rethrow_from(std::string_view place);
  template <class F>
  static void in_place(std::string_view place, F&& f) {
    try {
      f();
    } catch (...) {
      rethrow_from(place);
    }
  }

  const void* node_;
};

/// Parses `bytes` and calls `use(root, out)`. Throws Error{corrupt} when they are no JSON.
void with_document(std::string_view bytes, void (*use)(Value root, void* out), void* out);

}  // namespace tidemill::json

namespace tidemill {

/// Structs with TIDEMILL_FIELDS travel as JSON.
template <json::Described T>
struct Codec<T> {
  static std::string encode(const T& value) {
    std::string out;
    json::Writer{out}.write(value);
    return out;
  }
  static T decode(std::string_view bytes) {
    T value{};
    json::with_document(bytes, [](json::Value root, void* out) { root.read(*static_cast<T*>(out)); }, &value);
    return value;
  }
};

}  // namespace tidemill
