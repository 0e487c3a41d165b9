#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/task.hpp>

#include "core/uuid.hpp"

/// How values lie in the tables of SQL stores, each of which has its own schema.cpp.
namespace tidemill::sql_store {

// ---- Lines: where a task stands, as one number
//
//   line := queue << 16 | state << 8 | lane        lane := 128 - priority of a pending task,
//                                                          129 in a set of a group, else 128
//
// Within its line a task is ordered by `at` and `seq`. So one index on (line, at) serves every state: a claim
// reads the pending lines of a queue from the front, and promoting, sweeping and listing read theirs. One
// number instead of three columns keeps the index small and its comparisons cheap, and as it has the same
// width in every state, a claim rewrites a task's row in place and splits no page.

inline constexpr std::int32_t priority_most = 127;

constexpr std::int64_t first_line(std::int64_t queue, State state) {
  return queue << 16 | static_cast<std::int64_t>(state) << 8;
}
constexpr std::int64_t last_line(std::int64_t queue, State state) { return first_line(queue, state) | 255; }
constexpr std::int64_t line_of(std::int64_t queue, State state, std::int32_t priority = 0) {
  return first_line(queue, state) | (128 - (state == State::pending ? priority : 0));
}
/// Where tasks stand that a worker has gathered from their groups.
constexpr std::int64_t set_line(std::int64_t queue) { return line_of(queue, State::aggregating) + 1; }
constexpr State state_of(std::int64_t line) { return static_cast<State>(line >> 8 & 255); }
constexpr std::int64_t queue_of(std::int64_t line) { return line >> 16; }

// ---- Times and usual values

/// Times and durations are microseconds, times since 1970.
inline std::int64_t stored(TimePoint time) { return time.time_since_epoch().count(); }
inline std::int64_t stored(Duration duration) { return duration.count(); }
inline std::optional<std::int64_t> stored(const std::optional<TimePoint>& time) {
  return time ? std::optional{stored(*time)} : std::nullopt;
}
inline TimePoint time_of(std::int64_t value) { return TimePoint{Duration{value}}; }
inline std::optional<TimePoint> time_of(std::optional<std::int64_t> value) {
  return value ? std::optional{time_of(*value)} : std::nullopt;
}

/// What most tasks have is stored as NULL, which takes next to no room and no time.
inline constexpr std::int64_t usual_retries_max = 25;
inline constexpr std::int64_t usual_crashes_max = 3;
inline constexpr std::int64_t usual_timeout = 30LL * 60 * 1'000'000;

inline std::optional<std::int64_t> unless(std::int64_t usual, std::int64_t value) {
  return value == usual ? std::nullopt : std::optional{value};
}
inline std::optional<std::string_view> unless_empty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional{text};
}

// ---- Claims and tokens

/// The number of a claim, or of a set of a group, that is none.
inline constexpr std::int64_t no_claim = std::int64_t{1} << 62;

/// A new claim's number: random, so that it is never met again, and greater than `no_claim`, so that all
/// take eight bytes in SQLite too.
std::int64_t make_claim();

/// What a lease's token says: the row, so that a report needs no search, and the claim.
struct Token {
  std::int64_t seq = 0;
  std::int64_t claim = 0;
};

std::string token_text(const Token& token);
/// None when it is no token of this store.
std::optional<Token> parse_token(std::string_view text) noexcept;

// ---- Maps and lines of log

/// A JSON object of strings, as headers are stored. Bytes that are not UTF-8 go through unharmed.
std::string write_map(const std::map<std::string, std::string>& map);
/// Throws Error{corrupt} when `json` is no object. Of members that are no strings the JSON text is taken.
std::map<std::string, std::string> read_map(std::string_view json);

/// line := at (8 bytes) level (1) length (4) text, little-endian; one after the other.
std::string write_lines(const std::vector<LogLine>& lines);
/// Appends. Throws Error{corrupt}.
void read_lines(std::string_view bytes, std::vector<LogLine>& lines);

}  // namespace tidemill::sql_store
