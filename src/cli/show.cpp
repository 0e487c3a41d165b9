#include "cli/show.hpp"

#include <algorithm>

#include <boost/json.hpp>

#include <tidemill/error.hpp>

#include "wire/values.hpp"

namespace tidemill::cli {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

void member_time(json::Writer& writer, std::string_view name, const std::optional<TimePoint>& time) {
  if (time) writer.member(name, wire::format_time(*time));
}

void member_payload(json::Writer& writer, std::string& out, std::string_view payload) {
  boost::json::error_code failure;
  boost::json::parse(boost::json::string_view{payload.data(), payload.size()}, failure);
  if (failure) {
    writer.member("payload_text", payload);
    return;
  }
  writer.key("payload");
  // Line breaks can only stand between values, as strings have none that are not escaped.
  std::string text{payload};
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  out += text;
}

void members(json::Writer& writer, std::string& out, const Task& task) {
  const auto text = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) writer.member(name, value);
  };
  writer.member("queue", task.ref.queue);
  writer.member("id", task.ref.id);
  writer.member("kind", task.kind);
  writer.member("state", to_string(task.state));
  member_payload(writer, out, task.payload);
  text("group", task.group);
  if (!task.headers.empty()) writer.member("headers", task.headers);
  writer.member("priority", task.priority);
  writer.member("attempt", task.attempt);
  writer.member("retries", task.retries);
  writer.member("retries_max", task.retries_max);
  writer.member("crashes", task.crashes);
  writer.member("crashes_max", task.crashes_max);
  writer.member("deferrals", task.deferrals);
  writer.member("timeout", seconds(task.timeout));
  writer.member("retention", seconds(task.retention));
  if (task.unique) writer.member("unique", task.unique->key);
  member_time(writer, "created_at", task.created_at);
  member_time(writer, "run_at", task.run_at);
  member_time(writer, "deadline", task.deadline);
  member_time(writer, "expires_at", task.expires_at);
  member_time(writer, "started_at", task.started_at);
  member_time(writer, "ended_at", task.ended_at);
  text("worker", task.worker);
  text("progress", task.progress);
  text("result", task.result);
  text("error", task.error);
  text("reason", task.reason);
}

void write(json::Writer& writer, const Attempt& attempt) {
  writer.open('{');
  writer.member("number", attempt.number);
  member_time(writer, "started_at", attempt.started_at);
  member_time(writer, "ended_at", attempt.ended_at);
  writer.member("worker", attempt.worker);
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

Ref parse_ref(std::string_view text, const std::optional<std::string>& queue) {
  if (queue) return {*queue, std::string{text}};
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return {"default", std::string{text}};
  return {std::string{text.substr(0, slash)}, std::string{text.substr(slash + 1)}};
}

std::string format_ref(const Ref& ref) { return ref.queue + "/" + ref.id; }

}  // namespace tidemill::cli
