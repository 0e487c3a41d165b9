#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <tidemill/clock.hpp>

/// What Asynq keeps in Redis as text has the forms that Go's standard library gives it. Each `parse_…` is
/// none for what Go refuses too.
namespace tidemill::redis_store {

/// `1h0m0s`, `1.5ms`, `0s`.
std::string format_go_duration(std::chrono::nanoseconds length);
/// Also sums and fractions in any units: `1h30m`, `1.5h`, `-90s`.
std::optional<std::chrono::nanoseconds> parse_go_duration(std::string_view text);

/// `Tue Nov 14 22:13:20 UTC 2023`; a fraction of a second is cut off.
std::string format_unix_date(TimePoint at);
/// Whatever zone it names, it is read as UTC: so does Go, unless the zone is that of its machine.
std::optional<TimePoint> parse_unix_date(std::string_view text);

/// As Go's `%q`, but characters that Unicode has not assigned stay as they are.
std::string quote_go(std::string_view text);
/// Of a text in double quotes.
std::optional<std::string> unquote_go(std::string_view quoted);

/// The day in UTC, `2023-11-14`.
std::string day_text(TimePoint at);

/// The key of the lock that a unique task holds. No payload and an empty one are two keys.
std::string unique_key(std::string_view queue, std::string_view type,
                       std::optional<std::string_view> payload);

}  // namespace tidemill::redis_store
