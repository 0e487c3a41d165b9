#include "cli/tasks.hpp"

#include <algorithm>
#include <array>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/show.hpp"
#include "cli/table.hpp"
#include "wire/task_filter.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* list_help = R"(Examples:
  tidemill tasks                                  # the first 50, by queue and state
  tidemill tasks --state archived --queue mail    # the dead letters of a queue
  tidemill tasks --kind 'image:*' --text cat.png  # whose kind begins so, with that in id, payload or error
  tidemill tasks 'state:archived queue:mail created:-1h.. 421'   # the language of the API's q
  tidemill tasks show mail/0190a5e2-…             # all of one, with its attempts and their log lines
  tidemill tasks run --state archived --kind mail:send --all --yes
  tidemill tasks --all --json | jq .error

A task is named by QUEUE/ID, or by its ID alone with --queue or when its queue is "default".
With --json a last line {"cursor":…} tells where to go on when there is more.)";

constexpr const char* show_help = R"(Examples:
  tidemill tasks show mail/0190a5e2-8c7e-7d3f-9a51-0c2f6f5f3f11
  tidemill tasks show --queue mail 0190a5e2-8c7e-7d3f-9a51-0c2f6f5f3f11 --json)";

struct ListArguments {
  StoreOption store = {};
  FilterArguments filter = {};
  std::string words = {};
  std::size_t limit = 50;
  std::string cursor = {};
  bool all = false;
  bool json = false;
};

/// What matters most about a task in its state.
std::string note_of(const Task& task) {
  switch (task.state) {
    case State::scheduled:
      return task.run_at ? "due " + wire::format_second(*task.run_at) : "";
    case State::retry:
      return (task.run_at ? "due " + wire::format_second(*task.run_at) + ", " : "") + task.error;
    case State::active:
      return task.progress.empty() ? "on " + task.worker : task.progress;
    case State::archived:
    case State::held:
      return task.reason + (task.error.empty() ? "" : ": " + task.error);
    case State::completed:
      return task.result;
    default:
      return task.payload;
  }
}

void add_row(Table& table, const Task& task) {
  table.add({format_ref(task.ref), std::string{to_string(task.state)}, task.kind,
             fmt::format("{}/{}", task.retries, task.retries_max),
             task.created_at ? wire::format_second(*task.created_at) : "",
             cut(one_line(note_of(task)), 100)});
}

int list(ListArguments& arguments, const Io& io) {
  if (!arguments.words.empty() && !arguments.filter.words.empty())
    throw Usage{"give either FILTER or --filter"};
  if (!arguments.words.empty()) arguments.filter.words = arguments.words;
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  TaskQuery query{.filter = arguments.filter.filter(inspector.now()),
                  .cursor = arguments.cursor,
                  .limit = arguments.limit};
  Table table{{"TASK", "STATE", "KIND", "RETRIES", "CREATED", "NOTE"}};
  std::size_t count = 0;
  do {
    if (arguments.all) query.limit = 1000;
    const Page page = inspector.tasks(query);
    for (const Task& task : page.tasks) {
      if (arguments.json) {
        io.out << json_line([&](json::Writer& writer) { members(writer, task); });
      } else {
        add_row(table, task);
      }
    }
    count += page.tasks.size();
    query.cursor = page.next;
    if (!arguments.all) query.limit -= std::min(query.limit, page.tasks.size());
    // A page may end early because its time is up; then the rest of it is still wanted.
  } while (!query.cursor.empty() && (arguments.all || query.limit > 0));
  if (arguments.json) {
    if (query.cursor.empty()) return ok;
    io.out << json_line([&](json::Writer& writer) { writer.member("cursor", query.cursor); });
    return ok;
  }
  if (count > 0) table.print(io.out);
  io.out << std::flush;
  if (count == 0) io.err << "no task matches\n";
  if (!query.cursor.empty()) io.err << fmt::format("there are more: --all, or --cursor '{}'\n", query.cursor);
  return ok;
}

