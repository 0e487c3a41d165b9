// Looks at tasks.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "server/etag.hpp"
#include "server/fields.hpp"
#include "server/logs.hpp"
#include "server/ranges.hpp"
#include "server/service.hpp"
#include "wire/task_filter.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

/// Attempts shown with a task; all are at /attempts.
constexpr std::size_t attempts_shown = 20;
constexpr std::size_t refs_max = 1000;
constexpr Duration count_budget = std::chrono::milliseconds{500};

/// What an operator may do to it as it is.
void write_actions(json::Writer& writer, const Task& task) {
  std::vector<std::string> names;
  for (const Act act : rules::acts()) {
    if (rules::states_of(act).has(task.state)) names.emplace_back(to_string(act));
  }
  if (rules::editable().has(task.state)) names.emplace_back("edit");
  names.emplace_back("copy");
  writer.member("actions", names);
}

bool visible(const Ask& ask, const Task& task) { return ask.caller.may_use(task.ref.queue); }

wire::Detail detail_of(const Ask& ask) {
  const std::string_view wanted = ask.parameter("detail", "brief");
  if (wanted != "brief" && wanted != "full")
    throw Problem{400, "invalid", fmt::format("detail is \"{}\"; it must be brief or full", wanted)};
  if (wanted == "full") return wire::Detail::full;
  const Fields fields{ask.parameter("fields")};
  for (const std::string_view name : {"payload", "result", "headers"}) {
    if (fields.has(name))
      throw Problem{400, "invalid", fmt::format("fields: \"{}\" comes with detail=full only", name)};
  }
  return wire::Detail::brief;
}

http::Response list_tasks(Service& service, const Ask& ask) {
  const TaskQuery query{.filter = filter_of(service, ask),
                        .cursor = std::string{ask.parameter("cursor")},
                        .limit = static_cast<std::size_t>(ask.number("limit", 50, 1, 1000))};
  const wire::Detail detail = detail_of(ask);
  Page page = get_page(service, query);
  std::erase_if(page.tasks, [&](const Task& task) { return !visible(ask, task); });
  const auto fill = [detail](json::Writer& writer, const Task& task) {
    writer.open('{');
    wire::write_task_members(writer, task, detail);
    write_actions(writer, task);
    writer.close('}');
  };
  return json_answer(200, list_of(page.tasks, fill, [&](json::Writer& writer) {
                       writer.member("q", wire::format_filter(query.filter));
                       writer.member("next", page.next.empty() ? std::optional<std::string>{} : page.next);
                       writer.member("complete", page.complete);
                     }));
}

/// The tasks of those names, or null, in their order.
http::Response get_many(Service& service, const Ask& ask) {
  struct Body {
    std::vector<Ref> refs = {};
  };
  static constexpr std::array members = {
      wire::JsonMember<Body>{"refs", [](Body& b, const wire::JsonValue& v) {
                               for (const wire::JsonValue& each : v.elements())
                                 b.refs.push_back(wire::read_ref(each));
                               if (b.refs.size() > refs_max)
                                 v.refuse(fmt::format("has more than {} tasks", refs_max));
                             }}};
  const auto document = ask.body();
  Body body;
  wire::read_members<Body>(document.root(), body, members);
  for (const Ref& ref : body.refs) ask.caller.check_queue(ref.queue);
  const auto fill = [](json::Writer& writer, const std::optional<Task>& task) {
    task ? wire::write_task(writer, *task, wire::Detail::full) : writer.null();
  };
  return json_answer(200, list_of(service.inspector.tasks(body.refs), fill));
}

/// By counters where only queue and states are asked for; else by looking, within a budget.
http::Response count_tasks(Service& service, const Ask& ask) {
  const Filter filter = filter_of(service, ask);
  std::uint64_t count = 0;
  bool exact = true;
  if (wire::format_filter(filter) == wire::format_filter({.queue = filter.queue, .states = filter.states})) {
    for (const QueueInfo& queue : service.inspector.queues()) {
      if (!filter.queue.empty() && queue.name != filter.queue) continue;
      if (!ask.caller.may_use(queue.name)) continue;
      for (const auto& [state, n] : queue.counts) count += filter.states.has(state) ? n : 0;
    }
  } else {
    TaskQuery query{.filter = filter, .limit = 1000, .budget = count_budget};
    const auto end = std::chrono::steady_clock::now() + count_budget;
    do {
      const Page page = service.inspector.tasks(query);
      count += static_cast<std::uint64_t>(
          std::ranges::count_if(page.tasks, [&](const Task& task) { return visible(ask, task); }));
      query.cursor = page.next;
    } while (!query.cursor.empty() && std::chrono::steady_clock::now() < end);
    exact = query.cursor.empty();
  }
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("n", count);
                       writer.member("exact", exact);
                     }));
}

