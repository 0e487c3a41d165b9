#include <tidemill/version.hpp>

#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/app.hpp"

namespace tidemill::cli {

void add_version(Commands& commands) {
  CLI::App& command = commands.add("version", "Shows the version", "Example:\n  tidemill version");
  commands.runs(command, [](const Io& io) {
    io.out << fmt::format("tidemill {}\n", version());
    return ok;
  });
}

}  // namespace tidemill::cli
