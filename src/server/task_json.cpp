#include "server/task_json.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "wire/raw_json.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

namespace bj = boost::json;

[[noreturn]] void refuse(std::string pointer, std::string detail) {
  throw Problem{400, "invalid", "The task is not right", {{std::move(pointer), std::move(detail)}}};
}

/// One value of the body, and where it stands.
struct Place {
  const bj::value& value;
  std::string pointer;

  template <class Parse>
  auto parsed(Parse parse) const {
    try {
      return parse();
    } catch (const Error& error) {
      refuse(pointer, error.what());
    }
  }
  std::string text() const {
    if (!value.is_string()) refuse(pointer, "must be a text in quotes");
    return std::string{value.get_string()};
  }
  bool truth() const {
    if (!value.is_bool()) refuse(pointer, "must be true or false");
    return value.get_bool();
  }
  std::int64_t integer() const {
    if (!value.is_int64()) refuse(pointer, "must be a whole number");
    return value.get_int64();
  }
  std::int32_t small() const {
    const std::int64_t number = integer();
    // What makes sense is the library's to say.
    using Limits = std::numeric_limits<std::int32_t>;
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(number, Limits::min(), Limits::max()));
  }
  Duration duration() const {
    constexpr std::int64_t most = std::int64_t{1}
                                  << 48U;  // Milliseconds: as much as microseconds can hold, and some.
    if (value.is_int64()) {
      const std::int64_t number = value.get_int64();
      if (number < 0 || number > most) refuse(pointer, "is out of range");
      return std::chrono::milliseconds{number};
    }
    if (!value.is_string())
      refuse(pointer, "must be milliseconds, or a text such as \"90s\", \"5m\" or \"1h30m\"");
    return parsed([&] { return wire::parse_duration(text()); });
  }
  TimePoint time() const {
    const std::string written = text();
    return parsed([&] { return wire::parse_time(written); });
  }
};

struct Field {
  std::string_view name;
  void (*read)(NewTask& task, const Place& place);
};

void read_fields(std::span<const Field> fields, NewTask& task, const bj::object& object,
                 const std::string& pointer) {
  for (const auto& [name, value] : object) {
    const auto field = std::ranges::find(fields, std::string_view{name.data(), name.size()}, &Field::name);
    const std::string at = pointer + "/" + std::string{name};
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const Field& each : fields) names.emplace_back(each.name);
      refuse(at, fmt::format("there is no such field{}",
                             wire::suggestion(std::string_view{name.data(), name.size()}, names)));
    }
    field->read(task, {value, at});
  }
}

OnConflict conflict(const Place& place) {
  const std::string name = place.text();
  if (name == "keep") return OnConflict::keep;
  if (name == "reject") return OnConflict::reject;
  if (name == "replace") return OnConflict::replace;
  refuse(place.pointer, "must be \"keep\", \"reject\" or \"replace\"");
}

constexpr std::array unique_fields = {
    Field{"key", [](NewTask& t, const Place& p) { t.options.unique->key = p.text(); }},
    Field{"for", [](NewTask& t, const Place& p) { t.options.unique->window = p.duration(); }},
    Field{"outlives_task", [](NewTask& t, const Place& p) { t.options.unique->outlives_task = p.truth(); }},
    Field{"on_conflict", [](NewTask& t, const Place& p) { t.options.unique->on_conflict = conflict(p); }},
};

void read_unique(NewTask& task, const Place& place) {
  if (!place.value.is_object())
    refuse(place.pointer, R"(must be an object such as {"key":"invoice-7","for":"1h"})");
  task.options.unique.emplace();
  read_fields(unique_fields, task, place.value.get_object(), place.pointer);
}

void read_headers(NewTask& task, const Place& place) {
  if (!place.value.is_object()) refuse(place.pointer, R"(must be an object such as {"trace":"7f"})");
  for (const auto& [name, value] : place.value.get_object()) {
    task.options.headers[std::string{name}] = Place{value, place.pointer + "/" + std::string{name}}.text();
  }
}

void nothing(NewTask&, const Place&) {}

constexpr std::array task_fields = {
    Field{"kind", [](NewTask& t, const Place& p) { t.kind = p.text(); }},
    Field{"payload", nothing},  // Read from the text itself.
    Field{"payload_text", [](NewTask& t, const Place& p) { t.payload = p.text(); }},
    Field{"queue", [](NewTask& t, const Place& p) { t.options.queue = p.text(); }},
    Field{"id", [](NewTask& t, const Place& p) { t.options.id = p.text(); }},
    Field{"delay", [](NewTask& t, const Place& p) { t.options.delay = p.duration(); }},
    Field{"run_at", [](NewTask& t, const Place& p) { t.options.run_at = p.time(); }},
    Field{"priority", [](NewTask& t, const Place& p) { t.options.priority = p.small(); }},
    Field{"retries_max", [](NewTask& t, const Place& p) { t.options.retries_max = p.small(); }},
    Field{"crashes_max", [](NewTask& t, const Place& p) { t.options.crashes_max = p.small(); }},
    Field{"timeout", [](NewTask& t, const Place& p) { t.options.timeout = p.duration(); }},
    Field{"deadline", [](NewTask& t, const Place& p) { t.options.deadline = p.time(); }},
    Field{"expires_at", [](NewTask& t, const Place& p) { t.options.expires_at = p.time(); }},
    Field{"unique", read_unique},
    Field{"group", [](NewTask& t, const Place& p) { t.options.group = p.text(); }},
    Field{"retention", [](NewTask& t, const Place& p) { t.options.retention = p.duration(); }},
    Field{"hold", [](NewTask& t, const Place& p) { t.options.held = p.truth(); }},
    Field{"headers", read_headers},
};

