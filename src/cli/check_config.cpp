#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <tidemill/error.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "config/config.hpp"
#include "server/api.hpp"
#include "server/deliveries.hpp"
#include "stores/check_url.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill check-config tidemill.yaml

It reads the file as `tidemill serve --config` does, and says for each mistake where it is and what would be right.
docs/configuration.md has all settings.)";

/// What `serve` would refuse besides what doesn't read, all at once. Nothing is opened for it.
void check(const config::Config& config, const std::string& file) {
  std::vector<std::string> mistakes;
  const auto part = [&](const auto& check_it) {
    try {
      check_it();
    } catch (const Usage& usage) {
      mistakes.push_back(fmt::format("{}: {}", file, usage.message));
    } catch (const Error& error) {
      mistakes.push_back(fmt::format("{}: {}", file, error.what()));
    }
  };
  part([&] {
    refuse_server(config.store, "serve");
    refuse_memory(config.store);
    check_store_url(config.store);
  });
  part([&] { config::check_reach(config); });
  const auto scratch = open("memory:");
  part([&] { server::check_open_routes(server::Api{*scratch}.routes(), config.open_routes); });
  part([&] {
    config::Config few = config;
    few.commands = 1;  // Threads.
    const server::Deliveries deliveries{*scratch, few, Log::silent()};
  });
  if (!mistakes.empty()) throw Error{ErrorKind::invalid, fmt::format("{}", fmt::join(mistakes, "\n"))};
}

}  // namespace

void add_check_config(Commands& commands) {
  CLI::App& command = commands.add("check-config", "Checks the server's configuration", help_text);
  const auto file = std::make_shared<std::string>();
  add_string(command, "FILE", "", *file, "The configuration, in YAML").required();
  commands.runs(command, [file](const Io& io) {
    const config::Config config = config::load(*file);
    check(config, *file);
    io.out << fmt::format("{}: ok ({} deliveries, {} schedules, {} tokens)\n", *file,
                          config.deliveries.size(), config.schedules ? config.schedules->size() : 0,
                          config.tokens.size());
    return ok;
  });
}

}  // namespace tidemill::cli
