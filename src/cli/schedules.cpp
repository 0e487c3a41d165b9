#include <array>
#include <istream>
#include <iterator>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/show.hpp"
#include "cli/table.hpp"
#include "cli/task_options.hpp"
#include "core/schedule_rule.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* list_help = R"(Examples:
  tidemill schedules
  tidemill schedules put nightly --spec '30 2 * * MON-FRI' --zone Europe/Berlin --kind report --payload '{}'
  tidemill schedules preview nightly --count 3
  tidemill schedules pause nightly
  tidemill schedules fire nightly        # now, besides its instants
  tidemill schedules erase nightly

They fire while a scheduler runs: that of `tidemill work`, or a program's own.)";

constexpr const char* put_help = R"(Examples:
  tidemill schedules put nightly --spec '30 2 * * MON-FRI' --zone Europe/Berlin --kind report:nightly
  tidemill schedules put pulse --spec '@every 90s' --kind pulse --overlap skip --missed skip --queue fast
  tidemill schedules put sums --spec @hourly --jitter 5m --kind sums --payload '{"all":true}' --retries 3

It makes the schedule or changes it; what is not said has its default again.)";

constexpr const char* preview_help = R"(Examples:
  tidemill schedules preview nightly --count 3
  tidemill schedules preview --spec '0 9 * * MON' --zone Asia/Tokyo      # of one that is not stored)";

[[noreturn]] void refuse_unknown(Inspector& inspector, const std::string& id) {
  std::vector<std::string> ids;
  for (const ScheduleInfo& info : inspector.schedules()) ids.push_back(info.schedule.id);
  throw Error{ErrorKind::invalid,
              fmt::format("there is no schedule \"{}\"{}", id, wire::suggestion(id, ids))};
}

struct ListArguments {
  StoreOption store = {};
  bool json = false;
};

std::string schedule_json(const ScheduleInfo& info) {
  return json_line([&](json::Writer& writer) {
    const Schedule& schedule = info.schedule;
    writer.member("id", schedule.id);
    writer.member("spec", schedule.spec);
    writer.member("zone", schedule.zone);
    writer.member("gap", to_string(schedule.gap));
    writer.member("fold", to_string(schedule.fold));
    writer.member("missed", to_string(schedule.missed));
    writer.member("overlap", to_string(schedule.overlap));
    writer.member("jitter", seconds(schedule.jitter));
    writer.member("queue", schedule.options.queue);
    writer.member("kind", schedule.kind);
    wire::member_payload(writer, schedule.payload);
    writer.member("owner", info.owner);
    writer.member("paused", info.paused);
    writer.member("read_only", info.read_only);
    wire::member_time(writer, "next", info.next);
    wire::member_time(writer, "last", info.last);
  });
}

int list(const ListArguments& arguments, const Io& io) {
  const auto store = open_store(arguments.store, Access::existing);
  const std::vector<ScheduleInfo> schedules = Inspector{*store}.schedules();
  Table table{{"SCHEDULE", "SPEC", "ZONE", "QUEUE", "KIND", "LAST", "NEXT", "OWNER"}};
  for (const ScheduleInfo& info : schedules) {
    if (arguments.json) {
      io.out << schedule_json(info);
      continue;
    }
    const Schedule& schedule = info.schedule;
    table.add({schedule.id, schedule.spec, schedule.zone, schedule.options.queue, schedule.kind,
               info.last ? wire::format_second(*info.last) : "-",
               info.paused ? "paused" : wire::format_second(info.next), info.owner});
  }
  if (arguments.json) return ok;
  if (schedules.empty()) {
    io.err << "there is no schedule\n";
  } else {
    table.print(io.out);
  }
  return ok;
}

// ---- put and preview

struct PutArguments {
  StoreOption store = {};
  Schedule schedule = {};
  Draft draft = {};
  std::int64_t count = 5;
};

void add_rule(CLI::App& command, Schedule& schedule) {
  add_string(command, "--spec", "CRON", schedule.spec, "'30 2 * * MON-FRI', @daily, '@every 90s'");
  add_string(command, "--zone", "ZONE", schedule.zone, "Such as Europe/Berlin (UTC)");
  add_text(command, "--gap", "WAY", "Of a local time that does not exist: skip, before or after (default)",
           [&](const std::string& text) { schedule.gap = wire::parse_name<Gap>("gap", text, all_gaps); });
  add_text(command, "--fold", "WAY", "Of a local time that occurs twice: first (default), last or both",
           [&](const std::string& text) { schedule.fold = wire::parse_name<Fold>("fold", text, all_folds); });
}

int put(PutArguments& arguments, const Io& io) {
  Schedule& schedule = arguments.schedule;
  const NewTask task = arguments.draft.finish();
  schedule.payload = task.payload;
  if (schedule.payload == "-") schedule.payload.assign(std::istreambuf_iterator<char>{io.in}, {});
  schedule.options = task.options;
  const auto store = open_store(arguments.store, Access::create);
  Inspector inspector{*store};
  inspector.put_schedule(schedule);
  const std::optional<ScheduleInfo> info = inspector.schedule(schedule.id);
  io.out << fmt::format("{} fires next at {}\n", schedule.id, info ? wire::format_time(info->next) : "?");
  return ok;
}

