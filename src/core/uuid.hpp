#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidemill {

using Uuid = std::array<std::uint8_t, 16>;

/// A new UUID version 7 (RFC 9562, method 3): ordered by time to a quarter of a microsecond, and strictly
/// within a thread, so that keys made one after the other lie side by side in an index; 62 bits are random.
///
/// Thread safety: may be called from any thread, and after fork().
Uuid make_uuid();

/// 36 characters, lower case.
std::string to_string(const Uuid& uuid);
/// None unless `text` is exactly what `to_string` writes.
std::optional<Uuid> parse_uuid(std::string_view text) noexcept;

/// 64 random bits from the kernel, by way of a buffer a thread; safe after fork().
std::uint64_t random_bits();
/// From [0, 1).
double random_unit();

}  // namespace tidemill
