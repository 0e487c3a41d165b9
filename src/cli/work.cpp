#include <algorithm>
#include <array>
#include <ostream>
#include <utility>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/schedule.hpp>
#include <tidemill/worker.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "deliver/command_delivery.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill work --on 'greet=sed "s/^/hello /"'
  tidemill work --on 'mail:*=./send-mail' --on 'report:build=make -s report' --queue mail=3 --queue default=1
  tidemill work --on 'import=psql -f -' --concurrency 2

Each task runs its kind's command with /bin/sh: the exact kind, else the longest one that ends in * and
matches. The payload is its input; what it prints is the result (64 KiB), kept for the task's retention; each
line on stderr is a line of the attempt's log. It finds TIDEMILL_ID, TIDEMILL_QUEUE, TIDEMILL_KIND,
TIDEMILL_ATTEMPT (from 1) and TIDEMILL_HEADER_<NAME> in its environment.

Exit codes of a command:
  0       success
  65      hopeless (EX_DATAERR): archived at once, whatever retries are left
  69      not now (EX_UNAVAILABLE): again after --snooze, and no retry is used up
  other   a failure, with the last line on stderr as its error; tried again later

On timeout, cancel, hold and shutdown the command and all that it started get SIGTERM, and after 5 s SIGKILL.
SIGINT and SIGTERM end the worker: what runs may go on for the shutdown timeout, then it is given back.)";

struct Arguments {
  StoreOption store = {};
  std::vector<std::pair<std::string, std::string>> commands = {};
  WorkerOptions worker = {};
  std::vector<QueueWeight> queues = {};
  Duration snooze = std::chrono::minutes{1};
  Level log_level = Level::info;
  bool no_scheduler = false;
};

int work(Arguments& arguments, const Io& io) {
  Router router;
  for (const auto& [kind, text] : arguments.commands) {
    router.handle(kind, deliver::command_handler({.shell = text, .snooze = arguments.snooze}));
  }
  const Log log = Log::to_stderr(arguments.log_level);
  arguments.worker.log = log;
  if (!arguments.queues.empty()) arguments.worker.queues = arguments.queues;
  const auto store = open_store(arguments.store, Access::create);
  Worker worker{*store, router, arguments.worker};
  std::unique_ptr<Scheduler> scheduler;
  if (!arguments.no_scheduler) {
    scheduler = std::make_unique<Scheduler>(*store, SchedulerOptions{.log = log});
    scheduler->start();
  }
  io.out << std::flush;
  worker.run();
  return ok;
}

std::pair<std::string, std::string> read_command(const std::string& text) {
  const auto sign = text.find('=');
  if (sign == std::string::npos || sign == 0 || sign + 1 == text.size()) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("\"{}\" names no command; write KIND=COMMAND, such as 'mail:*=./send-mail'", text)};
  }
  return {text.substr(0, sign), text.substr(sign + 1)};
}

QueueWeight read_queue(const std::string& text) {
  const auto sign = text.rfind('=');
  if (sign == std::string::npos) return {text, 1};
  return {text.substr(0, sign),
          static_cast<std::int32_t>(wire::parse_integer(text.substr(sign + 1), 1, 1000))};
}

}  // namespace

void add_work(Commands& commands) {
  static constexpr std::array levels = {Level::debug, Level::info, Level::warning, Level::error,
                                        Level::silent};
  CLI::App& command = commands.add("work", "Runs tasks by shell commands", help_text);
  const auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  add_texts(command, "--on", "KIND=COMMAND", "The command for a kind; may be given several times",
            [&a](const std::string& text) { a.commands.push_back(read_command(text)); })
      .required();
  add_store(command, a.store);
  add_texts(command, "--queue", "NAME[=WEIGHT]",
            "A queue to work on, with its share (default=1); several times",
            [&a](const std::string& text) { a.queues.push_back(read_queue(text)); });
  command.add_flag("--strict", a.worker.strict,
                   "A later queue waits for the earlier ones, whatever their weights");
  add_number(command, "--concurrency", a.worker.concurrency, 1, 10'000, "Commands at one time (10)");
  add_duration(command, "--snooze", a.snooze, "The pause that exit code 69 asks for (1m)");
  add_duration(command, "--shutdown-timeout", a.worker.shutdown_timeout,
               "How long commands may go on when the worker is to end (20s)");
  command.add_flag("--no-scheduler", a.no_scheduler, "Fires no schedules of this store");
  add_text(command, "--log-level", "LEVEL", "debug, info (default), warning, error or silent",
           [&a](const std::string& text) { a.log_level = wire::parse_name<Level>("level", text, levels); });
  commands.runs(command, [arguments](const Io& io) { return work(*arguments, io); });
}

}  // namespace tidemill::cli