void show_text(std::ostream& out, const Task& task, const std::vector<Attempt>& attempts) {
  const auto line = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out << fmt::format("{:<11} {}\n", name, one_line(value));
  };
  const auto time = [&](std::string_view name, const std::optional<TimePoint>& at) {
    if (at) line(name, wire::format_time(*at));
  };
  line("task", format_ref(task.ref));
  line("kind", task.kind);
  line("state", std::string{to_string(task.state)} + (task.reason.empty() ? "" : ": " + task.reason));
  line("payload", task.payload);
  for (const auto& [name, value] : task.headers) line("header", name + ": " + value);
  line("group", task.group);
  if (task.priority != 0) line("priority", std::to_string(task.priority));
  line("attempts", std::to_string(task.attempt));
  line("retries", fmt::format("{} of {}", task.retries, task.retries_max));
  line("crashes", fmt::format("{} of {}", task.crashes, task.crashes_max));
  line("timeout", task.timeout == Duration::zero() ? "none" : wire::format_duration(task.timeout));
  if (task.retention != Duration::zero()) line("retention", wire::format_duration(task.retention));
  if (task.unique) line("unique", task.unique->key);
  time("created", task.created_at);
  time("due", task.run_at);
  time("deadline", task.deadline);
  time("expires", task.expires_at);
  time("started", task.started_at);
  time("ended", task.ended_at);
  line("worker", task.worker);
  line("progress", task.progress);
  line("result", task.result);
  line("error", task.error);
  for (const Attempt& attempt : attempts) {
    out << fmt::format("\nattempt {}  {}, {}, worker {}: {}\n", attempt.number,
                       wire::format_time(attempt.started_at),
                       wire::format_duration(attempt.ended_at - attempt.started_at), attempt.worker,
                       attempt.error.empty() ? "success" : one_line(attempt.error));
    for (const LogLine& log : attempt.logs) {
      out << fmt::format("  {} {:<7} {}\n", wire::format_time(log.at), to_string(log.level),
                         one_line(log.text));
    }
  }
}

struct ShowArguments {
  StoreOption store = {};
  std::optional<std::string> queue = {};
  std::string id = {};
  bool json = false;
};

int show(const ShowArguments& arguments, const Io& io) {
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  const Ref ref = parse_ref(arguments.id, arguments.queue);
  const std::optional<Task> task = inspector.task(ref);
  if (!task) {
    throw Error{ErrorKind::invalid,
                fmt::format("queue \"{}\" has no task \"{}\"; name it by QUEUE/ID, or with --queue",
                            ref.queue, ref.id)};
  }
  const std::vector<Attempt> attempts = inspector.attempts(ref);
  if (!arguments.json) {
    show_text(io.out, *task, attempts);
    return ok;
  }
  io.out << json_line([&](json::Writer& writer) {
    members(writer, *task);
    writer.member("etag", etag(*task));
    writer.key("attempts");
    wire::write_array(writer, attempts, [](json::Writer& out, const Attempt& each) { write(out, each); });
  });
  return ok;
}

void add_show(Commands& commands, CLI::App& tasks) {
  CLI::App& command = commands.add(tasks, "show", "Shows all of one task", show_help);
  const auto arguments = std::make_shared<ShowArguments>();
  add_string(command, "TASK", "", arguments->id, "QUEUE/ID, or an ID").required();
  add_string(command, "--queue", "NAME", arguments->queue, "The queue of an ID");
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return show(*arguments, io); });
}

}  // namespace

Filter FilterArguments::filter(TimePoint now) const {
  Filter filter = wire::parse_filter(words, now);
  if (queue) filter.queue = *queue;
  if (kind) filter.kind = *kind;
  if (group) filter.group = *group;
  if (text) filter.text = *text;
  if (states.empty()) return filter;
  filter.states = {};
  for (const State state : states) filter.states = filter.states + state;
  return filter;
}

void add_filter(CLI::App& command, FilterArguments& filter) {
  static constexpr std::array states = {State::scheduled,   State::pending,   State::active,
                                        State::retry,       State::completed, State::archived,
                                        State::aggregating, State::held,      State::blocked};
  add_string(command, "--queue", "NAME", filter.queue, "Of this queue");
  add_string(command, "--kind", "KIND", filter.kind, "Of this kind; a * at its end matches by prefix");
  add_texts(command, "--state", "STATE", "In this state; may be given several times",
            [&filter](const std::string& text) {
              filter.states.push_back(wire::parse_name<State>("state", text, states));
            });
  add_string(command, "--group", "NAME", filter.group, "Of this group");
  add_string(command, "--text", "TEXT", filter.text, "With this in id, payload or error");
  add_string(command, "--filter", "WORDS", filter.words,
             "state: queue: kind: id: group: text: created: and other words for the text");
}

void add_tasks(Commands& commands) {
  CLI::App& command = commands.add("tasks", "Lists tasks, shows them and acts on them", list_help);
  const auto arguments = std::make_shared<ListArguments>();
  add_store(command, arguments->store);
  add_string(command, "FILTER", "", arguments->words, "As --filter");
  add_filter(command, arguments->filter);
  add_number(command, "--limit", arguments->limit, 1, 1000, "How many at most (50)");
  add_string(command, "--cursor", "TEXT", arguments->cursor, "Go on where an earlier list ended");
  command.add_flag("--all", arguments->all, "All that match");
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return list(*arguments, io); });
  command.require_subcommand(0, 1);
  add_show(commands, command);
  add_edit(commands, command);
  add_acts(commands, command);
}

}  // namespace tidemill::cli
