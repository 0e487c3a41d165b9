#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tidemill/clock.hpp>

/// The wire format of protocol buffers, version 3, as far as Asynq's messages need it:
/// https://protobuf.dev/programming-guides/encoding/
namespace tidemill::redis_store::protobuf {

/// Appends fields to a string. Values that proto3 takes for granted (zero, empty) are left out.
class Writer {
 public:
  /// `out` must outlive the writer.
  explicit Writer(std::string& out) : out_(out) {}

  void integer(std::uint32_t field, std::int64_t value);
  void boolean(std::uint32_t field, bool value) { integer(field, value ? 1 : 0); }
  void bytes(std::uint32_t field, std::string_view value);
  /// Bytes that are no UTF-8 become U+FFFD.
  void text(std::uint32_t field, std::string_view value);
  /// Also when it is empty: an element of a repeated field.
  void element(std::uint32_t field, std::string_view value);
  /// Always written: none as the first instant of year 1, and what is not from year 1 to 9999 as the nearest
  /// that is.
  void timestamp(std::uint32_t field, std::optional<TimePoint> value);
  /// Entries of a map, always with key and value.
  void entry(std::uint32_t field, std::string_view key, std::string_view value);
  void entry(std::uint32_t field, std::string_view key, std::int32_t value);

 private:
  void varint(std::uint64_t value);
  void head(std::uint32_t field, std::uint32_t wire_type);
  void prefixed(std::string_view value);

  std::string& out_;
};

/// Goes through the fields of a message. What is no message, or no UTF-8 where text is asked for, ends the
/// loop, and then `ok` is false. Fields that nobody asks for are skipped.
///
///     Reader in{bytes};
///     while (in.next()) {
///       switch (in.field()) {
///         case 1:
///           in.text(message.id);
///       }
///     }
///     if (!in.ok()) …
///
/// A field that is there with another wire type than asked for counts as unknown: the target stays as it is.
class Reader {
 public:
  /// The bytes must outlive the reader.
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool next();
  bool ok() const noexcept { return ok_; }
  std::uint32_t field() const noexcept { return field_; }

  void integer(std::int64_t& value) const;
  /// As protobuf has it: the lower 32 bits.
  void integer(std::int32_t& value) const;
  void boolean(bool& value) const;
  void bytes(std::string& value) const;
  void text(std::string& value);
  /// None for the first instant of year 1; refuses what lies outside the years 1 to 9999.
  void timestamp(std::optional<TimePoint>& value);
  /// The message inside this field; none when the field is no message.
  std::optional<Reader> inside() const;
  /// The message inside this field was none.
  void fail() noexcept { ok_ = false; }

 private:
  enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  std::optional<std::uint64_t> take_varint();
  std::optional<std::string_view> take(std::uint64_t size);
  bool take_value(std::uint32_t wire_type);

  std::string_view rest_;
  std::string_view bytes_;
  std::uint64_t varint_ = 0;
  std::uint32_t field_ = 0;
  WireType type_ = WireType::varint;
  bool ok_ = true;
};

}  // namespace tidemill::redis_store::protobuf
