#include <algorithm>
#include <array>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/show.hpp"
#include "cli/tasks.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

struct ActArguments {
  StoreOption store = {};
  Act act = Act::run;
  std::optional<Duration> delay = {};
  std::optional<TimePoint> run_at = {};
  std::optional<std::string> to = {};
  std::vector<std::string> tasks = {};
  FilterArguments filter = {};
  bool all = false;
  bool yes = false;
  bool json = false;
};

struct ActWords {
  Act act;
  const char* what;
  const char* options = "";  ///< That it needs.
};
constexpr std::array words = {
    ActWords{Act::run, "Makes tasks pending now; archived and completed ones with fresh retries"},
    ActWords{Act::hold, "Stops tasks until they are resumed, running ones too"},
    ActWords{Act::resume, "Makes held tasks pending"},
    ActWords{Act::cancel, "Archives tasks as cancelled and stops running ones"},
    ActWords{Act::archive, "Moves tasks that don't run to the archive"},
    ActWords{Act::erase, "Deletes tasks that don't run"},
    ActWords{Act::reschedule, "Makes tasks that wait due at another time", "--delay 2h"},
    ActWords{Act::move, "Puts tasks that wait into another queue, with ids, keys and history", "--to bulk"},
};

std::string help_for(const ActWords& word) {
  return fmt::format(R"(Examples:
  tidemill tasks {0}{1} mail/0190a5e2-…  mail/0190a5e3-…
  tidemill tasks {0}{1} --queue mail 0190a5e2-…
  tidemill tasks {0}{1} --queue mail --state {2} --kind 'mail:*' --all --yes

Without ids it acts on all tasks that match now; --all and --yes say that this is meant.)",
                     to_string(word.act), *word.options == '\0' ? "" : fmt::format(" {}", word.options),
                     *word.options == '\0' ? "archived" : "scheduled");
}

Action action_of(const ActArguments& arguments, Inspector& inspector) {
  if (arguments.act == Act::move) return Action::move(*arguments.to);
  if (arguments.act != Act::reschedule) return arguments.act;
  if (arguments.run_at) return Action::reschedule(*arguments.run_at);
  return Action::reschedule(inspector.now() + *arguments.delay);
}

void add_needed(CLI::App& command, ActArguments& a) {
  if (a.act == Act::reschedule) {
    CLI::Option& delay =
        add_duration(command, "--delay", a.delay, "Due so long from now: 90s, 5m, 1h30m, 2d");
    CLI::Option& at = add_text(command, "--at", "TIME", "Due then: 2027-01-01T00:00:00Z",
                               [&a](const std::string& text) { a.run_at = wire::parse_time(text); });
    delay.excludes(&at);
  }
  if (a.act == Act::move) add_string(command, "--to", "NAME", a.to, "The queue that they go to").required();
}

int act_on_each(const ActArguments& arguments, const Io& io) {
  FilterArguments besides = arguments.filter;
  besides.queue.reset();
  if (arguments.all || !besides.empty()) {
    throw Usage{"there are ids, and options for all tasks that match; give one of them"};
  }
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  std::vector<Ref> refs;
  for (const std::string& text : arguments.tasks) refs.push_back(parse_ref(text, arguments.filter.queue));
  const std::vector<Changed> answers = inspector.act(action_of(arguments, inspector), refs);
  int code = ok;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const bool good = answers[i] == Changed::changed || answers[i] == Changed::signalled;
    if (!good) code = failed;
    if (arguments.json) {
      io.out << json_line([&](json::Writer& writer) {
        writer.member("queue", refs[i].queue);
        writer.member("id", refs[i].id);
        writer.member("answer", to_string(answers[i]));
      });
    } else if (good) {
      io.out << fmt::format("{} {}\n", format_ref(refs[i]), to_string(answers[i]));
    } else {
      io.err << fmt::format("tidemill: {}; can't {} it\n",
                            explain(inspector, refs[i], answers[i], arguments.to.value_or("")),
                            to_string(arguments.act));
    }
  }
  return code;
}

int act_on_all(const ActArguments& arguments, const Io& io) {
  if (!arguments.all) throw Usage{"no task is named; give ids, or --all for all that match"};
  if (!arguments.yes) {
    throw Usage{fmt::format("this would {} all tasks {}; add --yes if that is meant",
                            to_string(arguments.act),
                            arguments.filter.empty() ? "of the store" : "that match")};
  }
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  const auto progress = [&](const BulkResult& so_far) {
    if (io.terminal) io.err << fmt::format("\r{} tasks", so_far.changed) << std::flush;
    return true;
  };
  const BulkResult result =
      inspector.act(action_of(arguments, inspector), arguments.filter.filter(inspector.now()), 500, progress);
  if (io.terminal) io.err << '\r';
  if (arguments.json) {
    io.out << json_line([&](json::Writer& writer) {
      writer.member("changed", result.changed);
      writer.member("unchanged", result.unchanged);
    });
  } else {
    io.out << fmt::format("{} changed", result.changed);
    if (result.unchanged > 0) io.out << fmt::format(", {} left as they are", result.unchanged);
    io.out << '\n';
  }
  return ok;
}

}  // namespace

std::string explain(Inspector& inspector, const Ref& ref, Changed changed, std::string_view queue) {
  const std::string_view where = queue.empty() ? std::string_view{ref.queue} : queue;
  if (changed == Changed::absent) return fmt::format("there is no task {}", format_ref(ref));
  if (changed == Changed::exists) return fmt::format("queue \"{}\" has a task {} already", where, ref.id);
  if (changed == Changed::conflict)
    return fmt::format("another task of queue \"{}\" has the unique key of {}", where, format_ref(ref));
  if (changed == Changed::stale) return fmt::format("task {} is no longer as its etag says", format_ref(ref));
  if (changed != Changed::wrong_state) return fmt::format("task {} could not be written", format_ref(ref));
  const std::optional<Task> task = inspector.task(ref);
  return fmt::format("task {} is {}", format_ref(ref), task ? to_string(task->state) : "gone");
}

void add_acts(Commands& commands, CLI::App& tasks) {
  for (const ActWords& word : words) {
    const std::string name{to_string(word.act)};
    CLI::App& command = commands.add(tasks, name, word.what, help_for(word));
    const auto arguments = std::make_shared<ActArguments>();
    ActArguments& a = *arguments;
    a.act = word.act;
    add_texts(command, "TASK", "", "QUEUE/ID, or an ID", [&a](const std::string& text) {
      a.tasks.push_back(text);
    }).expected(-1);
    add_needed(command, a);
    add_store(command, a.store);
    add_filter(command, a.filter);
    command.add_flag("--all", a.all, "All tasks that match");
    command.add_flag("--yes", a.yes, "Yes, all of them");
    add_json(command, a.json);
    commands.runs(command, [arguments](const Io& io) {
      if (arguments->act == Act::reschedule && !arguments->delay && !arguments->run_at)
        throw Usage{"it is not said when the tasks are due; give --delay or --at"};
      return arguments->tasks.empty() ? act_on_all(*arguments, io) : act_on_each(*arguments, io);
    });
  }
}

}  // namespace tidemill::cli
