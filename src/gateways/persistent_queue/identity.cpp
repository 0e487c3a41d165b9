#include "gateways/persistent_queue/identity.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include <fmt/format.h>

#include "core/digest.hpp"

namespace tidemill::persistent_queue {

namespace {

constexpr std::size_t pod_name_max = 64;

std::string first_address() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "0.0.0.0";
  std::string found = "0.0.0.0";
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    const bool usable = each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET &&
                        (each->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) == nullptr) continue;
    found = text;
    break;
  }
  freeifaddrs(all);
  return found;
}

/// Two in one nanosecond would be one owner.
std::int64_t next_nanosecond() {
  static std::atomic<std::int64_t> last{0};
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  std::int64_t before = last.load();
  while (!last.compare_exchange_weak(before, std::max(before + 1, now))) {
  }
  return std::max(before + 1, now);
}

}  // namespace

std::string lock_name(std::string_view service_name) { return md5_hex(service_name); }

std::string make_owner(std::string_view service_name) {
  const char* const pod = std::getenv("POD_NAME");
  const std::string_view pod_name = pod != nullptr ? std::string_view{pod} : std::string_view{};
  return fmt::format("{}-{}-{}-{}", service_name, first_address(), pod_name.substr(0, pod_name_max),
                     next_nanosecond());
}

}  // namespace tidemill::persistent_queue
