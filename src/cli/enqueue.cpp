#include "cli/enqueue.hpp"

#include <istream>
#include <iterator>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/client.hpp>
#include <tidemill/json.hpp>

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill enqueue mail:send '{"to":"ada@example.com"}'
  tidemill enqueue report:build --delay 1h30m --retries 3 --timeout 10m --queue slow
  tidemill enqueue greet ada --at 2027-01-01T00:00:00Z
  tidemill enqueue sync:user 42 --unique --unique-for 1h --on-conflict reject
  tidemill enqueue blob - < picture.png          # the payload is what is read
  tidemill enqueue log:add -- -5                 # a payload that begins with a dash

It prints the task's id: of the new one, or of the one that was there (by its id or unique key).

Many at once, one JSON object a line, of kind, payload (any JSON: its text is the payload) or payload_text,
and the options above with _ for -, headers as an object; options given here go for each line that has none:
  tidemill enqueue --from-json-lines tasks.jsonl --queue mail
  producer | tidemill enqueue --from-json-lines -
  {"kind":"mail:send","payload":{"to":"ada@example.com"},"delay":"5m","unique":"ada","headers":{"trace":"7f"}}
Each line gets an answer and stands for itself: what is wrong with one does not keep the others back.)";

int enqueue_one(const EnqueueArguments& arguments, const Io& io) {
  if (!arguments.has_kind)
    throw Usage{"the KIND is missing; write for instance: tidemill enqueue mail:send '{}'"};
  NewTask task = arguments.draft.finish();
  if (task.payload == "-") task.payload.assign(std::istreambuf_iterator<char>{io.in}, {});
  const auto store = open_store(arguments.store, Access::create);
  Client client{*store};
  const Enqueued answer = client.enqueue(task.kind, std::move(task.payload), task.options);
  if (arguments.json) {
    std::string line;
    json::Writer writer{line};
    writer.open('{');
    writer.member("queue", task.options.queue);
    writer.member("id", answer.id);
    writer.member("put", to_string(answer.put));
    writer.close('}');
    io.out << line << '\n';
    return ok;
  }
  io.out << answer.id << '\n';
  if (answer.put != Put::created) io.err << fmt::format("tidemill: {}\n", answer.why);
  return ok;
}

int enqueue(const EnqueueArguments& arguments, const Io& io) {
  if (arguments.lines.empty()) return enqueue_one(arguments, io);
  if (arguments.has_kind) throw Usage{"with --from-json-lines each line has its own kind and payload"};
  return enqueue_lines(arguments, io);
}

}  // namespace

bool refused(const Enqueued& answer, const EnqueueOptions& options) {
  switch (answer.put) {
    case Put::created:
    case Put::replaced:
      return false;
    case Put::exists:
      return options.unique && options.unique->on_conflict == OnConflict::reject;
    default:
      return true;
  }
}

void add_enqueue(Commands& commands) {
  CLI::App& command = commands.add("enqueue", "Puts a task, or many, into a queue", help_text);
  const auto arguments = std::make_shared<EnqueueArguments>();
  EnqueueArguments& a = *arguments;
  add_string(command, "KIND", "", a.draft.task.kind, "What is to be done, such as mail:send")
      .each([&a](const std::string&) { a.has_kind = true; });
  add_string(command, "PAYLOAD", "", a.draft.task.payload,
             "Bytes for the handler; - reads them from the input");
  add_store(command, a.store);
  add_task_options(command, a.draft, false);
  add_string(command, "--from-json-lines", "FILE", a.lines,
             "Many tasks, one JSON object a line; -: from the input")
      .expected(0, 1)
      ->default_str("-");
  command.add_flag("--progress", a.progress, "Tells on stderr how far it is, also when that is no terminal");
  add_json(command, a.json);
  commands.runs(command, [arguments](const Io& io) { return enqueue(*arguments, io); });
}

}  // namespace tidemill::cli
