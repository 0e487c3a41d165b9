#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

/// A task as the fields of its hash.
///
/// `msg` is Asynq's message, which Go reads and writes. `x` has what a producer may say and the message has
/// no place for, `c` since when it is there, `y` what has happened so far, and `v` where it moves to; each is
/// only there when there is something to say, so that a plain task has Asynq's three fields and no more. `w`
/// belongs to a lease of ours, `a:N` and `al:N` to a kept attempt.
namespace tidemill::redis_store {

/// A task's hash as it was read.
struct Fields {
  std::string msg = {}, x = {}, y = {}, c = {}, w = {};
  std::string state = {};  ///< Asynq's word.
  std::string result = {}, progress = {};
  std::string since = {};   ///< `pending_since`.
  std::string v = {};       ///< On its way to another queue.
  double score = 0;         ///< In the sorted set of its state, if that is one.
  bool holds_lock = false;  ///< The unique key's lock has this task's id.
};

/// Whole seconds up: what Go must not do before `at`. And down: what it may show.
std::int64_t seconds_up(TimePoint at) noexcept;
std::int64_t seconds_down(TimePoint at) noexcept;
std::int64_t micros(TimePoint at) noexcept;
TimePoint from_micros(std::int64_t micros) noexcept;
/// As `pending_since` has it: nanoseconds.
std::string since_of(TimePoint at);
/// Zero for what is no number.
std::int64_t to_number(std::string_view text) noexcept;
/// The score of an exact time, in microseconds; empty for none, and where whole seconds say it.
std::string exact_of(std::optional<TimePoint> at);

/// The unique key's lock: in Asynq's own form, KIND:MD5, where the key was made from kind and payload.
std::string lock_of(const Task& task);

/// Asynq's message. `unique_key` is named only if it goes with the task: Go's workers release what is named.
std::string write_message(const Task& task);
/// With the end of an attempt in it.
std::string write_message(const Task& task, const Report& report, TimePoint now);
/// The message of a task that was edited, with Go's own words as they were.
std::string write_message(const Task& task, std::string_view before);
std::string write_extras(const Task& task);
/// Empty when the id says it, as a UUIDv7 does to about a second.
std::string write_created(const std::string& id, TimePoint created_at);
/// Empty when there is nothing to say.
std::string write_history(const Task& task);

/// None when the message doesn't decode.
std::optional<Task> read_task(const Fields& fields);
State state_of(const Fields& fields) noexcept;

/// A lease's holder, in `w`: a number that is random with every claim, since when, and who.
struct Holder {
  std::string nonce = {};
  std::optional<TimePoint> started_at = {};
  std::string worker = {};
};
std::string write_holder(const Holder& holder);
Holder read_holder(std::string_view text);

/// What `v` says of a task that is held while it moves to another queue.
struct Passage {
  bool arriving = false;      ///< It is in the queue that it moves to.
  State state = State::gone;  ///< That it comes from, and goes to.
  std::optional<TimePoint> run_at = {};
  std::int64_t turn = 0;   ///< Of those who have tried to move it, which one: the last alone may go on.
  std::string mover = {};  ///< And who, in digits and dashes.
  std::string queue = {};  ///< The other one.
};
std::string write_passage(const Passage& passage);
/// None when the task isn't held, or not for that.
std::optional<Passage> read_passage(const Fields& fields);

std::string write_attempt(const Attempt& attempt);
std::string write_lines(const std::vector<LogLine>& lines);
/// `lines` are those that came by beats, before the attempt's own.
Attempt read_attempt(std::string_view bytes, std::string_view lines);

}  // namespace tidemill::redis_store
