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
  std::vector<std::string> tasks = {};
  FilterArguments filter = {};
  bool all = false;
  bool yes = false;
  bool json = false;
};

struct ActWords {
  Act act;
  const char* what;
};
constexpr std::array words = {
    ActWords{Act::run, "Makes tasks pending now; archived and completed ones with fresh retries"},
    ActWords{Act::hold, "Stops tasks until they are resumed, running ones too"},
    ActWords{Act::resume, "Makes held tasks pending"},
    ActWords{Act::cancel, "Archives tasks as cancelled and stops running ones"},
    ActWords{Act::archive, "Moves tasks that don't run to the archive"},
    ActWords{Act::erase, "Deletes tasks that don't run"},
};

std::string help_for(std::string_view act) {
  return fmt::format(R"(Examples:
  tidemill tasks {0} mail/0190a5e2-…  mail/0190a5e3-…
  tidemill tasks {0} --queue mail 0190a5e2-…
  tidemill tasks {0} --queue mail --state archived --kind 'mail:*' --all --yes

Without ids it acts on all tasks that match now; --all and --yes say that this is meant.)",
                     act);
}

/// Why an act had no effect on a task.
std::string explain(Inspector& inspector, const Ref& ref, Changed changed) {
  if (changed == Changed::absent) return fmt::format("there is no task {}", format_ref(ref));
  if (changed != Changed::wrong_state) return fmt::format("task {} could not be written", format_ref(ref));
  const std::optional<Task> task = inspector.task(ref);
  return fmt::format("task {} is {}", format_ref(ref), task ? to_string(task->state) : "gone");
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
  const std::vector<Changed> answers = inspector.act(arguments.act, refs);
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
      io.err << fmt::format("tidemill: {}; can't {} it\n", explain(inspector, refs[i], answers[i]),
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
  const BulkResult result = inspector.act(arguments.act, arguments.filter.filter(), 500, progress);
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

void add_acts(Commands& commands, CLI::App& tasks) {
  for (const ActWords& word : words) {
    const std::string name{to_string(word.act)};
    CLI::App& command = commands.add(tasks, name, word.what, help_for(name));
    const auto arguments = std::make_shared<ActArguments>();
    ActArguments& a = *arguments;
    a.act = word.act;
    add_texts(command, "TASK", "", "QUEUE/ID, or an ID", [&a](const std::string& text) {
      a.tasks.push_back(text);
    }).expected(-1);
    add_store(command, a.store);
    add_filter(command, a.filter);
    command.add_flag("--all", a.all, "All tasks that match");
    command.add_flag("--yes", a.yes, "Yes, all of them");
    add_json(command, a.json);
    commands.runs(command, [arguments](const Io& io) {
      return arguments->tasks.empty() ? act_on_all(*arguments, io) : act_on_each(*arguments, io);
    });
  }
}

}  // namespace tidemill::cli
