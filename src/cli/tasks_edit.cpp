#include <algorithm>
#include <array>
#include <functional>
#include <istream>
#include <iterator>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>

#include "cli/show.hpp"
#include "cli/task_options.hpp"
#include "cli/tasks.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill tasks edit mail/0190a5e2-… --payload '{"to":"ada@example.com"}'
  tidemill tasks edit mail/0190a5e2-… --priority 10 --retries 3 --deadline none
  tidemill tasks edit blobs/0190a5e2-… --payload - < picture.png
  tidemill tasks edit mail/0190a5e2-… --timeout 1h --etag 98e5…   # `tasks show --json` has the etag

What isn't said stays as it is. A task that runs or has succeeded can't be edited; what failed for good can,
and `tidemill tasks run` lets it run again.)";

/// What may be said of a task that is there; the options of `enqueue` have the same names.
constexpr std::array<std::string_view, 8> names = {"priority", "retries",   "crashes", "timeout",
                                                   "deadline", "retention", "expires", "header"};

struct EditArguments {
  StoreOption store = {};
  std::optional<std::string> queue = {};
  std::string task = {};
  std::string etag = {};
  bool json = false;
  std::optional<std::string> payload = {};
  std::vector<std::function<void(Draft&)>> changes = {};
};

/// A mistake in `text` is found here, and not when the task has been read.
void take(EditArguments& arguments, std::function<void(Draft&)> change) {
  Draft draft;
  change(draft);
  arguments.changes.push_back(std::move(change));
}

void take_option(EditArguments& arguments, const TaskOption& option, const std::string& text) {
  if (text == "none" && option.name == "deadline")
    return take(arguments, [](Draft& draft) { draft.task.options.deadline.reset(); });
  if (text == "none" && option.name == "expires")
    return take(arguments, [](Draft& draft) { draft.task.options.expires_at.reset(); });
  take(arguments, [set = option.set, text](Draft& draft) { set(draft, text); });
}

int edit(EditArguments& arguments, const Io& io) {
  if (arguments.payload) {
    std::string payload = *arguments.payload;
    if (payload == "-") payload.assign(std::istreambuf_iterator<char>{io.in}, {});
    take(arguments, [payload](Draft& draft) { draft.task.payload = payload; });
  }
  if (arguments.changes.empty()) throw Usage{"nothing is to be changed; give --payload or another option"};
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  const Ref ref = parse_ref(arguments.task, arguments.queue);
  const auto change = [&](NewTask& task) {
    Draft draft{.task = std::move(task)};
    for (const auto& each : arguments.changes) each(draft);
    task = std::move(draft.task);
  };
  const Changed answer = inspector.edit(ref, change, arguments.etag);
  if (arguments.json) {
    io.out << json_line([&](json::Writer& writer) {
      writer.member("queue", ref.queue);
      writer.member("id", ref.id);
      writer.member("answer", to_string(answer));
    });
  } else if (answer == Changed::changed) {
    io.out << fmt::format("{} {}\n", format_ref(ref), to_string(answer));
  } else {
    io.err << fmt::format("tidemill: {}; can't edit it\n", explain(inspector, ref, answer));
  }
  return answer == Changed::changed ? ok : failed;
}

void add_changes(CLI::App& command, EditArguments& a) {
  add_text(command, "--kind", "KIND", "What is to be done",
           [&a](const std::string& text) { take(a, [text](Draft& draft) { draft.task.kind = text; }); });
  add_string(command, "--payload", "TEXT", a.payload, "Bytes for the handler; - reads them from the input");
  for (const TaskOption& option : task_options()) {
    if (std::ranges::find(names, option.name) == names.end()) continue;
    const bool ends = option.name == "deadline" || option.name == "expires";
    const bool many = option.name == "header";
    const auto read = [&a, &option](const std::string& text) { take_option(a, option, text); };
    const std::string what = ends ? option.what + "; none: no such time" : option.what;
    (many ? add_texts : add_text)(command, "--" + option.name, option.type, what, read);
  }
  add_texts(command, "--drop-header", "NAME", "Takes a header away; may be given several times",
            [&a](const std::string& text) {
              take(a, [text](Draft& draft) { draft.task.options.headers.erase(text); });
            });
}

}  // namespace

void add_edit(Commands& commands, CLI::App& tasks) {
  CLI::App& command =
      commands.add(tasks, "edit", "Overwrites what is given of a task that doesn't run", help_text);
  const auto arguments = std::make_shared<EditArguments>();
  EditArguments& a = *arguments;
  add_string(command, "TASK", "", a.task, "QUEUE/ID, or an ID").required();
  add_string(command, "--queue", "NAME", a.queue, "The queue of an ID");
  add_store(command, a.store);
  add_changes(command, a);
  add_string(command, "--etag", "TAG", a.etag,
             "Only if the task is as it was when `tasks show --json` said so");
  add_json(command, a.json);
  commands.runs(command, [arguments](const Io& io) { return edit(*arguments, io); });
}

}  // namespace tidemill::cli
