#include <array>

#include "config/sections.hpp"

namespace tidemill::config {

namespace {

using namespace std::chrono_literals;

constexpr std::array levels = {Level::debug, Level::info, Level::warning, Level::error, Level::silent};

using FileSetting = Setting<LogFileOptions>;
constexpr std::array file_settings = {
    FileSetting{"path", [](LogFileOptions& f, const Node& n) { f.path = n.text(); }},
    FileSetting{"size", [](LogFileOptions& f, const Node& n) { f.bytes_max = n.size(0); }},
    FileSetting{"age", [](LogFileOptions& f, const Node& n) { f.age_max = n.duration(); }},
    FileSetting{"keep", [](LogFileOptions& f,
                           const Node& n) { f.keep = static_cast<std::size_t>(n.integer(0, 10'000)); }},
    FileSetting{"gzip", [](LogFileOptions& f, const Node& n) { f.gzip = n.truth(); }},
};

LogFileOptions read_file(const Node& node) {
  LogFileOptions file;
  if (node.is_scalar()) {
    file.path = node.text();
  } else {
    read_settings<LogFileOptions>(node, file, file_settings);
  }
  if (file.path.empty()) node.wrong("a log file needs a path");
  return file;
}

void read_format(Logging& logging, const Node& node) {
  const std::string word = node.text();
  if (word != "text" && word != "json") node.wrong("must be text or json");
  logging.format = word == "json" ? LogFormat::json : LogFormat::text;
}

void read_statements(Logging& logging, const Node& node) {
  if (node.is_scalar() && (node.text() == "true" || node.text() == "false")) {
    logging.statements = node.truth();
    return;
  }
  logging.statements = true;
  logging.statements_file = read_file(node);
}

using Each = Setting<Logging>;
constexpr std::array settings = {
    Each{"level", [](Logging& l, const Node& n) { l.level = n.name<Level>("level", levels); }},
    Each{"format", read_format},
    Each{"source", [](Logging& l, const Node& n) { l.source = n.truth(); }},
    Each{"file", [](Logging& l, const Node& n) { l.file = read_file(n); }},
    Each{"statements", read_statements},
};

}  // namespace

void read_logging(Config& config, const Node& node) {
  read_settings<Logging>(node, config.log, settings);
  for (auto* const file : {&config.log.file, &config.log.statements_file}) {
    if (*file) (*file)->format = config.log.format;
  }
}

}  // namespace tidemill::config
