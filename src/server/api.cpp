#include "server/api.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/version.hpp>

#include "engine/batcher.hpp"
#include "server/problem.hpp"
#include "server/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

constexpr std::string_view prefix = "/api/v1";

http::Response json_answer(int status, std::string body) {
  return {status, "application/json", {}, std::move(body)};
}

/// One object with what `fill(writer, text)` puts into it.
template <class Fill>
std::string object(Fill fill) {
  std::string text;
  json::Writer writer{text};
  writer.open('{');
  fill(writer, text);
  writer.close('}');
  return text;
}

/// {"items":[…], and more}.
template <class Items, class Fill, class Rest>
std::string list(const Items& items, Fill fill, Rest rest) {
  return object([&](json::Writer& writer, std::string& text) {
    writer.key("items");
    writer.open('[');
    for (const auto& item : items) {
      writer.comma();
      fill(writer, text, item);
    }
    writer.close(']');
    rest(writer);
  });
}

std::size_t number(const Ask& ask, std::string_view name, std::size_t otherwise, std::size_t least,
                   std::size_t most) {
  const std::string_view text = ask.parameter(name);
  if (text.empty()) return otherwise;
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw Problem{400, "invalid", fmt::format("{} must be a number from {} to {}", name, least, most)};
  }
  return value;
}

/// Of "pending,retry".
States states(std::string_view text) {
  States found;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(name.size() + 1, text.size()));
    const auto state = parse_state(name);
    if (!state || *state == State::gone) {
      std::vector<std::string> names;
      for (unsigned i = 1; i < state_count; ++i)
        names.emplace_back(to_string(State{static_cast<std::uint8_t>(i)}));
      throw Problem{400, "invalid",
                    fmt::format("there is no state \"{}\"; there are {}", name, wire::either(names))};
    }
    found = found + *state;
  }
  return found;
}

/// A request for a single task, on its way to a commit that it shares.
struct Single {
  NewTask task;
  http::Answer answer;
};

}  // namespace

struct Api::Impl {
  Impl(Store& s, ApiOptions o);

  void add_routes();
  void add_task_routes();
  void add_queue_routes();

  void enqueue(http::Request&& request, const http::Answer& answer);
  void flush(std::span<Single> batch);
  http::Response enqueue_many(TasksInBody&& body);
  void later(std::function<http::Response()> work, const http::Answer& answer);
  http::Response guarded(const std::function<http::Response()>& work) const noexcept;

  http::Response list_tasks(const Ask& ask);
  http::Response show_task(const Ask& ask);
  http::Response list_attempts(const Ask& ask);
  http::Response act(const Ask& ask, Act act);
  http::Response list_queues();
  Ref find(const Ask& ask);

  Store& store;
  const ApiOptions options;
  Client client;
  Inspector inspector;
  Routes routes;
  std::string openapi;
  std::atomic<std::size_t> waiting{0};
  std::atomic<bool> closed{false};
  boost::asio::thread_pool pool;
  engine::Batcher<Single> singles;
};

Api::Impl::Impl(Store& s, ApiOptions o)
    : store(s),
      options(std::move(o)),
      client(s, {.log = options.log}),
      inspector(s),
      pool(options.threads),
      singles([this](std::span<Single> batch) { flush(batch); }, {.name = "tm-api-enqueue"},
              [](const Single& single) { return single.task.payload.size(); }) {
  add_routes();
  openapi = routes.openapi(version());
}

// ---- Requests

http::Response Api::Impl::guarded(const std::function<http::Response()>& work) const noexcept {
  try {
    return work();
  } catch (const Problem& problem) {
    return to_response(problem);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::corrupt) options.log.error("a request failed", {{"why", error.what()}});
    return to_response(to_problem(error));
  } catch (const std::exception& error) {
    options.log.error("a request failed", {{"why", error.what()}});
    return to_response({500, "internal", "the log says why"});
  }
}

