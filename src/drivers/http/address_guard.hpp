#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;

namespace tidemill::http {

/// An IP network: 10.0.0.0/8, fd00::/8; an address alone is a network of one.
struct Network {
  bool v4 = false;
  std::array<std::uint8_t, 16> bytes = {};  ///< Of IPv4 the first four.
  int bits = 0;

  /// Throws std::invalid_argument that quotes it and says what would be right.
  static Network parse(const std::string& text);
  bool contains(const Network& address) const noexcept;
};

/// Says which addresses may be connected to: public ones, and those of the networks that are allowed. So a
/// URL that somebody else wrote reaches nothing that only we can reach.
///
/// IPv6 addresses that carry an IPv4 one (mapped, NAT64, 6to4) count as both.
/// Thread safety: all members may be called from any thread.
class AddressGuard {
 public:
  /// Throws std::invalid_argument when one is no network.
  explicit AddressGuard(const std::vector<std::string>& allow);

  /// False, too, for what is no IP address.
  bool allows(const sockaddr* address) const noexcept;

 private:
  std::vector<Network> allowed_;
  std::vector<Network> refused_;
};

/// "10.0.0.1"; "?" for what is no IP address.
std::string address_text(const sockaddr* address);

}  // namespace tidemill::http
