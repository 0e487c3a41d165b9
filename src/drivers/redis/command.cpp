#include "drivers/redis/command.hpp"

#include <openssl/evp.h>

#include <charconv>
#include <cstring>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis {

namespace {

constexpr std::uint16_t slots = 16384;

/// CRC-16 with the polynomial x^16 + x^12 + x^5 + 1, from the highest bit, starting with zero.
constexpr std::array<std::uint16_t, 256> make_crc_table() {
  std::array<std::uint16_t, 256> table{};
  for (unsigned byte = 0; byte < table.size(); ++byte) {
    unsigned value = byte << 8U;
    for (int bit = 0; bit < 8; ++bit) value = (value & 0x8000U) != 0 ? (value << 1U) ^ 0x1021U : value << 1U;
    table[byte] = static_cast<std::uint16_t>(value);
  }
  return table;
}

constexpr auto crc_table = make_crc_table();

std::uint16_t crc(std::string_view bytes) noexcept {
  unsigned value = 0;
  for (const char byte : bytes) {
    const unsigned at = ((value >> 8U) ^ static_cast<unsigned char>(byte)) & 0xffU;
    value = ((value << 8U) ^ crc_table[at]) & 0xffffU;
  }
  return static_cast<std::uint16_t>(value);
}

}  // namespace

Script::Script(std::initializer_list<std::string_view> parts) : digest_{} {
  for (const std::string_view part : parts) text_.append(part);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  if (EVP_Digest(text_.data(), text_.size(), hash.data(), &size, EVP_sha1(), nullptr) != 1)
    throw Failure{"OpenSSL has no SHA-1"};
  static constexpr char digits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < digest_.size(); ++i)
    digest_[i] = digits[(hash[i / 2] >> (i % 2 == 0 ? 4U : 0U)) & 0xfU];
}

std::uint16_t slot_of(std::string_view key) noexcept {
  const std::size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const std::size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return crc(key) % slots;
}

Command::Command(std::string_view name) { add(name); }

Command::Command(std::string_view name, std::string_view key) : slot_(slot_of(key)) { add(name).add(key); }

Command::Command(const Script& script, std::string_view key) : script_(&script), slot_(slot_of(key)) {
  add(std::string_view{"1"}).add(key);
}

Command& Command::add(std::string_view argument) {
  char head[24];
  head[0] = '$';
  char* end = std::to_chars(head + 1, head + sizeof head, argument.size()).ptr;
  *end++ = '\r';
  *end++ = '\n';
  arguments_.append(head, end).append(argument).append("\r\n", 2);
  ++count_;
  return *this;
}

Command& Command::add_number(std::int64_t number) {
  char digits[24];
  const char* const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  return add(std::string_view{digits, end});
}

}  // namespace tidemill::redis