void Api::Impl::later(std::function<http::Response()> work, const http::Answer& answer) {
  if (waiting.fetch_add(1) >= options.waiting_max) {
    --waiting;
    answer(to_response({503, "store_unavailable", "too many requests wait already"}));
    return;
  }
  boost::asio::post(pool, [this, work = std::move(work), answer] {
    http::Response response = guarded(work);
    --waiting;
    answer(std::move(response));
  });
}

void Api::Impl::enqueue(http::Request&& request, const http::Answer& answer) {
  std::optional<TasksInBody> body;
  const http::Response refusal = guarded([&] {
    refuse_other_sites(request, options.hosts);
    if (!request.header("content-type").starts_with("application/json")) {
      throw Problem{415, "unsupported_media_type", "send the tasks with Content-Type: application/json"};
    }
    if (!request.query.empty()) throw Problem{400, "invalid", "there are no parameters here"};
    TasksInBody read = read_tasks(request.body, options.tasks_max);
    if (!read.many) {
      if (const Problem* problem = std::get_if<Problem>(&read.tasks.front())) throw *problem;
    }
    body = std::move(read);
    return http::Response{};
  });
  if (!body) {
    answer(refusal);
  } else if (body->many) {
    auto shared = std::make_shared<TasksInBody>(std::move(*body));
    later([this, shared] { return enqueue_many(std::move(*shared)); }, answer);
  } else if (!singles.try_push({std::get<NewTask>(std::move(body->tasks.front())), answer})) {
    answer(to_response({503, "store_unavailable", "too many tasks wait for the store already"}));
  }
}

void Api::Impl::flush(std::span<Single> batch) {
  std::vector<NewTask> tasks;
  for (Single& single : batch) tasks.push_back(std::move(single.task));
  std::vector<Enqueued> answers;
  const http::Response failure = guarded([&] {
    answers = client.enqueue_all(tasks);
    return http::Response{};
  });
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (answers.empty()) {
      batch[i].answer(failure);
      continue;
    }
    if (const auto problem = refused(answers[i], tasks[i])) {
      batch[i].answer(to_response(*problem));
      continue;
    }
    std::string text;
    json::Writer writer{text};
    write(writer, answers[i]);
    const bool created = answers[i].put == Put::created;
    http::Response response = json_answer(created ? 201 : 200, std::move(text));
    if (created) response.headers.emplace_back("Location", fmt::format("{}/tasks/{}", prefix, answers[i].id));
    batch[i].answer(std::move(response));
  }
}

http::Response Api::Impl::enqueue_many(TasksInBody&& body) {
  std::vector<NewTask> good;
  for (TaskOrProblem& each : body.tasks) {
    if (NewTask* task = std::get_if<NewTask>(&each)) good.push_back(std::move(*task));
  }
  const std::vector<Enqueued> answers = client.enqueue_all(good);
  std::size_t next = 0;
  std::size_t created = 0;
  std::size_t failed = 0;
  return json_answer(200, object([&](json::Writer& writer, std::string& text) {
                       writer.key("results");
                       writer.open('[');
                       for (const TaskOrProblem& each : body.tasks) {
                         writer.comma();
                         const Problem* problem = std::get_if<Problem>(&each);
                         std::optional<Problem> refusal;
                         if (problem == nullptr) {
                           refusal = refused(answers[next], good[next]);
                           if (refusal) problem = &*refusal;
                         }
                         if (problem != nullptr) {
                           ++failed;
                           writer.open('{');
                           writer.key("problem");
                           text += to_json(*problem);
                           writer.close('}');
                         } else {
                           created += answers[next].put == Put::created ? 1U : 0U;
                           write(writer, answers[next]);
                         }
                         if (std::holds_alternative<NewTask>(each)) ++next;
                       }
                       writer.close(']');
                       writer.member("created", created);
                       writer.member("failed", failed);
                     }));
}

// ---- Routes

