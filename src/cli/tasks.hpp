#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/inspector.hpp>
#include <tidemill/store.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"

namespace tidemill::cli {

/// Which tasks, as said on the command line.
struct FilterArguments {
  std::optional<std::string> queue = {};
  std::optional<std::string> kind = {}, group = {}, text = {};
  std::vector<State> states = {};
  std::string words = {};  ///< As the API's q: wire/task_filter.hpp.

  /// Throws Error{invalid}.
  Filter filter(TimePoint now) const;
  bool empty() const { return !queue && !kind && !group && !text && states.empty() && words.empty(); }
};
void add_filter(CLI::App& command, FilterArguments& filter);

/// `tasks run`, `hold` and all other acts.
void add_acts(Commands& commands, CLI::App& tasks);
/// `tasks edit`.
void add_edit(Commands& commands, CLI::App& tasks);

/// Why an act or edit had no effect on a task; `queue` is where it was to go, if that is another.
std::string explain(Inspector& inspector, const Ref& ref, Changed changed, std::string_view queue = "");

}  // namespace tidemill::cli
