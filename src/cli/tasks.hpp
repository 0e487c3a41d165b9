#pragma once

#include <optional>
#include <string>
#include <vector>

#include <tidemill/store.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"

namespace tidemill::cli {

/// Which tasks, as said on the command line.
struct FilterArguments {
  std::optional<std::string> queue = {};
  std::optional<std::string> kind = {}, group = {}, text = {};
  std::vector<State> states = {};

  Filter filter() const;
  bool empty() const { return !queue && !kind && !group && !text && states.empty(); }
};
void add_filter(CLI::App& command, FilterArguments& filter);

/// `tasks run`, `hold`, `resume`, `cancel`, `archive` and `erase`.
void add_acts(Commands& commands, CLI::App& tasks);

}  // namespace tidemill::cli
