#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

#include "server/problem.hpp"

/// Tasks as the API takes and shows them. Times are RFC 3339 in UTC; durations are integers of
/// milliseconds in answers, and that or "90s", "5m", "1h30m" in requests.
namespace tidemill::server {

/// A task of a request, or what is wrong with it.
using TaskOrProblem = std::variant<NewTask, Problem>;

struct TasksInBody {
  bool many = false;  ///< The body is an array; else it is one task.
  std::vector<TaskOrProblem> tasks = {};
};

/// One object, or an array of at most `most`. Throws Problem when the body is neither; what is wrong with one
/// task is in its place, and harms no other. A payload's text stays as it was sent, to the digit.
TasksInBody read_tasks(std::string_view body, std::size_t most);

/// Why the producer did not get what he meant; none: he did, or the task that he meant was there.
std::optional<Problem> refused(const Enqueued& answer, const NewTask& task);
void write(json::Writer& writer, const Enqueued& answer);

/// The object of a task, with all that is known of it.
void write(json::Writer& writer, std::string& out, const Task& task);
void write(json::Writer& writer, const Attempt& attempt);

}  // namespace tidemill::server
