#include "deliver/signature.hpp"

#include <array>
#include <optional>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <tidemill/error.hpp>

namespace tidemill::deliver {

namespace {

constexpr std::string_view prefix = "whsec_";
constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t key_bytes_min = 24;
constexpr std::size_t key_bytes_max = 64;

std::string base64(const unsigned char* data, std::size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  const int written =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data, static_cast<int>(size));
  out.resize(static_cast<std::size_t>(written));
  return out;
}

/// With or without the padding at its end; none when it is no base64.
std::optional<std::string> from_base64(std::string text) {
  const std::size_t last = text.find_last_not_of('=') + 1;
  if (text.size() - last > 2 || text.size() > 4 * key_bytes_max || last % 4 == 1) return {};
  text.resize(last);
  if (text.find_first_not_of(digits) != std::string::npos) return {};
  const std::size_t size = last * 3 / 4;
  text.resize((last + 3) / 4 * 4, '=');
  std::string out(text.size() / 4 * 3, '\0');
  const int written =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (written < 0) return {};
  out.resize(size);
  return out;
}

}  // namespace

Signer::Signer(const std::vector<std::string>& secrets) {
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    std::optional<std::string> key;
    if (secrets[i].starts_with(prefix)) key = from_base64(secrets[i].substr(prefix.size()));
    if (!key || key->size() < key_bytes_min || key->size() > key_bytes_max) {
      throw Error{ErrorKind::invalid,
                  fmt::format("secret {} is none to sign with{}; make one by: echo whsec_$(openssl rand "
                              "-base64 32)",
                              i + 1,
                              key ? fmt::format(": it has {} bytes, not {} to {}", key->size(), key_bytes_min,
                                                key_bytes_max)
                                  : ": it must be \"whsec_\" and base64")};
    }
    keys_.push_back(std::move(*key));
  }
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
    out += "v1," + base64(digest.data(), size);
  }
  return out;
}

}  // namespace tidemill::deliver
