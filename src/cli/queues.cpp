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
  tidemill queues                                  # counts by state, and how long the oldest has waited
  tidemill queues pause mail                       # nothing is claimed from it until
  tidemill queues resume mail
  tidemill queues delete old                       # off the list; --force: with its tasks
  tidemill queues groups mail                      # groups in which tasks wait to become one
  tidemill queues stats --by minute --since 1h     # outcomes by queue and kind)";

constexpr const char* delete_help = R"(Examples:
  tidemill queues delete old                       # if it has no tasks
  tidemill queues delete old --force               # with its tasks; refused while some run

The next task of that name makes it anew. What it has done stays in the statistics.)";

constexpr const char* stats_help = R"(Examples:
  tidemill queues stats                            # the last 30 days, by day
  tidemill queues stats --by minute --since 1h --queue mail

Workers send their counts with each beat: the last 8 s of a killed one are missing.)";

constexpr std::array shown = {State::pending, State::active,    State::scheduled, State::retry,
                              State::held,    State::completed, State::archived};

struct ListArguments {
  StoreOption store = {};
  bool json = false;
};

std::string queue_json(const QueueInfo& queue) {
  return json_line([&](json::Writer& writer) {
    writer.member("queue", queue.name);
    writer.member("paused", queue.paused);
    writer.member("oldest", seconds(queue.oldest));
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      writer.member(to_string(state), queue.count(state));
    }
  });
}

int list(const ListArguments& arguments, const Io& io) {
  const auto store = open_store(arguments.store, Access::existing);
  const std::vector<QueueInfo> queues = Inspector{*store}.queues();
  std::vector<std::string> heads{"QUEUE"};
  for (const State state : shown) heads.emplace_back(to_string(state));
  heads.insert(heads.end(), {"oldest", ""});
  Table table{heads};
  for (std::size_t i = 1; i < heads.size() - 1; ++i) table.right(i);
  for (const QueueInfo& queue : queues) {
    if (arguments.json) {
      io.out << queue_json(queue);
      continue;
    }
    std::vector<std::string> cells{queue.name};
    for (const State state : shown) cells.push_back(std::to_string(queue.count(state)));
    const bool waits = queue.oldest > Duration::zero();
    cells.push_back(waits ? wire::format_duration(std::chrono::floor<std::chrono::seconds>(queue.oldest))
                          : "-");
    cells.emplace_back(queue.paused ? "paused" : "");
    table.add(std::move(cells));
  }
  if (arguments.json) return ok;
  if (queues.empty()) {
    io.err << "no queue has had a task yet\n";
  } else {
    table.print(io.out);
  }
  return ok;
}

