#include <array>
#include <set>

#include <fmt/format.h>

#include "config/sections.hpp"
#include "core/schedule_rule.hpp"

namespace tidemill::config {

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
constexpr std::array task_settings = {
    Each{"kind", [](Schedule& s, const Node& n) { s.kind = n.text(); }},
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

constexpr std::array schedule_settings = {
    Each{"id", [](Schedule& s, const Node& n) { s.id = n.text(); }},
    Each{"spec", [](Schedule& s, const Node& n) { s.spec = n.text(); }},
    Each{"zone", [](Schedule& s, const Node& n) { s.zone = n.text(); }},
    Each{"gap", [](Schedule& s, const Node& n) { s.gap = n.name<Gap>("gap", all_gaps); }},
    Each{"fold", [](Schedule& s, const Node& n) { s.fold = n.name<Fold>("fold", all_folds); }},
    Each{"missed", [](Schedule& s, const Node& n) { s.missed = n.name<Missed>("way", all_missed); }},
    Each{"overlap", [](Schedule& s, const Node& n) { s.overlap = n.name<Overlap>("way", all_overlaps); }},
    Each{"jitter", [](Schedule& s, const Node& n) { s.jitter = n.duration({}, jitter_max); }},
    Each{"task", [](Schedule& s, const Node& n) { read_settings<Schedule>(n, s, task_settings); }},
};

void read_list(std::vector<Schedule>& schedules, const Node& node) {
  std::set<std::string> ids;
  for (const Node& each : node.elements()) {
    Schedule schedule;
    read_settings<Schedule>(each, schedule, schedule_settings);
    if (schedule.id.empty()) each.wrong("this schedule has no id");
    if (!schedule.id.empty() && !ids.insert(schedule.id).second)
      each.wrong(fmt::format("there is another schedule \"{}\"", schedule.id));
    if (schedule.kind.empty()) each.wrong("its task has no kind");
    if (schedule.spec.empty())
      each.wrong("this schedule has no spec");
    else
      each.checked([&] { check(schedule, {}); });
    schedules.push_back(std::move(schedule));
  }
}

}  // namespace

void read_schedules(Config& config, const Node& node) {
  auto& schedules = config.schedules.emplace();
  if (!node.is_map()) {
    read_list(schedules, node);
    return;
  }
  using Part = Setting<std::string>;
  static constexpr std::array settings = {Part{"file", [](std::string& s, const Node& n) { s = n.text(); }}};
  std::string file;
  read_settings<std::string>(node, file, settings);
  if (file.empty()) return node.wrong("must be a list of schedules, or {file: schedules.yaml}");
  const std::string text = read_file_beside(node, file);
  if (const auto root = parse_yaml(text, file, node.mistakes())) read_list(schedules, *root);
}

}  // namespace tidemill::config
