#include "yaml/schedules.hpp"

#include <array>
#include <map>
#include <span>

#include <fmt/format.h>

#include <tidemill/periodic_file.hpp>

#include "core/schedule_rule.hpp"

namespace tidemill {

namespace yaml {

namespace {

using Option = Setting<EnqueueOptions>;

void read_unique(EnqueueOptions& options, const Node& node) {
  using Part = Setting<Unique>;
  static constexpr std::array settings = {
      Part{"key", [](Unique& u, const Node& n) { u.key = n.text(); }},
      Part{"for", [](Unique& u, const Node& n) { u.window = n.duration(); }},
      Part{"outlives_task", [](Unique& u, const Node& n) { u.outlives_task = n.truth(); }},
      Part{"on_conflict",
           [](Unique& u, const Node& n) {
             static constexpr std::array all = {OnConflict::keep, OnConflict::reject, OnConflict::replace};
             u.on_conflict = n.name<OnConflict>("way out of a conflict", all);
           }},
  };
  read_settings<Unique>(node, options.unique.emplace(), settings);
}

std::int32_t small(const Node& node, std::int64_t least, std::int64_t most) {
  return static_cast<std::int32_t>(node.integer(least, most));
}

void read_payload(Schedule& schedule, const Node& node, std::string payload) {
  if (!schedule.payload.empty()) node.wrong("there is another payload as well; give one of them");
  schedule.payload = std::move(payload);
}

using Each = Setting<Schedule>;
constexpr Each kind_setting{"kind", [](Schedule& s, const Node& n) { s.kind = n.text(); }};
constexpr Each spec_setting{"spec", [](Schedule& s, const Node& n) { s.spec = n.text(); }};
constexpr std::array option_settings = {
    Each{"payload", [](Schedule& s, const Node& n) { read_payload(s, n, n.json()); }},
    Each{"payload_text", [](Schedule& s, const Node& n) { read_payload(s, n, n.text()); }},
    Each{"queue", [](Schedule& s, const Node& n) { s.options.queue = n.text(); }},
    Each{"priority", [](Schedule& s, const Node& n) { s.options.priority = small(n, -100, 100); }},
    Each{"retries_max", [](Schedule& s, const Node& n) { s.options.retries_max = small(n, 0, 1'000'000); }},
    Each{"crashes_max", [](Schedule& s, const Node& n) { s.options.crashes_max = small(n, 0, 1'000'000); }},
    Each{"timeout", [](Schedule& s, const Node& n) { s.options.timeout = n.duration(); }},
    Each{"delay", [](Schedule& s, const Node& n) { s.options.delay = n.duration(); }},
    Each{"retention", [](Schedule& s, const Node& n) { s.options.retention = n.duration(); }},
    Each{"headers", [](Schedule& s, const Node& n) { s.options.headers = n.text_map(); }},
    Each{"unique", [](Schedule& s, const Node& n) { read_unique(s.options, n); }},
};
constexpr std::array rule_settings = {
    Each{"id", [](Schedule& s, const Node& n) { s.id = n.text(); }},
    Each{"zone", [](Schedule& s, const Node& n) { s.zone = n.text(); }},
    Each{"gap", [](Schedule& s, const Node& n) { s.gap = n.name<Gap>("gap", all_gaps); }},
    Each{"fold", [](Schedule& s, const Node& n) { s.fold = n.name<Fold>("fold", all_folds); }},
    Each{"missed", [](Schedule& s, const Node& n) { s.missed = n.name<Missed>("way", all_missed); }},
    Each{"overlap", [](Schedule& s, const Node& n) { s.overlap = n.name<Overlap>("way", all_overlaps); }},
    Each{"jitter", [](Schedule& s, const Node& n) { s.jitter = n.duration({}, jitter_max); }},
};

std::vector<Each> all_of(std::initializer_list<Each> own,
                         std::initializer_list<std::span<const Each>> others) {
  std::vector<Each> all{own};
  for (const auto& some : others) all.insert(all.end(), some.begin(), some.end());
  return all;
}

void read_task(Schedule& schedule, const Node& node) {
  static const auto settings = all_of({kind_setting}, {option_settings});
  read_settings<Schedule>(node, schedule, settings);
}

/// Ours.
Schedule read_schedule(const Node& node) {
  static const auto settings = all_of({spec_setting, {"task", read_task}}, {rule_settings});
  Schedule schedule;
  read_settings<Schedule>(node, schedule, settings);
  if (schedule.id.empty()) node.wrong("this schedule has no id");
  if (schedule.kind.empty()) node.wrong("its task has no kind");
  if (schedule.spec.empty()) node.wrong("this schedule has no spec");
  return schedule;
}

/// One of `configs`, whose clock goes as Asynq's does.
Schedule read_periodic_task(const Node& node) {
  static const auto settings = all_of({{"cronspec", spec_setting.read}, {"task_type", kind_setting.read}},
                                      {rule_settings, option_settings});
  Schedule schedule{.gap = Gap::skip, .fold = Fold::both, .missed = Missed::skip};
  read_settings<Schedule>(node, schedule, settings);
  if (schedule.spec.empty()) node.wrong("this periodic task has no cronspec");
  if (schedule.kind.empty()) node.wrong("this periodic task has no task_type");
  if (schedule.id.empty()) schedule.id = made_id(schedule);
  return schedule;
}

/// What is missing has been said, and is not to be said again.
Schedule with_what_is_missing(Schedule schedule) {
  if (schedule.id.empty()) schedule.id = "id";
  if (schedule.spec.empty()) schedule.spec = "@daily";
  if (schedule.kind.empty()) schedule.kind = "kind";
  return schedule;
}

void read_each(std::vector<Schedule>& schedules, const Node& list, Schedule (*read)(const Node& node)) {
  std::map<std::string, std::string> places;  // By id.
  for (const Node& each : list.elements()) {
    Schedule schedule = read(each);
    const auto [first, fresh] = places.emplace(schedule.id, each.place());
    if (!fresh && !schedule.id.empty()) {
      each.wrong(fmt::format("there is another schedule \"{}\", at {}; give one of them another id",
                             schedule.id, first->second));
    }
    for (const std::string& fault : faults_of(with_what_is_missing(schedule))) each.wrong(fault);
    schedules.push_back(std::move(schedule));
  }
}

struct File {
  std::vector<Schedule> schedules = {};
  bool filled = false;
};

}  // namespace

void read_schedules(std::vector<Schedule>& schedules, const Node& list) {
  read_each(schedules, list, read_schedule);
}

std::vector<Schedule> read_schedules(std::string_view text, const std::string& file, Mistakes& mistakes) {
  using Part = Setting<File>;
  static constexpr std::array settings = {Part{"configs", [](File& f, const Node& n) {
                                                 f.filled = true;
                                                 read_each(f.schedules, n, read_periodic_task);
                                               }}};
  File read;
  const bool right = mistakes.empty();
  const auto root = parse_yaml(text, file, mistakes);
  if (root && root->is_list()) {
    read_schedules(read.schedules, *root);
  } else {
    if (root) read_settings<File>(*root, read, settings);
    // An empty file is one that somebody is writing, more often than one that says that there are none.
    if (!read.filled && right == mistakes.empty()) {
      mistakes.add(fmt::format(
          "{}: has no list of schedules, nor one of periodic tasks; write `configs: []` for none", file));
    }
  }
  return std::move(read.schedules);
}

}  // namespace yaml

std::vector<Schedule> read_periodic_file(const std::string& path) {
  yaml::Mistakes mistakes;
  const auto text = yaml::read_file(path);
  if (!text) mistakes.add(fmt::format("{}: can't be read, or is no file of 1 MiB at most", path));
  std::vector<Schedule> schedules;
  if (text) schedules = yaml::read_schedules(*text, path, mistakes);
  mistakes.throw_if_any();
  return schedules;
}

}  // namespace tidemill