void add_pause(Commands& commands, CLI::App& queues, bool pause) {
  const std::string name = pause ? "pause" : "resume";
  CLI::App& command =
      commands.add(queues, name, pause ? "Lets nothing be claimed from a queue" : "Ends a pause",
                   fmt::format("Example:\n  tidemill queues {} mail", name));
  struct Arguments {
    StoreOption store;
    std::string queue;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_string(command, "QUEUE", "", arguments->queue, "Its name").required();
  add_store(command, arguments->store);
  commands.runs(command, [arguments, pause](const Io& io) {
    const auto store = open_store(arguments->store, Access::existing);
    Inspector inspector{*store};
    pause ? inspector.pause(arguments->queue) : inspector.resume(arguments->queue);
    io.out << fmt::format("{} {}\n", arguments->queue, pause ? "is paused" : "goes on");
    return ok;
  });
}

int groups(const StoreOption& option, const std::string& queue, bool json, const Io& io) {
  constexpr std::size_t page = 1000;
  const auto store = open_store(option, Access::existing);
  Inspector inspector{*store};
  Table table{{"GROUP", "size", "first came", "last came"}};
  table.right(1);
  bool any = false;
  std::vector<GroupInfo> infos;
  do {
    infos = inspector.groups(queue, infos.empty() ? std::string{} : infos.back().name, page);
    for (const GroupInfo& group : infos) {
      any = true;
      if (json) {
        io.out << json_line([&](json::Writer& writer) {
          writer.member("group", group.name);
          writer.member("size", group.size);
          wire::member_time(writer, "first_at", group.first_at);
          wire::member_time(writer, "last_at", group.last_at);
        });
      } else {
        table.add({group.name, std::to_string(group.size), wire::format_second(group.first_at),
                   wire::format_second(group.last_at)});
      }
    }
  } while (infos.size() == page);
  if (json) return ok;
  if (any) {
    table.print(io.out);
  } else {
    io.err << fmt::format("no task waits in a group of queue \"{}\"\n", queue);
  }
  return ok;
}

void add_delete(Commands& commands, CLI::App& queues) {
  CLI::App& command = commands.add(queues, "delete", "Takes a queue off the list", delete_help);
  struct Arguments {
    StoreOption store;
    std::string queue;
    bool force = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_string(command, "QUEUE", "", arguments->queue, "Its name").required();
  add_store(command, arguments->store);
  command.add_flag("--force", arguments->force, "Delete its tasks too, unless some run");
  commands.runs(command, [arguments](const Io& io) {
    const std::string& queue = arguments->queue;
    const auto store = open_store(arguments->store, Access::existing);
    const Changed answer = Inspector{*store}.erase_queue(queue, arguments->force);
    if (answer == Changed::changed) {
      io.out << fmt::format("{} is deleted\n", queue);
      return ok;
    }
    if (answer == Changed::absent) {
      io.err << fmt::format("tidemill: there is no queue \"{}\"\n", queue);
    } else if (arguments->force) {
      io.err << fmt::format(
          "tidemill: queue \"{}\" has tasks in a worker's hands; pause it, and try again when "
          "they have ended\n",
          queue);
    } else {
      io.err << fmt::format("tidemill: queue \"{}\" has tasks; --force deletes them with it\n", queue);
    }
    return failed;
  });
}

void add_groups(Commands& commands, CLI::App& queues) {
  CLI::App& command = commands.add(queues, "groups", "Lists the groups of a queue in which tasks wait",
                                   "Example:\n  tidemill queues groups mail");
  struct Arguments {
    StoreOption store;
    std::string queue;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_string(command, "QUEUE", "", arguments->queue, "Its name").required();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) {
    return groups(arguments->store, arguments->queue, arguments->json, io);
  });
}

struct StatsArguments {
  StoreOption store = {};
  Span span = Span::day;
  std::optional<Duration> since = {};
  std::string queue = {};
  bool json = false;
};

int stats(const StatsArguments& arguments, const Io& io) {
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  const bool by_day = arguments.span == Span::day;
  const Duration usual = by_day ? Duration{std::chrono::days{30}} : Duration{std::chrono::hours{1}};
  const Duration since = arguments.since.value_or(usual);
  const TimePoint now = inspector.now();
  // The day or minute that the time falls into counts whole.
  const Duration step = by_day ? Duration{std::chrono::days{1}} : Duration{std::chrono::minutes{1}};
  const TimePoint from{(now - since).time_since_epoch() / step * step};
  Table table{{"AT", "QUEUE", "KIND", "success", "failure", "crash", "mean run"}};
  for (std::size_t i = 3; i < 7; ++i) table.right(i);
  const std::vector<Stat> rows =
      inspector.stats(arguments.span, from, now + std::chrono::minutes{1}, arguments.queue);
  for (const Stat& row : rows) {
    const std::uint64_t runs = row.success + row.failure;
    const double mean = runs == 0 ? 0 : seconds(row.busy) / static_cast<double>(runs);
    if (arguments.json) {
      io.out << json_line([&](json::Writer& writer) {
        wire::member_time(writer, "at", row.at);
        writer.member("queue", row.queue);
        writer.member("kind", row.kind);
        writer.member("success", row.success);
        writer.member("failure", row.failure);
        writer.member("crash", row.crash);
        writer.member("busy", seconds(row.busy));
      });
    } else {
      table.add({wire::format_second(row.at), row.queue, row.kind, std::to_string(row.success),
                 std::to_string(row.failure), std::to_string(row.crash), fmt::format("{:.3f} s", mean)});
    }
  }
  if (arguments.json) return ok;
  if (rows.empty()) {
    io.err << fmt::format("nothing has ended since {}\n", wire::format_second(from));
  } else {
    table.print(io.out);
  }
  return ok;
}

void add_stats(Commands& commands, CLI::App& queues) {
  CLI::App& command = commands.add(queues, "stats", "Shows outcomes by time, queue and kind", stats_help);
  const auto arguments = std::make_shared<StatsArguments>();
  StatsArguments& a = *arguments;
  add_text(command, "--by", "day|minute",
           "By day (default), kept for a year, or by minute, kept for two days",
           [&a](const std::string& text) {
             const std::array<std::string, 2> names = {"day", "minute"};
             if (text != "day" && text != "minute") wire::refuse_name("span", text, names);
             a.span = text == "day" ? Span::day : Span::minute;
           });
  add_duration(command, "--since", a.since, "How far back (30d by day, 1h by minute)");
  add_string(command, "--queue", "NAME", a.queue, "Of this queue");
  add_store(command, a.store);
  add_json(command, a.json);
  commands.runs(command, [arguments](const Io& io) { return stats(*arguments, io); });
}

}  // namespace

void add_queues(Commands& commands) {
  CLI::App& command =
      commands.add("queues", "Lists queues, pauses and deletes them, shows statistics", list_help);
  const auto arguments = std::make_shared<ListArguments>();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return list(*arguments, io); });
  command.require_subcommand(0, 1);
  add_pause(commands, command, true);
  add_pause(commands, command, false);
  add_delete(commands, command);
  add_groups(commands, command);
  add_stats(commands, command);
}

}  // namespace tidemill::cli
