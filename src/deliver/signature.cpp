#include "deliver/signature.hpp"

#include <array>
#include <optional>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <tidemill/error.hpp>

#include "wire/base64.hpp"

namespace tidemill::deliver {

namespace {

constexpr std::string_view prefix = "whsec_";
constexpr std::size_t key_bytes_min = 24;
constexpr std::size_t key_bytes_max = 64;

/// With or without the padding at its end; empty when it is no secret.
std::string key_of(std::string_view secret) {
  if (!secret.starts_with(prefix) || secret.size() > 4 * key_bytes_max) return {};
  std::string text{secret.substr(prefix.size())};
  text.append((4 - text.size() % 4) % 4, '=');
  std::optional<std::string> key = wire::decode_base64(text);
  if (!key) return {};
  return std::move(*key);
}

}  // namespace

Signer::Signer(const std::vector<std::string>& secrets) {
  std::vector<std::string> wrong;
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    std::string key = key_of(secrets[i]);
    if (key.size() < key_bytes_min || key.size() > key_bytes_max) {
      wrong.push_back(fmt::format("secret {} is none to sign with{}", i + 1,
                                  !key.empty() ? fmt::format(": it has {} bytes, not {} to {}", key.size(),
                                                             key_bytes_min, key_bytes_max)
                                               : ": it must be \"whsec_\" and base64"));
    }
    keys_.push_back(std::move(key));
  }
  if (wrong.empty()) return;
  throw Error{ErrorKind::invalid,
              fmt::format("{}; make one by: echo whsec_$(openssl rand -base64 32)", fmt::join(wrong, "; "))};
}

std::string Signer::sign(std::string_view id, std::int64_t timestamp, std::string_view body) const {
  const std::string content = fmt::format("{}.{}.{}", id, timestamp, body);
  std::string out;
  for (const std::string& key : keys_) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(content.data()), content.size(), digest.data(),
             &size) == nullptr)
      throw Error{ErrorKind::unsupported, "OpenSSL has no HMAC-SHA256 here"};
    if (!out.empty()) out += ' ';
    out += "v1," + wire::encode_base64({reinterpret_cast<const char*>(digest.data()), size});
  }
  return out;
}

}  // namespace tidemill::deliver