http::Response list_attempts(Service& service, const Ask& ask) {
  return json_answer(200, list_of(service.inspector.attempts(find_task(service, ask)), wire::write_attempt));
}

/// Of those after `after`, the last ones that are wanted, oldest first.
std::vector<Logged> wanted_lines(const Ask& ask, const std::vector<Logged>& all) {
  static constexpr std::array levels = {Level::debug, Level::info, Level::warning, Level::error};
  const std::int64_t only = ask.number("attempt", 0, 0, INT32_MAX);
  const std::int64_t after = ask.number("after", 0, 0, INT64_MAX);
  const auto tail = static_cast<std::size_t>(ask.number("tail", INT32_MAX, 1, INT32_MAX));
  Level least = Level::debug;
  if (const auto name = ask.parameter("level"); !name.empty()) {
    try {
      least = wire::parse_name<Level>("level", name, levels);
    } catch (const Error& error) {
      throw Problem{400, "invalid", error.what()};
    }
  }
  std::vector<Logged> lines;
  for (const Logged& each : all) {
    if ((only == 0 || each.attempt == only) && each.seq > after && each.line->level >= least)
      lines.push_back(each);
  }
  lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(std::min(tail, lines.size())));
  return lines;
}

http::Response list_logs(Service& service, const Ask& ask) {
  const auto attempts = service.inspector.attempts(find_task(service, ask));
  const std::vector<Logged> all = lines_of(attempts);
  const std::vector<Logged> lines = wanted_lines(ask, all);
  if (ask.request->header("accept").starts_with("text/plain")) {
    std::string text;
    for (const auto& [attempt, seq, line] : lines)
      text += fmt::format("{} {} {:<7} {}\n", wire::format_time(line->at), attempt, to_string(line->level),
                          line->text);
    return {200, "text/plain; charset=utf-8", {{"X-Content-Type-Options", "nosniff"}}, std::move(text)};
  }
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.key("lines");
                       wire::write_array(writer, lines, write_logged);
                       if (all.empty()) return;
                       writer.member("first_seq", all.front().seq);
                       writer.member("last_seq", all.back().seq);
                     }));
}

http::Response raw(const Ask& ask, const std::string& bytes) {
  // Never shown as a page of ours, whatever it holds.
  return part_of(ask, {200,
                       wire::is_json(bytes) ? "application/json" : "application/octet-stream",
                       {{"X-Content-Type-Options", "nosniff"}, {"Content-Security-Policy", "sandbox"}},
                       bytes});
}

}  // namespace

std::vector<std::string> with(std::vector<std::string> names, std::initializer_list<std::string> more) {
  names.insert(names.end(), more);
  return names;
}

std::vector<std::string> with_filter(std::initializer_list<std::string> more) {
  return with({"q", "state", "queue", "kind", "id", "group", "text", "created_from", "created_before"}, more);
}

Filter filter_of(const Service& service, const Ask& ask) {
  Filter filter;
  try {
    filter = wire::parse_filter(ask.parameter("q"), service.inspector.now());
    for (const std::string_view name :
         {"queue", "kind", "id", "group", "text", "state", "created_from", "created_before"}) {
      if (const auto value = ask.parameter(name); !value.empty()) wire::set_filter(filter, name, value);
    }
  } catch (const wire::FilterError& error) {
    throw Problem{400, "bad_filter", error.what(), {}, {}, error.column()};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    throw Problem{400, "bad_filter", error.what()};
  }
  if (!filter.queue.empty()) ask.caller.check_queue(filter.queue);
  return filter;
}

