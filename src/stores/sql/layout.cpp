#include "stores/sql/layout.hpp"

#include <charconv>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"

namespace tidemill::sql_store {

namespace {

constexpr char hex[] = "0123456789abcdef";

void append_hex(std::string& text, std::uint64_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    text += hex[value >> static_cast<unsigned>(shift) & 15U];
  }
}

int hex_digits(std::uint64_t value) {
  int digits = 1;
  while (value >>= 4U) ++digits;
  return digits;
}

/// All of `text` as a hexadecimal number.
std::optional<std::uint64_t> parse_hex(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

template <class T>
void append_number(std::string& bytes, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
  }
}

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace

std::int64_t make_claim() { return no_claim | static_cast<std::int64_t>((random_bits() >> 2U) | 1U); }

std::string token_text(const Token& token) {
  const auto seq = static_cast<std::uint64_t>(token.seq);
  std::string text;
  text.reserve(32);
  append_hex(text, static_cast<std::uint64_t>(token.claim), 16);
  append_hex(text, seq, hex_digits(seq));
  return text;
}

std::optional<Token> parse_token(std::string_view text) noexcept {
  if (text.size() < 17) return {};
  const auto claim = parse_hex(text.substr(0, 16));
  const auto seq = parse_hex(text.substr(16));
  if (!claim || !seq) return {};
  const Token token{static_cast<std::int64_t>(*seq), static_cast<std::int64_t>(*claim)};
  return token.claim > no_claim ? std::optional{token} : std::nullopt;
}

std::string write_lines(const std::vector<LogLine>& lines) {
  std::string bytes;
  for (const LogLine& line : lines) {
    append_number(bytes, stored(line.at));
    append_number(bytes, static_cast<std::uint8_t>(line.level));
    append_number(bytes, static_cast<std::uint32_t>(line.text.size()));
    bytes += line.text;
  }
  return bytes;
}

void read_lines(std::string_view bytes, std::vector<LogLine>& lines) {
  constexpr std::size_t head = 8 + 1 + 4;
  while (!bytes.empty()) {
    const std::size_t size = bytes.size() < head ? 0 : number_at<std::uint32_t>(bytes, 9);
    if (bytes.size() < head + size) throw Error{ErrorKind::corrupt, "the log of an attempt is cut off"};
    LogLine line;
    line.at = time_of(number_at<std::int64_t>(bytes, 0));
    line.level = static_cast<Level>(number_at<std::uint8_t>(bytes, 8));
    line.text = bytes.substr(head, size);
    lines.push_back(std::move(line));
    bytes.remove_prefix(head + size);
  }
}

}  // namespace tidemill::sql_store
