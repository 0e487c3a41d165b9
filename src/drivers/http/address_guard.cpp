#include "drivers/http/address_guard.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tidemill::http {

namespace {

// IANA's registries of special-purpose addresses, but for those that are reachable from everywhere.
constexpr auto special = {
    "0.0.0.0/8",       // this host
    "10.0.0.0/8",      // private
    "100.64.0.0/10",   // shared by a provider's customers
    "127.0.0.0/8",     // loopback
    "169.254.0.0/16",  // link-local; cloud metadata
    "172.16.0.0/12",   // private
    "192.0.0.0/24",    // protocol assignments
    "192.168.0.0/16",  // private
    "198.18.0.0/15",   // benchmarks
    "224.0.0.0/4",     // multicast
    "240.0.0.0/4",     // reserved; broadcast
    "::/96",           // unspecified, loopback; once IPv4-compatible
    "64:ff9b:1::/48",  // a site's own translation to IPv4
    "fc00::/7",        // private
    "fe80::/10",       // link-local
    "fec0::/10",       // once site-local
    "ff00::/8",        // multicast
};

bool starts_with(const Network& address, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
}

Network v4_within(const Network& address, std::size_t at, int bits) {
  Network inner{.v4 = true, .bits = bits};
  std::copy_n(address.bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, inner.bytes.begin());
  return inner;
}

bool is_mapped(const Network& address) {
  return !address.v4 && address.bits >= 96 &&
         starts_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff});
}

/// The IPv4 address that a gateway would make of it.
std::optional<Network> translated(const Network& address) {
  if (address.v4) return {};
  if (starts_with(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return v4_within(address, 12, 32);
  if (starts_with(address, {0x20, 0x02})) return v4_within(address, 2, 32);
  return {};
}

Network address_of(const sockaddr_in& from) {
  Network address{.v4 = true, .bits = 32};
  std::memcpy(address.bytes.data(), &from.sin_addr, 4);
  return address;
}
Network address_of(const sockaddr_in6& from) {
  Network address{.v4 = false, .bits = 128};
  std::memcpy(address.bytes.data(), &from.sin6_addr, 16);
  return is_mapped(address) ? v4_within(address, 12, 32) : address;
}

bool any_contains(const std::vector<Network>& networks, const Network& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const Network& network) { return network.contains(address); });
}

}  // namespace

Network Network::parse(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  Network network{.v4 = address.find(':') == std::string::npos};
  const int most = network.v4 ? 32 : 128;
  network.bits = most;
  bool right = inet_pton(network.v4 ? AF_INET : AF_INET6, address.c_str(), network.bytes.data()) == 1;
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data() + slash + 1, end, network.bits);
    right = right && error == std::errc{} && at == end && network.bits >= 0 && network.bits <= most;
  }
  if (!right) {
    throw std::invalid_argument{
        fmt::format("\"{}\" is no network; write an address and how many of its first bits count, as in "
                    "10.0.0.0/8, 192.168.7.20/32 or fd00::/8",
                    text)};
  }
  return is_mapped(network) ? v4_within(network, 12, network.bits - 96) : network;
}

bool Network::contains(const Network& address) const noexcept {
  if (v4 != address.v4) return false;
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(whole), address.bytes.begin()))
    return false;
  const int rest = bits % 8;
  return rest == 0 || (bytes.at(whole) ^ address.bytes.at(whole)) >> (8 - rest) == 0;
}

AddressGuard::AddressGuard(const std::vector<std::string>& allow) {
  for (const std::string& text : allow) allowed_.push_back(Network::parse(text));
  for (const char* text : special) refused_.push_back(Network::parse(text));
}

bool AddressGuard::allows(const sockaddr* address) const noexcept {
  std::optional<Network> found;
  if (address->sa_family == AF_INET) found = address_of(*reinterpret_cast<const sockaddr_in*>(address));
  if (address->sa_family == AF_INET6) found = address_of(*reinterpret_cast<const sockaddr_in6*>(address));
  if (!found) return false;
  const std::optional<Network> inner = translated(*found);
  if (any_contains(allowed_, *found) || (inner && any_contains(allowed_, *inner))) return true;
  return !any_contains(refused_, *found) && !(inner && any_contains(refused_, *inner));
}

std::string address_text(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* from = nullptr;
  if (address->sa_family == AF_INET) from = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  if (address->sa_family == AF_INET6) from = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  if (from == nullptr || inet_ntop(address->sa_family, from, text.data(), text.size()) == nullptr) return "?";
  return text.data();
}

}  // namespace tidemill::http
