#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidemill {

/// SHA-256 in hexadecimal, lower case.
std::string sha256_hex(std::string_view bytes);

/// MD5 in hexadecimal, lower case: for formats that ask for it, not for secrets.
std::string md5_hex(std::string_view bytes);

/// FNV-1a: quick, the same on every platform, and easy to collide with on purpose.
constexpr std::uint64_t fnv1a(std::string_view bytes) noexcept {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

}  // namespace tidemill