void add_put(Commands& commands, CLI::App& schedules) {
  CLI::App& command = commands.add(schedules, "put", "Makes a schedule or changes it", put_help);
  const auto arguments = std::make_shared<PutArguments>();
  Schedule& schedule = arguments->schedule;
  add_string(command, "ID", "", schedule.id, "Its name").required();
  add_rule(command, schedule);
  command.get_option("--spec")->required();
  add_text(
      command, "--missed", "WAY", "Of instants that passed unseen: skip, once (default) or all",
      [&](const std::string& text) { schedule.missed = wire::parse_name<Missed>("way", text, all_missed); });
  add_text(command, "--overlap", "WAY", "While its last task has not ended: allow (default), skip or queue",
           [&](const std::string& text) {
             schedule.overlap = wire::parse_name<Overlap>("way", text, all_overlaps);
           });
  add_duration(command, "--jitter", schedule.jitter, "Each firing is late by up to so much");
  add_string(command, "--kind", "KIND", schedule.kind, "Of the task that it enqueues").required();
  add_string(command, "--payload", "TEXT", arguments->draft.task.payload,
             "Of that task; - reads it from the input");
  add_store(command, arguments->store);
  add_task_options(command, arguments->draft, true);
  commands.runs(command, [arguments](const Io& io) { return put(*arguments, io); });
}

int show_preview(const PutArguments& arguments, const Io& io) {
  Schedule schedule = arguments.schedule;
  TimePoint now = Clock::system().now();
  if (schedule.id.empty() == schedule.spec.empty())
    throw Usage{"give either the ID of a schedule or a --spec"};
  if (schedule.spec.empty()) {
    const auto store = open_store(arguments.store, Access::existing);
    Inspector inspector{*store};
    const std::optional<ScheduleInfo> info = inspector.schedule(schedule.id);
    if (!info) refuse_unknown(inspector, schedule.id);
    schedule = info->schedule;
    now = inspector.now();
  }
  const std::vector<TimePoint> instants = preview(schedule, now, static_cast<std::size_t>(arguments.count));
  for (const TimePoint instant : instants) io.out << wire::format_time(instant) << '\n';
  if (instants.empty()) io.err << "it never fires\n";
  return ok;
}

void add_preview(Commands& commands, CLI::App& schedules) {
  CLI::App& command = commands.add(schedules, "preview", "Shows when a schedule fires next", preview_help);
  const auto arguments = std::make_shared<PutArguments>();
  add_string(command, "ID", "", arguments->schedule.id, "Its name");
  add_rule(command, arguments->schedule);
  add_number(command, "--count", arguments->count, 1, 1000, "How many instants (5)");
  add_store(command, arguments->store);
  commands.runs(command, [arguments](const Io& io) { return show_preview(*arguments, io); });
}

// ---- One id and no more

enum class Verb : unsigned char { pause, resume, fire, erase };

std::string do_verb(Inspector& inspector, Verb verb, const std::string& id) {
  switch (verb) {
    case Verb::pause:
    case Verb::resume:
      if (!inspector.pause_schedule(id, verb == Verb::pause)) refuse_unknown(inspector, id);
      return fmt::format("{} {}", id, verb == Verb::pause ? "is paused" : "goes on");
    case Verb::fire: {
      const std::optional<Enqueued> answer = inspector.fire_schedule(id);
      if (!answer) refuse_unknown(inspector, id);
      return fmt::format("{} {}", answer->id, to_string(answer->put));
    }
    case Verb::erase:
      if (!inspector.erase_schedule(id)) refuse_unknown(inspector, id);
      return fmt::format("{} is erased", id);
  }
  return {};
}

void add_verb(Commands& commands, CLI::App& schedules, Verb verb, const std::string& name,
              const std::string& what) {
  CLI::App& command =
      commands.add(schedules, name, what, fmt::format("Example:\n  tidemill schedules {} nightly", name));
  struct Arguments {
    StoreOption store;
    std::string id;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_string(command, "ID", "", arguments->id, "Its name").required();
  add_store(command, arguments->store);
  commands.runs(command, [arguments, verb](const Io& io) {
    const auto store = open_store(arguments->store, Access::existing);
    Inspector inspector{*store};
    io.out << do_verb(inspector, verb, arguments->id) << '\n';
    return ok;
  });
}

}  // namespace

void add_schedules(Commands& commands) {
  CLI::App& command = commands.add("schedules", "Lists schedules, makes and changes them", list_help);
  const auto arguments = std::make_shared<ListArguments>();
  add_store(command, arguments->store);
  add_json(command, arguments->json);
  commands.runs(command, [arguments](const Io& io) { return list(*arguments, io); });
  command.require_subcommand(0, 1);
  add_put(commands, command);
  add_preview(commands, command);
  add_verb(commands, command, Verb::pause, "pause", "Stops a schedule until it is resumed");
  add_verb(commands, command, Verb::resume, "resume", "Ends a pause");
  add_verb(commands, command, Verb::fire, "fire", "Enqueues a schedule's task now");
  add_verb(commands, command, Verb::erase, "erase", "Deletes a schedule");
}

}  // namespace tidemill::cli
