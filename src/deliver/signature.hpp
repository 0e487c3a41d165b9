#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::deliver {

/// Signs as Standard Webhooks has it (standardwebhooks.com), with each of its secrets.
///
/// Thread safety: all members may be called from any thread.
class Signer {
 public:
  /// Each "whsec_" and the base64 of 24 to 64 bytes. Throws Error{invalid} that says which one is wrong, and
  /// quotes none.
  explicit Signer(const std::vector<std::string>& secrets);

  bool empty() const noexcept { return keys_.empty(); }
  /// The value of the header webhook-signature: "v1,BASE64", one for each secret, with blanks between.
  /// `timestamp` is in seconds since 1970.
  std::string sign(std::string_view id, std::int64_t timestamp, std::string_view body) const;

 private:
  std::vector<std::string> keys_ = {};
};

}  // namespace tidemill::deliver
