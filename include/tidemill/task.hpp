#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>

namespace tidemill {

/// The life of a task; docs/states.md draws every move.
///
/// The numbers are stored: never renumber, only append.
enum class State : std::uint8_t {
  gone = 0,         ///< Not in the store: never was, or has been deleted.
  scheduled = 1,    ///< Not due yet.
  pending = 2,      ///< Ready to be claimed.
  active = 3,       ///< Leased to a worker.
  retry = 4,        ///< Failed, and waits for its next attempt.
  completed = 5,    ///< Succeeded, and kept for its retention.
  archived = 6,     ///< Given up or told to stop: the dead letters.
  aggregating = 7,  ///< Waits in a group, to become one task with the others.
  held = 8,         ///< Stopped by an operator; can be resumed.
  blocked = 9,      ///< Waits for other tasks.
};
inline constexpr std::size_t state_count = 10;

/// The state's name, as written above. Never empty.
std::string_view to_string(State state) noexcept;
/// None when `name` is no state's name.
std::optional<State> parse_state(std::string_view name) noexcept;

/// A set of states, as `Catalog` and `Inspector` take it: `States{} + State::pending + State::retry`.
struct States {
  unsigned bits = 0;

  constexpr States() = default;
  constexpr States(State state) : bits(1U << static_cast<unsigned>(state)) {}  // NOLINT: meant to be implicit
  constexpr bool has(State state) const { return (bits & States{state}.bits) != 0; }
  constexpr bool empty() const { return bits == 0; }
  friend constexpr States operator+(States a, States b) {
    a.bits |= b.bits;
    return a;
  }
  friend constexpr bool operator==(States, States) = default;
  static constexpr States all() {
    States states;
    states.bits = (1U << state_count) - 2;  // All but `gone`.
    return states;
  }
};

/// Names a task. In some formats an id is unique within its queue only, so both go everywhere together.
struct Ref {
  std::string queue = {};
  std::string id = {};
  auto operator<=>(const Ref&) const = default;
};

/// What becomes of a second task with the key of a task that still holds it.
enum class OnConflict : std::uint8_t {
  keep,     ///< The first stays, and its id is returned.
  reject,   ///< The first stays, and the call is an error.
  replace,  ///< Kind, payload, options and time of a first that has not started are overwritten; its id
            ///< stays.
};

std::string_view to_string(OnConflict on_conflict) noexcept;

/// A key that one task of its queue holds: until the task ends (completed, archived or deleted) or the window
/// does, whichever is first; if it outlives the task, until the window does.
struct Unique {
  std::string key = {};  ///< Empty: made from kind and payload.
  Duration window{};     ///< Zero: as long as the task lives. Needed when it outlives the task.
  bool outlives_task = false;
  OnConflict on_conflict = OnConflict::keep;
};

/// Ties an enqueue to a schedule: it happens only if the schedule's next instant is still `instant`, and
/// moves that on to `next` in the same write.
struct Firing {
  std::string schedule = {};
  TimePoint instant{};
  TimePoint next{};
  /// When the task's unique key is taken, leave the instant due instead of moving it on.
  bool only_if_created = false;
};

/// A task as stored and delivered. The payload is opaque to the system.
struct Task {
  Ref ref = {};
  State state = State::pending;
  std::string kind = {};
  std::string payload = {};
  std::string group = {};
  std::map<std::string, std::string> headers = {};

  std::int32_t priority = 0;  ///< Higher runs first within its queue.
  std::int32_t attempt = 0;   ///< Attempts that have ended and count; a running one is not counted yet.
  std::int32_t retries = 0;   ///< Failures so far that used up a retry.
  std::int32_t retries_max = 25;
  std::int32_t crashes = 0;  ///< Deaths of workers charged to this task.
  std::int32_t crashes_max = 3;
  std::int32_t deferrals = 0;  ///< Snoozes and agains in a row.