void Api::Impl::add_routes() {
  routes.add({"GET", "/healthz", "Whether the process lives", {}, [](const Ask&) {
                return http::Response{200, "text/plain", {}, "ok\n"};
              }});
  routes.add({"GET", "/api/v1/openapi.json", "This document", {}, [this](const Ask&) {
                return json_answer(200, openapi);
              }});
  add_task_routes();
  add_queue_routes();
}

void Api::Impl::add_task_routes() {
  // `handle` takes these off before, as they share commits; the route is there for what it says of itself.
  routes.add({"POST", "/api/v1/tasks", "Enqueue a task, or an array of tasks", {}, [](const Ask&) {
                return to_response({500, "internal", "the log says why"});
              }});
  routes.add({"GET",
              "/api/v1/tasks",
              "Tasks that match, a page at a time",
              {"queue", "kind", "group", "text", "state", "limit", "cursor"},
              [this](const Ask& ask) { return list_tasks(ask); }});
  routes.add({"GET",
              "/api/v1/tasks/{id}",
              "A task, with all that is known of it",
              {"queue"},
              [this](const Ask& ask) { return show_task(ask); }});
  routes.add(
      {"DELETE", "/api/v1/tasks/{id}", "Delete a task that doesn't run", {"queue"}, [this](const Ask& ask) {
         return act(ask, Act::erase);
       }});
  routes.add({"GET",
              "/api/v1/tasks/{id}/attempts",
              "The attempts that are kept, oldest first",
              {"queue"},
              [this](const Ask& ask) { return list_attempts(ask); }});
  const auto add_act = [this](Act which, const std::string& summary) {
    routes.add({"POST",
                fmt::format("/api/v1/tasks/{{id}}/{}", to_string(which)),
                summary,
                {"queue"},
                [this, which](const Ask& ask) { return act(ask, which); }});
  };
  add_act(Act::run, "Make a task pending now");
  add_act(Act::hold, "Stop a task until it is resumed");
  add_act(Act::resume, "Make a held task pending");
  add_act(Act::cancel, "Archive a task as cancelled; a running one is stopped");
  add_act(Act::archive, "Move a task that doesn't run to the archive");
}

void Api::Impl::add_queue_routes() {
  routes.add({"GET", "/api/v1/queues", "All queues with their counts", {}, [this](const Ask&) {
                return list_queues();
              }});
  routes.add({"POST",
              "/api/v1/queues/{queue}/pause",
              "Nothing is claimed from the queue until it is resumed",
              {},
              [this](const Ask& ask) {
                inspector.pause(ask.path[0]);
                return http::Response{204, "", {}, ""};
              }});
  routes.add({"POST",
              "/api/v1/queues/{queue}/resume",
              "Tasks of the queue may be claimed again",
              {},
              [this](const Ask& ask) {
                inspector.resume(ask.path[0]);
                return http::Response{204, "", {}, ""};
              }});
}

// ---- Tasks

http::Response Api::Impl::list_tasks(const Ask& ask) {
  TaskQuery query;
  query.filter.queue = ask.parameter("queue");
  query.filter.kind = ask.parameter("kind");
  query.filter.group = ask.parameter("group");
  query.filter.text = ask.parameter("text");
  if (const std::string_view wanted = ask.parameter("state"); !wanted.empty())
    query.filter.states = states(wanted);
  query.limit = number(ask, "limit", 50, 1, 1000);
  query.cursor = ask.parameter("cursor");
  const Page page = inspector.tasks(query);
  return json_answer(
      200, list(
               page.tasks,
               [](json::Writer& writer, std::string& text, const Task& task) { write(writer, text, task); },
               [&](json::Writer& writer) {
                 writer.member("next", page.next.empty() ? std::optional<std::string>{} : page.next);
                 writer.member("complete", page.complete);
               }));
}

