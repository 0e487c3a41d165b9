#include "yaml/schedules.hpp"

#include <array>

#include <fmt/format.h>

#include "config/sections.hpp"

namespace tidemill::config {

namespace {

using namespace std::chrono_literals;

using Part = Setting<ScheduleFile>;
constexpr std::array file_settings = {
    Part{"file", [](ScheduleFile& f, const Node& n) { f.path = n.text(); }},
    Part{"sync_interval", [](ScheduleFile& f, const Node& n) { f.sync_interval = n.duration(100ms); }},
};

}  // namespace

void read_schedules(Config& config, const Node& node) {
  auto& schedules = config.schedules.emplace();
  if (!node.is_map()) {
    yaml::read_schedules(schedules, node);
    return;
  }
  ScheduleFile file;
  read_settings<ScheduleFile>(node, file, file_settings);
  if (file.path.empty()) return node.wrong("must be a list of schedules, or {file: schedules.yaml}");
  file.path = beside(node, file.path).string();
  if (const auto text = yaml::read_file(file.path)) {
    schedules = yaml::read_schedules(*text, file.path, node.mistakes());
  } else {
    node.wrong(fmt::format("{} can't be read", file.path));
  }
  config.schedule_file = std::move(file);
}

}  // namespace tidemill::config
