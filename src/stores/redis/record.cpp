#include "stores/redis/record.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "stores/redis/go_text.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/protobuf.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono;
using protobuf::Reader;
using protobuf::Writer;

constexpr std::int32_t crashes_max_usual = 3;
/// What Go gives a task that names neither timeout nor deadline; ours then have none, which Go knows as a
/// long one.
constexpr seconds timeout_none = hours{24 * 366 * 100};

/// The fields of `x`.
enum Extra : std::uint32_t {
  extra_priority = 1,
  extra_crashes_max,
  extra_timeout,
  extra_retention,
  extra_deadline,
  extra_expires,
  extra_key,
  extra_window,
  extra_outlives,
  extra_on_conflict
};
/// The fields of `y`.
enum Past : std::uint32_t {
  past_attempt = 1,
  past_crashes,
  past_deferrals,
  past_reason,
  past_run_at,
  past_started,
  past_ended,
  past_worker,
  past_retries
};

/// How far an id's own time may be off, by the clock of the machine that made it.
constexpr Duration known_within = 1s;

/// Of a log line, in an attempt and in lines alone.
constexpr std::uint32_t line_field = 6;

/// Zero is left out by the format, so numbers that may be zero and matter are stored one higher.
std::int64_t over(std::int64_t value) noexcept { return value + 1; }

bool whole(Duration value) noexcept { return value % 1s == 0s; }

/// The millisecond that a UUIDv7 begins with; none for another id.
std::optional<TimePoint> made_at(const std::string& id) {
  const auto uuid = parse_uuid(id);
  if (!uuid || (*uuid)[6] >> 4U != 7) return {};
  std::int64_t millis = 0;
  for (std::size_t i = 0; i < 6; ++i) millis = millis << 8U | (*uuid)[i];
  return TimePoint{milliseconds{millis}};
}

std::string derived_key(const Task& task) { return rules::key_of(task.kind, task.payload); }

seconds message_timeout(const Task& task) {
  if (task.timeout == Duration::zero()) return task.deadline ? 0s : timeout_none;
  return ceil<seconds>(task.timeout);
}

TaskMessage to_message(const Task& task) {
  TaskMessage message;
  message.type = task.kind;
  message.payload = task.payload;
  message.id = task.ref.id;
  message.queue = task.ref.queue;
  message.max_retry = task.retries_max;
  message.retried = task.retries;
  message.timeout = message_timeout(task);
  if (task.deadline) message.deadline = ceil<seconds>(*task.deadline);
  if (task.unique && !task.unique->outlives_task) message.unique_key = lock_of(task);
  message.retention = ceil<seconds>(task.retention);
  message.group = task.group;
  message.headers = task.headers;
  return message;
}

}  // namespace

std::int64_t seconds_up(TimePoint at) noexcept { return ceil<seconds>(at).time_since_epoch().count(); }
std::int64_t seconds_down(TimePoint at) noexcept { return floor<seconds>(at).time_since_epoch().count(); }
std::int64_t micros(TimePoint at) noexcept { return at.time_since_epoch().count(); }
TimePoint from_micros(std::int64_t micros) noexcept { return TimePoint{Duration{micros}}; }

std::string since_of(TimePoint at) { return std::to_string(micros(at)) + "000"; }