/// Ids are unique within their queue only; who names none has all queues looked into.
Ref Api::Impl::find(const Ask& ask) {
  const std::string& id = ask.path[0];
  if (const std::string_view queue = ask.parameter("queue"); !queue.empty()) return {std::string{queue}, id};
  std::vector<std::string> queues;
  for (const QueueInfo& queue : inspector.queues()) {
    if (inspector.task({queue.name, id})) queues.push_back(queue.name);
  }
  if (queues.size() > 1) {
    throw Problem{
        409, "conflict",
        fmt::format("several queues have a task {}; add ?queue= with one of {}", id, wire::either(queues))};
  }
  if (queues.empty()) throw Problem{404, "not_found", fmt::format("there is no task {}", id)};
  return {queues.front(), id};
}

http::Response Api::Impl::show_task(const Ask& ask) {
  const Ref ref = find(ask);
  const auto task = inspector.task(ref);
  if (!task)
    throw Problem{404, "not_found", fmt::format("there is no task {} in queue {}", ref.id, ref.queue)};
  std::string text;
  json::Writer writer{text};
  write(writer, text, *task);
  return json_answer(200, std::move(text));
}

http::Response Api::Impl::list_attempts(const Ask& ask) {
  const Ref ref = find(ask);
  return json_answer(200,
                     list(
                         inspector.attempts(ref),
                         [](json::Writer& writer, std::string&, const Attempt& each) { write(writer, each); },
                         [](json::Writer&) {}));
}

http::Response Api::Impl::act(const Ask& ask, Act act) {
  const Ref ref = find(ask);
  switch (inspector.act(act, ref)) {
    case Changed::changed:
      if (act == Act::erase) return {204, "", {}, ""};
      return show_task(ask);
    case Changed::signalled:  // Its worker hears of it within moments.
      return {202, "", {}, ""};
    case Changed::absent:
      throw Problem{404, "not_found", fmt::format("there is no task {} in queue {}", ref.id, ref.queue)};
    case Changed::wrong_state: {
      const auto task = inspector.task(ref);
      throw Problem{409, "wrong_state",
                    fmt::format("{} does not apply to a task that is {}", to_string(act),
                                to_string(task ? task->state : State::gone))};
    }
    case Changed::failed:
      break;
  }
  throw Problem{503, "store_unavailable", "nothing was changed; try again"};
}

// ---- Queues

http::Response Api::Impl::list_queues() {
  const auto fill = [](json::Writer& writer, std::string&, const QueueInfo& queue) {
    writer.open('{');
    writer.member("name", queue.name);
    writer.member("paused", queue.paused);
    writer.key("counts");
    writer.open('{');
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      const auto found = queue.counts.find(state);
      writer.member(to_string(state), found == queue.counts.end() ? std::uint64_t{0} : found->second);
    }
    writer.close('}');
    writer.member("oldest_pending_ms", std::chrono::floor<std::chrono::milliseconds>(queue.oldest).count());
    writer.close('}');
  };
  return json_answer(200, list(inspector.queues(), fill, [](json::Writer&) {}));
}

// ---- The API

Api::Api(Store& store, ApiOptions options) : impl_(std::make_unique<Impl>(store, std::move(options))) {}

Api::~Api() { close(); }

void Api::handle(http::Request&& request, http::Answer answer) {
  if (impl_->closed) {
    answer(to_response({503, "shutting_down", "the server is stopping"}));
  } else if (request.method == "POST" && request.path == "/api/v1/tasks") {
    impl_->enqueue(std::move(request), answer);
  } else {
    auto shared = std::make_shared<http::Request>(std::move(request));
    impl_->later(
        [impl = impl_.get(), shared] {
          refuse_other_sites(*shared, impl->options.hosts);
          return impl->routes.dispatch(*shared);
        },
        answer);
  }
}

void Api::close() {
  impl_->closed = true;
  impl_->singles.close();
  impl_->pool.join();
}

const Routes& Api::routes() const noexcept { return impl_->routes; }

http::Response Api::refusal(int status, std::string_view why) { return to_response(to_problem(status, why)); }

}  // namespace tidemill::server
