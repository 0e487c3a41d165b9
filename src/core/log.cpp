#include <tidemill/log.hpp>

#include <fmt/format.h>

#include <vector>

#include <tidemill/log_sinks.hpp>

namespace tidemill {

namespace {

/// No machine's folders: what lies below src/, or the file's name alone.
std::string_view short_path(std::string_view path) {
  constexpr std::string_view root = "/src/";
  const auto below = path.rfind(root);
  if (below != std::string_view::npos) return path.substr(below + root.size());
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0.
}

}  // namespace

Log::Log() : Log(to_stderr(Level::info)) {}

Log::Log(LogSink sink, Level least)
    : sink_(sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr), least_(least) {}

Log Log::silent() { return Log{LogSink{}, Level::silent}; }

Log Log::to_stderr(Level least) {
  static const auto sink = std::make_shared<const LogSink>(stderr_sink(LogFormat::text));
  Log log = silent();
  log.sink_ = sink;
  log.least_ = least;
  return log;
}

Log Log::with_source() const {
  Log log = *this;
  log.source_ = true;
  return log;
}

bool Log::enabled(Level level) const noexcept { return sink_ && level >= least_ && level != Level::silent; }

void Log::write(Level level, std::string_view message, std::initializer_list<Field> fields,
                std::source_location where) const {
  if (!enabled(level)) return;
  if (!source_) return (*sink_)(level, message, {fields.begin(), fields.size()});
  std::vector<Field> all{fields};
  for (Field& field : all) {
    if (field.name == "source") field.name = "_source";
  }
  const std::string source = fmt::format("{}:{}", short_path(where.file_name()), where.line());
  all.push_back({"source", source});
  (*sink_)(level, message, all);
}

}  // namespace tidemill
