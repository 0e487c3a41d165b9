#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

#include "wire/json_read.hpp"

/// Tasks as the API takes and shows them (docs/api.md). Times are RFC 3339 in UTC; durations are integers of
/// milliseconds in answers, and that or "90s", "5m", "1h30m" in requests.
namespace tidemill::wire {

/// The fields of a task to be enqueued. A payload's text stays as it was sent, to the digit.
std::span<const JsonMember<NewTask>> task_members();
/// Throws BadValue.
NewTask read_task(const JsonValue& value);
/// As `read_task` reads it, with all that isn't as by default.
void write_new_task(json::Writer& writer, const NewTask& task);

/// What an edit may say of a task: the members that are there overwrite what `task` has, and `null` takes
/// deadline and expires_at away. Throws BadValue.
void read_edit(const JsonValue& value, NewTask& task);
/// All of them.
void write_edit(json::Writer& writer, const Task& task);

/// Where all of it is shown, the payload and the result too.
enum class Detail : unsigned char { brief, full };
void write_task(json::Writer& writer, const Task& task, Detail detail);
/// The members alone, for an object that has more.
void write_task_members(json::Writer& writer, const Task& task, Detail detail);
/// Of what `Detail::full` shows. Throws BadValue.
Task read_shown_task(const JsonValue& value);
/// The names of the members that these have.
std::vector<std::string> task_fields();
std::vector<std::string> attempt_fields();
void write_attempt(json::Writer& writer, const Attempt& attempt);
/// Throws BadValue.
Attempt read_attempt(const JsonValue& value);
/// {"queue":"mail","id":"m1"}.
void write_ref(json::Writer& writer, const Ref& ref);
/// Throws BadValue.
Ref read_ref(const JsonValue& value);

/// Rounded down.
std::int64_t milliseconds(Duration duration);

}  // namespace tidemill::wire
