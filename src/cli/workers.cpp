#include <array>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/show.hpp"
#include "cli/table.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* list_help = R"(Examples:
  tidemill workers                    # those that have beaten within the last minute
  tidemill workers quiet ID           # claims no more, and lets what runs go on
  tidemill workers resume ID
  tidemill workers stop ID            # stops that process as SIGTERM does)";

struct ListArguments {
  StoreOption store = {};
  bool json = false;
};

std::string worker_json(const WorkerInfo& worker) {
  return json_line([&](json::Writer& writer) {
    writer.member("id", worker.id);
    writer.member("host", worker.host);
    writer.member("pid", worker.pid);
    writer.member("state", worker.state);
    writer.member("queues", worker.queues);
    writer.member("slots", worker.slots);
    writer.member("busy", worker.busy);
    writer.member("stuck", worker.stuck);
    wire::member_time(writer, "started_at", worker.started_at);
    wire::member_time(writer, "beat_at", worker.beat_at);
  });
}

int list(const ListArguments& arguments, const Io& io) {
  const auto store = open_store(arguments.store, Access::existing);
  const std::vector<WorkerInfo> workers = Inspector{*store}.workers();
  Table table{{"WORKER", "HOST", "PID", "STATE", "BUSY", "STUCK", "STARTED", "LAST BEAT", "QUEUES"}};
  table.right(2).right(4).right(5);
  for (const WorkerInfo& worker : workers) {
    if (arguments.json) {
      io.out << worker_json(worker);
      continue;
    }
    std::string queues;
    for (const auto& [name, weight] : worker.queues) {
      queues += fmt::format("{}{}={}", queues.empty() ? "" : " ", name, weight);
    }
    table.add({worker.id, worker.host, std::to_string(worker.pid), worker.state,
               fmt::format("{}/{}", worker.busy, worker.slots), std::to_string(worker.stuck),
               wire::format_second(worker.started_at), wire::format_second(worker.beat_at), queues});
  }
  if (arguments.json) return ok;
  if (workers.empty()) {
    io.err << "no worker has beaten within the last minute\n";
  } else {
    table.print(io.out);
  }
  return ok;
}

void add_signal(Commands& commands, CLI::App& workers, Signal signal, const std::string& what) {
  const std::string name{to_string(signal)};
  CLI::App& command = commands.add(
      workers, name, what, fmt::format("Example:\n  tidemill workers {} ID    # as in the list", name));
  struct Arguments {
    StoreOption store;
    std::string id;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_string(command, "WORKER", "", arguments->id, "Its id").required();
  add_store(command, arguments->store);
  commands.runs(command, [arguments, signal](const Io& io) {
    const auto store = open_store(arguments->store, Access::existing);
    Inspector inspector{*store};
    if (!inspector.signal_worker(arguments->id, signal)) {
      std::vector<std::string> ids;
      for (const WorkerInfo& worker : inspector.workers()) ids.push_back(worker.id);
      throw Error{ErrorKind::invalid,
                  fmt::format("there is no worker \"{}\"{}; `tidemill workers` lists them", arguments->id,
                              wire::suggestion(arguments->id, ids))};
    }
    io.out << fmt::format("{} was told to {}\n", arguments->id, to_string(signal));
    return ok;
  });
}

}  // namespace

void add_workers(Commands& commands) {
  CLI::App& command = commands.add("workers", "Lists workers and signals them", list_help);
  const auto arguments = std::make_shared<ListArguments>();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return list(*arguments, io); });
  command.require_subcommand(0, 1);
  add_signal(commands, command, Signal::quiet, "Tells a worker to claim no more");
  add_signal(commands, command, Signal::resume, "Tells a quiet worker to claim again");
  add_signal(commands, command, Signal::stop, "Tells a worker to stop");
}

}  // namespace tidemill::cli