NewTask read_task(const bj::value& value, std::string_view raw, const std::string& pointer) {
  if (!value.is_object()) refuse(pointer, R"(must be an object such as {"kind":"mail:send","payload":{}})");
  const bj::object& object = value.get_object();
  NewTask task;
  read_fields(task_fields, task, object, pointer);
  if (!object.contains("kind")) refuse(pointer + "/kind", "is missing");
  if (const bj::value* payload = object.if_contains("payload")) {
    if (object.contains("payload_text"))
      refuse(pointer + "/payload_text", "there is a payload as well; give one of them");
    const std::string_view text = wire::raw_member(raw, "payload");
    task.payload = text.empty() ? bj::serialize(*payload) : std::string{text};
  }
  return task;
}

TaskOrProblem task_or_problem(const bj::value& value, std::string_view raw, const std::string& pointer) {
  try {
    return read_task(value, raw, pointer);
  } catch (Problem& problem) {
    return std::move(problem);
  }
}

void member_time(json::Writer& writer, std::string_view name, const std::optional<TimePoint>& time) {
  if (time) writer.member(name, wire::format_time(*time));
}

std::int64_t milliseconds(Duration duration) {
  return std::chrono::floor<std::chrono::milliseconds>(duration).count();
}

}  // namespace

TasksInBody read_tasks(std::string_view body, std::size_t most) {
  bj::error_code failure;
  const bj::value value = bj::parse(bj::string_view{body.data(), body.size()}, failure);
  if (failure) throw Problem{400, "invalid", fmt::format("The body is no JSON: {}", failure.message())};
  TasksInBody read{.many = value.is_array()};
  if (!read.many) {
    read.tasks.push_back(task_or_problem(value, body, ""));
    return read;
  }
  const bj::array& array = value.get_array();
  if (array.size() > most) {
    throw Problem{413, "too_large",
                  fmt::format("There are {} tasks; send at most {} at once", array.size(), most)};
  }
  const std::vector<std::string_view> raw = wire::raw_elements(body);
  read.tasks.reserve(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    read.tasks.push_back(task_or_problem(array[i], raw[i], fmt::format("/{}", i)));
  }
  return read;
}

std::optional<Problem> refused(const Enqueued& answer, const NewTask& task) {
  const auto& unique = task.options.unique;
  switch (answer.put) {
    case Put::created:
    case Put::replaced:
      return {};
    case Put::exists:
      if (!unique || unique->on_conflict != OnConflict::reject || answer.id == task.options.id) return {};
      return Problem{409, "unique_conflict", answer.why};
    case Put::busy:
      return Problem{409, "unique_conflict", answer.why};
    case Put::invalid:
      return Problem{400, "invalid", answer.why};
    case Put::unknown:
      return Problem{503, "unknown_outcome", answer.why};
    case Put::fired:
    case Put::failed:
      return Problem{503, "store_unavailable", answer.why};
  }
  return {};
}

void write(json::Writer& writer, const Enqueued& answer) {
  writer.open('{');
  writer.member("id", answer.id);
  writer.member("created", answer.put == Put::created);
  if (answer.put == Put::replaced) writer.member("replaced", true);
  writer.close('}');
}

void write(json::Writer& writer, std::string& out, const Task& task) {
  const auto text = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) writer.member(name, value);
  };
  writer.open('{');
  writer.member("id", task.ref.id);
  writer.member("kind", task.kind);
  writer.member("queue", task.ref.queue);
  writer.member("state", to_string(task.state));
  bj::error_code not_json;
  bj::parse(bj::string_view{task.payload.data(), task.payload.size()}, not_json);
  if (not_json) {
    writer.member("payload_text", task.payload);
  } else {
    writer.key("payload");
    out += task.payload;
  }
  writer.member("priority", task.priority);
  writer.member("attempt", task.attempt);
  writer.member("retries", task.retries);
  writer.member("retries_max", task.retries_max);
  writer.member("crashes", task.crashes);
  writer.member("crashes_max", task.crashes_max);
  writer.member("timeout_ms", milliseconds(task.timeout));
  writer.member("retention_ms", milliseconds(task.retention));
  member_time(writer, "created_at", task.created_at);
  member_time(writer, "run_at", task.run_at);
  member_time(writer, "started_at", task.started_at);
  member_time(writer, "finished_at", task.ended_at);
  member_time(writer, "deadline", task.deadline);
  member_time(writer, "expires_at", task.expires_at);
  text("group", task.group);
  if (!task.headers.empty()) writer.member("headers", task.headers);
  if (task.unique) {
    writer.key("unique");
    writer.open('{');
    writer.member("key", task.unique->key);
    writer.close('}');
  }
  text("worker_id", task.worker);
  text("progress", task.progress);
  text("result", task.result);
  text("error", task.error);
  text("reason", task.reason);
  writer.close('}');
}

void write(json::Writer& writer, const Attempt& attempt) {
  writer.open('{');
  writer.member("n", attempt.number);
  writer.member("worker_id", attempt.worker);
  member_time(writer, "started_at", attempt.started_at);
  member_time(writer, "ended_at", attempt.ended_at);
  if (!attempt.error.empty()) writer.member("error", attempt.error);
  writer.key("logs");
  writer.open('[');
  for (const LogLine& line : attempt.logs) {
    writer.comma();
    writer.open('{');
    member_time(writer, "at", line.at);
    writer.member("level", to_string(line.level));
    writer.member("text", line.text);
    writer.close('}');
  }
  writer.close(']');
  writer.close('}');
}

}  // namespace tidemill::server