Ref find_task(const Service& service, const Ask& ask) {
  const std::string& id = ask.path[0];
  if (const std::string_view queue = ask.parameter("queue"); !queue.empty()) {
    ask.caller.check_queue(queue);
    return {std::string{queue}, id};
  }
  std::vector<std::string> queues;
  for (const QueueInfo& queue : service.inspector.queues()) {
    if (ask.caller.may_use(queue.name) && service.inspector.task({queue.name, id}))
      queues.push_back(queue.name);
  }
  if (queues.size() > 1) {
    throw Problem{
        409, "conflict",
        fmt::format("several queues have a task {}; add ?queue= with one of {}", id, wire::either(queues))};
  }
  if (queues.empty()) throw Problem{404, "not_found", fmt::format("there is no task {}", id)};
  return {queues.front(), id};
}

Page get_page(const Service& service, const TaskQuery& query) {
  try {
    return service.inspector.tasks(query);
  } catch (const Error& error) {
    if (query.cursor.empty() || error.kind() != ErrorKind::invalid) throw;
    throw Problem{400, "bad_cursor", error.what()};
  }
}

Task get_task(const Service& service, const Ref& ref) {
  auto task = service.inspector.task(ref);
  if (!task)
    throw Problem{404, "not_found", fmt::format("there is no task {} in queue {}", ref.id, ref.queue)};
  return std::move(*task);
}

http::Response show_task(const Service& service, const Task& task, int status) {
  std::vector<Attempt> attempts = service.inspector.attempts(task.ref);
  const std::size_t total = attempts.size();
  if (total > attempts_shown) attempts.erase(attempts.begin(), attempts.end() - attempts_shown);
  const std::string tag = etag(task);
  return tagged_answer(status, wire::object([&](json::Writer& writer) {
                         wire::write_task_members(writer, task, wire::Detail::full);
                         write_actions(writer, task);
                         writer.member("attempts_total", total);
                         writer.key("attempts");
                         wire::write_array(writer, attempts, wire::write_attempt);
                         writer.member("etag", tag);
                       }),
                       tag);
}

void add_task_routes(Routes& routes, Service& service) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks",
              .summary = "Tasks, a page at a time, in the order in which they run; detail: brief or full",
              .roles = viewers,
              .parameters = with_filter({"limit", "cursor", "detail", "fields"}),
              .fields = with(wire::task_fields(), {"preview", "actions"}),
              .handle = [&service](const Ask& ask) { return list_tasks(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/count",
              .summary = "How many tasks match",
              .roles = viewers,
              .parameters = with_filter({}),
              .handle = [&service](const Ask& ask) { return count_tasks(service, ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/tasks/get",
              .summary = "Many tasks by queue and id, up to 1000; null for one that isn't there",
              .roles = viewers + producers,
              .body = R"({"refs":[{"queue":"mail","id":"m1"}]})",
              .handle = [&service](const Ask& ask) { return get_many(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}",
              .summary = "A task, with all that is known of it",
              .roles = viewers + producers,
              .parameters = {"queue", "fields"},
              .fields = with(wire::task_fields(), {"actions", "attempts_total", "attempts", "etag"}),
              .handle = [&service](const Ask& ask) {
                return show_task(service, get_task(service, find_task(service, ask)));
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}/attempts",
              .summary = "The attempts that are kept, oldest first",
              .roles = viewers,
              .parameters = {"queue", "fields"},
              .fields = wire::attempt_fields(),
              .handle = [&service](const Ask& ask) { return list_attempts(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}/logs",
              .summary = "What the attempts that are kept have logged; as text with Accept: text/plain",
              .roles = viewers,
              .parameters = {"queue", "attempt", "level", "after", "tail"},
              .handle = [&service](const Ask& ask) { return list_logs(service, ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}/payload",
              .summary = "The payload's bytes, or the part that Range names",
              .roles = operators,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) {
                return raw(ask, get_task(service, find_task(service, ask)).payload);
              }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/tasks/{id}/result",
              .summary = "The result's bytes, or the part that Range names",
              .roles = operators + producers,
              .parameters = {"queue"},
              .handle = [&service](const Ask& ask) {
                const Task task = get_task(service, find_task(service, ask));
                if (task.state != State::completed) {
                  throw Problem{409, "wrong_state",
                                fmt::format("a task that is {} has no result", to_string(task.state))};
                }
                return raw(ask, task.result);
              }});
}

}  // namespace tidemill::server