  Duration delay{};      ///< Until due, counted from `Call::now`; `run_at` wins.
  Duration timeout{};    ///< Longest run of an attempt; zero: no limit.
  Duration retention{};  ///< How long a success is kept; zero: deleted in the write that ends it.
  std::optional<TimePoint> run_at = {};      ///< Not before. In answers: when it is or was due.
  std::optional<TimePoint> deadline = {};    ///< Must have ended by then.
  std::optional<TimePoint> expires_at = {};  ///< Archived if no attempt has started by then.
  std::optional<TimePoint> created_at = {};
  std::optional<Unique> unique = {};
  std::optional<Firing> firing = {};

  // Only in answers of `Catalog`:
  std::string result = {};    ///< Of a success that is kept.
  std::string error = {};     ///< Of the last attempt that failed.
  std::string reason = {};    ///< Why it is archived or held, in a word: "retries", "expired", "cancelled" …
  std::string progress = {};  ///< As the handler last reported it.
  std::string worker = {};    ///< Who holds, or last held, its lease.
  std::optional<TimePoint> started_at = {};  ///< Of the last attempt.
  std::optional<TimePoint> ended_at = {};    ///< When it was completed or archived.
};

/// How much a line of log matters.
enum class Level : std::uint8_t { debug, info, warning, error, silent };

/// A line that a handler logged through its `Context`.
struct LogLine {
  TimePoint at{};
  Level level = Level::info;
  std::string text = {};
};

/// What is kept of one attempt: of every one that failed, and of the successes of tasks with a retention.
struct Attempt {
  std::int32_t number = 0;  ///< Counts from 1.
  TimePoint started_at{};
  TimePoint ended_at{};
  std::string worker = {};
  std::string error = {};  ///< Empty: it succeeded.
  std::vector<LogLine> logs = {};
};

/// How a payload becomes bytes and back. json.hpp has it for structs with TIDEMILL_FIELDS; specialise it for
/// a format of your own:
///
///   template <> struct tidemill::Codec<Mail> {
///     static std::string encode(const Mail&);
///     static Mail decode(std::string_view bytes);  // throws Error{ErrorKind::corrupt, why}
///   };
template <class T>
struct Codec;

template <class T>
concept Encodable = requires(const T& value, std::string_view bytes) {
  { Codec<T>::encode(value) } -> std::convertible_to<std::string>;
  { Codec<T>::decode(bytes) } -> std::convertible_to<T>;
};

/// A typed task is a struct that names its kind:
///
///   struct SendMail {
///     static constexpr std::string_view kind = "mail:send";
///     std::string to = {};
///   };
///   TIDEMILL_FIELDS(SendMail, to)
template <class T>
concept Payload = Encodable<T> && requires {
  { T::kind } -> std::convertible_to<std::string_view>;
};

/// All that a producer may say about a task; call sites name only what they mean: `{.queue = "mail",
/// .delay = 5min}`.
struct EnqueueOptions {
  std::string queue = "default";
  std::string id = {};  ///< Empty: a new UUIDv7.
  Duration delay{};     ///< Until it is due; not together with `run_at`.
  std::optional<TimePoint> run_at = {};
  std::int32_t priority = 0;  ///< -100 to 100; higher runs first within its queue.
  std::int32_t retries_max = 25;
  std::int32_t crashes_max = 3;  ///< At 0 a crash of its worker ends it, and nothing runs twice.
  Duration timeout = std::chrono::minutes{30};  ///< Of an attempt; zero: no limit.
  std::optional<TimePoint> deadline = {};    ///< By then it must have ended: else it is stopped and archived.
  std::optional<TimePoint> expires_at = {};  ///< Archived if no attempt has started by then.
  std::optional<Unique> unique = {};
  /// Non-empty: it waits in this group of its queue until a worker makes one task of all (worker.hpp). Only
  /// its unique key still counts then; its other options are the aggregator's to look at.
  std::string group = {};
  Duration retention{};  ///< How long a success and its result are kept; zero: not at all. Failures stay.
  bool held = false;     ///< Starts as held: runs when an operator resumes it.
  std::map<std::string, std::string> headers = {};  ///< Trace context and the like.
};

}  // namespace tidemill