std::int64_t to_number(std::string_view text) noexcept {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string exact_of(std::optional<TimePoint> at) {
  return at && !whole(at->time_since_epoch()) ? std::to_string(micros(*at)) : std::string{};
}

std::string lock_of(const Task& task) {
  const std::string& key = task.unique->key;
  if (key != derived_key(task)) return lock_key(task.ref.queue, key);
  return unique_key(task.ref.queue, task.kind,
                    task.payload.empty() ? std::nullopt : std::optional<std::string_view>{task.payload});
}

std::string write_message(const Task& task) { return encode(to_message(task)); }

std::string write_message(const Task& task, const Report& report, TimePoint now) {
  TaskMessage message = to_message(task);
  message.retried = report.retries;
  message.error = report.error.empty() && !report.record ? task.error : report.error;
  if (!message.error.empty()) message.last_failed_at = now;
  if (report.to == State::completed) {
    message.completed_at = floor<seconds>(now);
    // Go shows and purges by completed_at + retention.
    if (report.keep) message.retention = ceil<seconds>(*report.keep);
  }
  return encode(message);
}

std::string write_message(const Task& task, std::string_view before) {
  TaskMessage message = to_message(task);
  auto old = decode_task(before).value_or(TaskMessage{});
  message.retried = old.retried;
  message.error = std::move(old.error);
  message.last_failed_at = old.last_failed_at;
  if (!task.unique) message.unique_key = std::move(old.unique_key);
  return encode(message);
}

std::string write_created(const std::string& id, TimePoint created_at) {
  const auto known = made_at(id);
  const Duration off = known ? created_at - *known : 24h;
  return abs(off) > known_within ? std::to_string(micros(created_at)) : std::string{};
}

std::string write_extras(const Task& task) {
  std::string bytes;
  Writer out{bytes};
  out.integer(extra_priority, task.priority);
  if (task.crashes_max != crashes_max_usual) out.integer(extra_crashes_max, over(task.crashes_max));
  if (message_timeout(task) != task.timeout) out.integer(extra_timeout, over(task.timeout.count()));
  if (!whole(task.retention)) out.integer(extra_retention, task.retention.count());
  if (task.deadline && !whole(task.deadline->time_since_epoch()))
    out.integer(extra_deadline, micros(*task.deadline));
  if (task.expires_at) out.integer(extra_expires, micros(*task.expires_at));
  if (task.unique) {
    const Unique& unique = *task.unique;
    if (unique.outlives_task || unique.key == derived_key(task)) out.bytes(extra_key, unique.key);
    out.integer(extra_window, unique.window.count());
    out.boolean(extra_outlives, unique.outlives_task);
    out.integer(extra_on_conflict, static_cast<std::int64_t>(unique.on_conflict));
  }
  return bytes;
}

std::string write_history(const Task& task) {
  std::string bytes;
  Writer out{bytes};
  if (task.attempt != task.retries) {
    out.integer(past_attempt, over(task.attempt));
    out.integer(past_retries, task.retries);
  }
  out.integer(past_crashes, task.crashes);
  out.integer(past_deferrals, task.deferrals);
  out.bytes(past_reason, task.reason);
  if (task.run_at) out.integer(past_run_at, micros(*task.run_at));
  if (task.started_at) out.integer(past_started, micros(*task.started_at));
  if (task.ended_at) out.integer(past_ended, micros(*task.ended_at));
  out.bytes(past_worker, task.worker);
  return bytes;
}

State state_of(const Fields& fields) noexcept {
  if (fields.state == "scheduled" && fields.score >= static_cast<double>(blocked_score))
    return State::blocked;
  if (fields.state == "scheduled" && fields.score >= static_cast<double>(held_score)) return State::held;
  return parse_state(fields.state).value_or(State::gone);
}

namespace {

void read_message(Task& task, TaskMessage message) {
  task.kind = std::move(message.type);
  task.payload = std::move(message.payload);
  task.ref = {std::move(message.queue), std::move(message.id)};
  task.retries_max = message.max_retry;
  task.retries = task.attempt = message.retried;
  task.error = std::move(message.error);
  task.timeout = message.timeout;
  task.deadline = message.deadline;
  task.retention = message.retention;
  task.group = std::move(message.group);
  task.headers = std::move(message.headers);
  task.ended_at = message.completed_at;
  const std::string prefix = lock_key(task.ref.queue, "");
  if (message.unique_key.starts_with(prefix)) {
    task.unique.emplace();
    task.unique->key = message.unique_key.substr(prefix.size());
  }
}

bool read_extras(Task& task, std::string_view bytes) {
  Reader in{bytes};
  Unique unique = task.unique.value_or(Unique{});
  std::int64_t number = 0;
  std::string text;
  while (in.next()) {
    switch (in.field()) {
      case extra_key:
        in.bytes(text);
        unique.key = text;
        break;
      default:
        in.integer(number);
    }
    switch (in.field()) {
      case extra_priority:
        task.priority = static_cast<std::int32_t>(number);
        break;
      case extra_crashes_max:
        task.crashes_max = static_cast<std::int32_t>(number - 1);
        break;
      case extra_timeout:
        task.timeout = Duration{number - 1};
        break;
      case extra_retention:
        task.retention = Duration{number};
        break;
      case extra_deadline:
        task.deadline = from_micros(number);
        break;
      case extra_expires:
        task.expires_at = from_micros(number);
        break;
      case extra_window:
        unique.window = Duration{number};
        break;
      case extra_outlives:
        unique.outlives_task = number != 0;
        break;
      case extra_on_conflict:
        unique.on_conflict = static_cast<OnConflict>(number);
        break;
      default:
        break;
    }
  }
  if (!unique.key.empty()) task.unique = std::move(unique);
  return in.ok();
}

bool read_history(Task& task, std::string_view bytes) {
  Reader in{bytes};
  std::optional<std::int32_t> attempt;
  std::int32_t retries = 0;
  std::int64_t number = 0;
  std::string text;
  while (in.next()) {
    const bool is_text = in.field() == past_reason || in.field() == past_worker;
    if (is_text) {
      in.bytes(text);
    } else {
      in.integer(number);
    }
    switch (in.field()) {
      case past_attempt:
        attempt = static_cast<std::int32_t>(number - 1);
        break;
      case past_retries:
        retries = static_cast<std::int32_t>(number);
        break;
      case past_crashes:
        task.crashes = static_cast<std::int32_t>(number);
        break;
      case past_deferrals:
        task.deferrals = static_cast<std::int32_t>(number);
        break;
      case past_reason:
        task.reason = text;
        break;
      case past_run_at:
        task.run_at = from_micros(number);
        break;
      case past_started:
        task.started_at = from_micros(number);
        break;
      case past_ended:
        task.ended_at = from_micros(number);
        break;
      case past_worker:
        task.worker = text;
        break;
      default:
        break;
    }
  }
  // Go counts its own attempts in `retried`, behind our back.
  if (attempt) task.attempt = *attempt + std::max(0, task.retries - retries);
  return in.ok();
}

}  // namespace

std::optional<Task> read_task(const Fields& fields) {
  auto message = decode_task(fields.msg);
  if (!message) return {};
  Task task;
  read_message(task, std::move(*message));
  task.created_at = made_at(task.ref.id);
  if (!fields.c.empty()) task.created_at = from_micros(to_number(fields.c));
  if (!read_extras(task, fields.x) || !read_history(task, fields.y)) return {};
  task.state = state_of(fields);
  task.result = fields.result;
  task.progress = fields.progress;
  if (!fields.holds_lock) task.unique.reset();
  if (!fields.w.empty()) {
    Holder holder = read_holder(fields.w);
    task.started_at = holder.started_at;
    task.worker = std::move(holder.worker);
  }
  if (const auto passage = read_passage(fields))
    task.reason = fmt::format("moving {} {}", passage->arriving ? "from" : "to", passage->queue);
  const bool waits = task.state == State::scheduled || task.state == State::retry;
  if (waits && !task.run_at) task.run_at = TimePoint{seconds{static_cast<std::int64_t>(fields.score)}};
  return task;
}

std::string write_holder(const Holder& holder) {
  return fmt::format("{}:{}:{}", holder.nonce, holder.started_at ? micros(*holder.started_at) : 0,
                     holder.worker);
}

Holder read_holder(std::string_view text) {
  const std::size_t nonce = text.find(':');
  const std::size_t started = nonce == text.npos ? text.npos : text.find(':', nonce + 1);
  if (started == text.npos) return {};
  Holder holder{std::string{text.substr(0, nonce)}, {}, std::string{text.substr(started + 1)}};
  const std::int64_t at = to_number(text.substr(nonce + 1, started - nonce - 1));
  if (at != 0) holder.started_at = from_micros(at);
  return holder;
}

std::string write_passage(const Passage& passage) {
  return fmt::format("{}{}:{}:{}:{}:{}", passage.arriving ? '<' : '>', to_string(passage.state),
                     passage.run_at ? micros(*passage.run_at) : 0, passage.turn, passage.mover,
                     passage.queue);
}

std::optional<Passage> read_passage(const Fields& fields) {
  if (fields.v.empty() || state_of(fields) != State::held) return {};
  std::string_view rest = fields.v;
  const auto next = [&] {
    const std::string_view part = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    return part;
  };
  Passage passage{.arriving = rest[0] == '<'};
  passage.state = parse_state(next().substr(1)).value_or(State::gone);
  const std::int64_t at = to_number(next());
  if (at != 0) passage.run_at = from_micros(at);
  passage.turn = to_number(next());
  passage.mover = next();
  passage.queue = rest;
  return passage;
}

std::string write_lines(const std::vector<LogLine>& lines) {
  std::string bytes;
  Writer out{bytes};
  for (const LogLine& line : lines) {
    std::string one;
    Writer fields{one};
    fields.integer(1, micros(line.at));
    fields.integer(2, over(static_cast<std::int64_t>(line.level)));
    fields.bytes(3, line.text);
    out.bytes(line_field, one);
  }
  return bytes;
}

std::string write_attempt(const Attempt& attempt) {
  std::string bytes;
  Writer out{bytes};
  out.integer(1, attempt.number);
  out.integer(2, micros(attempt.started_at));
  out.integer(3, micros(attempt.ended_at));
  out.bytes(4, attempt.worker);
  out.bytes(5, attempt.error);
  return bytes + write_lines(attempt.logs);
}

namespace {

void read_lines(Reader& in, std::vector<LogLine>& lines) {
  auto fields = in.inside();
  if (!fields) return;
  LogLine line;
  std::int64_t number = 0;
  while (fields->next()) {
    switch (fields->field()) {
      case 1:
        fields->integer(number);
        line.at = from_micros(number);
        break;
      case 2:
        fields->integer(number);
        line.level = static_cast<Level>(number - 1);
        break;
      case 3:
        fields->bytes(line.text);
        break;
      default:
        break;
    }
  }
  lines.push_back(std::move(line));
}

}  // namespace

Attempt read_attempt(std::string_view bytes, std::string_view lines) {
  Attempt attempt;
  std::int64_t number = 0;
  for (Reader before{lines}; before.next();) {
    if (before.field() == line_field) read_lines(before, attempt.logs);
  }
  for (Reader in{bytes}; in.next();) {
    switch (in.field()) {
      case 1:
        in.integer(attempt.number);
        break;
      case 2:
        in.integer(number);
        attempt.started_at = from_micros(number);
        break;
      case 3:
        in.integer(number);
        attempt.ended_at = from_micros(number);
        break;
      case 4:
        in.bytes(attempt.worker);
        break;
      case 5:
        in.bytes(attempt.error);
        break;
      case line_field:
        read_lines(in, attempt.logs);
        break;
      default:
        break;
    }
  }
  return attempt;
}

}  // namespace tidemill::redis_store
