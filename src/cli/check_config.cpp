#include <memory>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/error.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "config/config.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill check-config tidemill.yaml

It reads the file as `tidemill serve --config` does, and says for each mistake where it is and what would be right.
docs/configuration.md has all settings.)";

}  // namespace

void add_check_config(Commands& commands) {
  CLI::App& command = commands.add("check-config", "Checks the server's configuration", help_text);
  const auto file = std::make_shared<std::string>();
  add_string(command, "FILE", "", *file, "The configuration, in YAML").required();
  commands.runs(command, [file](const Io& io) {
    const config::Config config = config::load(*file);
    try {
      config::check_reach(config);
    } catch (const Error& error) {
      throw Error{error.kind(), fmt::format("{}: {}", *file, error.what())};
    }
    io.out << fmt::format("{}: ok ({} deliveries, {} schedules, {} tokens)\n", *file,
                          config.deliveries.size(), config.schedules ? config.schedules->size() : 0,
                          config.tokens.size());
    return ok;
  });
}

}  // namespace tidemill::cli
