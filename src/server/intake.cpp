#include "server/intake.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

constexpr std::string_view lines_type = "application/x-ndjson";

/// Why the producer did not get what he meant; none: he did, or the task that he meant was there.
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

void write_members(json::Writer& writer, const Enqueued& answer) {
  writer.member("id", answer.id);
  writer.member("created", answer.put == Put::created);
  if (answer.put == Put::replaced) writer.member("replaced", true);
}

http::Response answer_of(const Enqueued& answer, const NewTask& task) {
  if (const auto problem = refused(answer, task)) return to_response(*problem);
  const bool created = answer.put == Put::created;
  http::Response response = json_answer(
      created ? 201 : 200, wire::object([&](json::Writer& writer) { write_members(writer, answer); }));
  if (created) response.headers.emplace_back("Location", fmt::format("{}/tasks/{}", prefix, answer.id));
  return response;
}

/// Whether W3C Trace Context has it read: "00-TRACE-PARENT-FLAGS", and more in versions to come. One that
/// isn't right is to be taken for none.
bool is_trace(std::string_view text) {
  constexpr std::string_view shape = "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
  if (text.size() < shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (shape[i] == '-' ? text[i] != '-' : !digit) return false;
  }
  const auto all = [&](std::size_t begin, std::size_t count, char c) {
    return text.substr(begin, count).find_first_not_of(c) == std::string_view::npos;
  };
  if (all(0, 2, 'f') || all(3, 32, '0') || all(36, 16, '0')) return false;
  return text.size() == shape.size() || (!all(0, 2, '0') && text[shape.size()] == '-');
}

NewTask read_allowed(const Ask& ask, const wire::JsonValue& value) {
  NewTask task = wire::read_task(value);
  ask.caller.check_tasks_of(task.options.queue);
  // Whoever runs the task goes on with its producer's trace, unless the task names one itself.
  const std::string_view trace = ask.request->header("traceparent");
  if (!is_trace(trace) || !task.options.headers.try_emplace("traceparent", trace).second) return task;
  const std::string_view state = ask.request->header("tracestate");
  if (!state.empty()) task.options.headers.try_emplace("tracestate", state);
  return task;
}

template <class Read>
auto task_or_problem(Read read) -> std::variant<NewTask, Problem> {
  try {
    return read();
  } catch (const wire::BadValue& bad) {
    return to_problem(bad);
  } catch (Problem& problem) {
    return std::move(problem);
  }
}

}  // namespace

Intake::Intake(Service& service, std::size_t tasks_max, Later later)
    : service_(service),
      idempotency_(service),
      tasks_max_(tasks_max),
      later_(std::move(later)),
      singles_([this](std::span<Single> batch) { flush(batch); }, {.name = "tm-api-enqueue"},
               [](const Single& single) { return single.task.payload.size(); }) {}

void Intake::add_routes(Routes& routes) {
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/tasks",
       .summary = "Enqueue a task, an array of tasks, or one a line (application/x-ndjson)",
       .roles = producers,
       .body = R"({"kind":"mail:send","queue":"mail","payload":{"to":"ada@example.com"},"delay":"5m"})",
       .begin = [this](Ask&& ask, const http::Answer& answer) { begin(ask, answer); }});
}

void Intake::check_count(std::size_t count) const {
  if (count <= tasks_max_) return;
  throw Problem{413, "too_large",
                fmt::format("There are {} tasks; send at most {} at once", count, tasks_max_)};
}

