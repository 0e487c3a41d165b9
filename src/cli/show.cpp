#include "cli/show.hpp"

#include <tidemill/error.hpp>

namespace tidemill::cli {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

void members(json::Writer& writer, const Task& task) {
  writer.member("queue", task.ref.queue);
  writer.member("id", task.ref.id);
  writer.member("kind", task.kind);
  writer.member("state", to_string(task.state));
  wire::member_payload(writer, task.payload);
  wire::member_text(writer, "group", task.group);
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
  wire::member_time(writer, "created_at", task.created_at);
  wire::member_time(writer, "run_at", task.run_at);
  wire::member_time(writer, "deadline", task.deadline);
  wire::member_time(writer, "expires_at", task.expires_at);
  wire::member_time(writer, "started_at", task.started_at);
  wire::member_time(writer, "ended_at", task.ended_at);
  wire::member_text(writer, "worker", task.worker);
  wire::member_text(writer, "progress", task.progress);
  wire::member_text(writer, "result", task.result);
  wire::member_text(writer, "error", task.error);
  wire::member_text(writer, "reason", task.reason);
}

void write(json::Writer& writer, const Attempt& attempt) {
  writer.open('{');
  writer.member("number", attempt.number);
  wire::member_time(writer, "started_at", attempt.started_at);
  wire::member_time(writer, "ended_at", attempt.ended_at);
  writer.member("worker", attempt.worker);
  if (!attempt.error.empty()) writer.member("error", attempt.error);
  wire::member_logs(writer, attempt.logs);
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
