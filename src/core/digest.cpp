#include "core/digest.hpp"

#include <array>
#include <iterator>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace tidemill {

namespace {

std::string digest_hex(std::string_view bytes, const EVP_MD* kind) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, kind, nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(hex), "{:02x}", digest[i]);
  return hex;
}

}  // namespace

std::string sha256_hex(std::string_view bytes) { return digest_hex(bytes, EVP_sha256()); }
std::string md5_hex(std::string_view bytes) { return digest_hex(bytes, EVP_md5()); }

}  // namespace tidemill
