#include "stores/redis/protobuf.hpp"

#include <algorithm>

#include "core/utf8.hpp"

namespace tidemill::redis_store::protobuf {

namespace {

constexpr std::uint32_t varint_type = 0;
constexpr std::uint32_t bytes_type = 2;
constexpr std::uint64_t field_max = (std::uint64_t{1} << 29U) - 1;
constexpr std::size_t varint_bytes_max = 10;

/// Year 1, which stands for "never", and the last second of year 9999.
constexpr std::int64_t seconds_min = -62'135'596'800;
constexpr std::int64_t seconds_max = 253'402'300'799;
constexpr std::int32_t nanos_below = 1'000'000'000;

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7U) ++size;
  return size;
}

/// The text, or in `repaired` what can be sent of it.
std::string_view sendable(std::string_view text, std::string& repaired) {
  if (is_utf8(text)) return text;
  return repaired = replace_bad_utf8(text);
}

}  // namespace

void Writer::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out_ += static_cast<char>(value | 0x80U);
  out_ += static_cast<char>(value);
}

void Writer::head(std::uint32_t field, std::uint32_t wire_type) {
  varint(std::uint64_t{field} << 3U | wire_type);
}

void Writer::prefixed(std::string_view value) {
  varint(value.size());
  out_ += value;
}

void Writer::integer(std::uint32_t field, std::int64_t value) {
  if (value == 0) return;
  head(field, varint_type);
  varint(static_cast<std::uint64_t>(value));
}

void Writer::bytes(std::uint32_t field, std::string_view value) {
  if (value.empty()) return;
  head(field, bytes_type);
  prefixed(value);
}

void Writer::text(std::uint32_t field, std::string_view value) {
  if (!value.empty()) element(field, value);
}

void Writer::element(std::uint32_t field, std::string_view value) {
  std::string repaired;
  head(field, bytes_type);
  prefixed(sendable(value, repaired));
}

void Writer::timestamp(std::uint32_t field, std::optional<TimePoint> value) {
  using std::chrono::sys_seconds;
  std::int64_t seconds = seconds_min;
  std::int64_t nanos = 0;
  if (value) {
    const TimePoint least{sys_seconds{std::chrono::seconds{seconds_min}}};
    const TimePoint most{sys_seconds{std::chrono::seconds{seconds_max}}};
    const TimePoint at = std::clamp(*value, least, most);
    const auto whole = std::chrono::floor<std::chrono::seconds>(at);
    seconds = whole.time_since_epoch().count();
    nanos = std::chrono::nanoseconds{at - whole}.count();
  }
  head(field, bytes_type);
  const std::size_t length_at = out_.size();
  out_ += '\0';  // Less than 128 bytes follow.
  integer(1, seconds);
  integer(2, nanos);
  out_[length_at] = static_cast<char>(out_.size() - length_at - 1);
}

void Writer::entry(std::uint32_t field, std::string_view key, std::string_view value) {
  std::string repaired_key;
  std::string repaired_value;
  key = sendable(key, repaired_key);
  value = sendable(value, repaired_value);
  head(field, bytes_type);
  varint(2 + varint_size(key.size()) + key.size() + varint_size(value.size()) + value.size());
  head(1, bytes_type);
  prefixed(key);
  head(2, bytes_type);
  prefixed(value);
}

void Writer::entry(std::uint32_t field, std::string_view key, std::int32_t value) {
  std::string repaired;
  key = sendable(key, repaired);
  const auto number = static_cast<std::uint64_t>(std::int64_t{value});
  head(field, bytes_type);
  varint(2 + varint_size(key.size()) + key.size() + varint_size(number));
  head(1, bytes_type);
  prefixed(key);
  head(2, varint_type);
  varint(number);
}

std::optional<std::uint64_t> Reader::take_varint() {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < std::min(rest_.size(), varint_bytes_max); ++i) {
    const auto byte = static_cast<unsigned char>(rest_[i]);
    if (i == varint_bytes_max - 1 && byte > 1) return {};  // Beyond 64 bits.
    value |= std::uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return value;
    }
  }
  return {};
}

std::optional<std::string_view> Reader::take(std::uint64_t size) {
  if (size > rest_.size()) return {};
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

bool Reader::take_value(std::uint32_t wire_type) {
  type_ = static_cast<WireType>(wire_type);
  std::optional<std::uint64_t> number;
  switch (type_) {
    case WireType::varint:
      number = take_varint();
      varint_ = number.value_or(0);
      return number.has_value();
    case WireType::bytes: {
      number = take_varint();
      const auto taken = number ? take(*number) : std::nullopt;
      bytes_ = taken.value_or(std::string_view{});
      return taken.has_value();
    }
    case WireType::fixed64:
      return take(8).has_value();
    case WireType::fixed32:
      return take(4).has_value();
  }
  return false;  // Groups are none of proto3, and nothing else is defined.
}

bool Reader::next() {
  if (!ok_ || rest_.empty()) return false;
  const auto head = take_varint();
  ok_ = head && *head >> 3U != 0 && *head >> 3U <= field_max;
  if (!ok_) return false;
  field_ = static_cast<std::uint32_t>(*head >> 3U);
  return ok_ = take_value(static_cast<std::uint32_t>(*head & 7U));
}

void Reader::integer(std::int64_t& value) const {
  if (type_ == WireType::varint) value = static_cast<std::int64_t>(varint_);
}

void Reader::integer(std::int32_t& value) const {
  if (type_ == WireType::varint) value = static_cast<std::int32_t>(static_cast<std::uint32_t>(varint_));
}

void Reader::boolean(bool& value) const {
  if (type_ == WireType::varint) value = varint_ != 0;
}

void Reader::bytes(std::string& value) const {
  if (type_ == WireType::bytes) value = bytes_;
}

void Reader::text(std::string& value) {
  if (type_ != WireType::bytes) return;
  ok_ = is_utf8(bytes_);
  if (ok_) value = bytes_;
}

void Reader::timestamp(std::optional<TimePoint>& value) {
  std::optional<Reader> in = inside();
  if (!in) return;
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
  while (in->next()) {
    if (in->field() == 1) in->integer(seconds);
    if (in->field() == 2) in->integer(nanos);
  }
  ok_ = in->ok() && seconds >= seconds_min && seconds <= seconds_max && nanos >= 0 && nanos < nanos_below;
  if (!ok_) return;
  value.reset();
  if (seconds == seconds_min && nanos == 0) return;
  value = std::chrono::sys_seconds{std::chrono::seconds{seconds}} +
          std::chrono::floor<Duration>(std::chrono::nanoseconds{nanos});
}

std::optional<Reader> Reader::inside() const {
  if (type_ != WireType::bytes) return {};
  return Reader{bytes_};
}

}  // namespace tidemill::redis_store::protobuf