void Intake::begin(const Ask& ask, const http::Answer& answer) {
  std::vector<TaskOrProblem> many;
  if (http::is_media_type(ask.request->header("content-type"), lines_type)) {
    many = read_lines(ask);
  } else {
    const auto document = ask.body();
    if (!document.root().is_array() && !ask.request->has_header("idempotency-key")) {
      if (!singles_.try_push({read_allowed(ask, document.root()), answer}))
        throw Problem{503, "store_unavailable", "too many tasks wait for the store already"};
      return;
    }
    if (!document.root().is_array()) {
      later_([this, ask, task = read_allowed(ask, document.root())] { return enqueue_once(ask, task); },
             answer);
      return;
    }
    many = read_array(ask, document.root());
  }
  later_(
      [this, ask, shared = std::make_shared<std::vector<TaskOrProblem>>(std::move(many))] {
        return idempotency_.run(
            ask, [&](const std::string& seed) { return enqueue_many(std::move(*shared), seed); });
      },
      answer);
}

std::vector<Intake::TaskOrProblem> Intake::read_array(const Ask& ask, const wire::JsonValue& array) const {
  const auto elements = array.elements();
  check_count(elements.size());
  std::vector<TaskOrProblem> tasks;
  tasks.reserve(elements.size());
  for (const wire::JsonValue& each : elements)
    tasks.push_back(task_or_problem([&] { return read_allowed(ask, each); }));
  return tasks;
}

std::vector<Intake::TaskOrProblem> Intake::read_lines(const Ask& ask) const {
  std::vector<TaskOrProblem> tasks;
  std::string_view rest = ask.request->body;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    check_count(tasks.size() + 1);
    tasks.push_back(task_or_problem([&] {
      const wire::JsonDocument document{line};
      return read_allowed(ask, document.root());
    }));
  }
  return tasks;
}

void Intake::flush(std::span<Single> batch) {
  std::vector<NewTask> tasks;
  tasks.reserve(batch.size());
  for (Single& single : batch) tasks.push_back(std::move(single.task));
  std::vector<Enqueued> answers;
  http::Response failure;
  try {
    answers = service_.client.enqueue_all(tasks);
  } catch (const Error& error) {
    failure = to_response(to_problem(error));
  } catch (const std::exception& error) {
    service_.log.error("tasks could not be enqueued", {{"why", error.what()}});
    failure = to_response({500, "internal", "the log says why"});
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    batch[i].answer(answers.empty() ? failure : answer_of(answers[i], tasks[i]));
  }
}

http::Response Intake::enqueue_once(const Ask& ask, NewTask task) {
  return idempotency_.run(ask, [&](const std::string& seed) {
    if (task.options.id.empty()) task.options.id = id_of(seed, 0);
    return answer_of(service_.client.enqueue_all({&task, 1}).front(), task);
  });
}

http::Response Intake::enqueue_many(std::vector<TaskOrProblem>&& tasks, const std::string& seed) {
  std::vector<NewTask> good;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    NewTask* const task = std::get_if<NewTask>(&tasks[i]);
    if (task == nullptr) continue;
    if (!seed.empty() && task->options.id.empty()) task->options.id = id_of(seed, i);
    good.push_back(std::move(*task));
  }
  const std::vector<Enqueued> answers = service_.client.enqueue_all(good);
  std::size_t next = 0;
  std::size_t created = 0;
  std::size_t failed = 0;
  const auto fill = [&](json::Writer& writer, const TaskOrProblem& each) {
    const Problem* given = std::get_if<Problem>(&each);
    std::optional<Problem> problem =
        given != nullptr ? std::optional{*given} : refused(answers[next], good[next]);
    writer.open('{');
    if (problem) {
      ++failed;
      writer.key("problem");
      writer.raw(to_json(*problem));
      // Who holds the key, if that is why.
      if (given == nullptr && problem->code == "unique_conflict") {
        writer.member("id", answers[next].id);
        writer.member("put", to_string(answers[next].put));
      }
    } else {
      created += answers[next].put == Put::created ? 1U : 0U;
      write_members(writer, answers[next]);
    }
    writer.close('}');
    if (given == nullptr) ++next;
  };
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.key("results");
                       wire::write_array(writer, tasks, fill);
                       writer.member("created", created);
                       writer.member("failed", failed);
                     }));
}

}  // namespace tidemill::server
