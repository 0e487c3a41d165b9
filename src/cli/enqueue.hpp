#pragma once

#include <string>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/task_options.hpp"

namespace tidemill::cli {

struct EnqueueArguments {
  StoreOption store = {};
  bool json = false;
  bool progress = false;
  std::string lines = {};  ///< The file of JSON lines; "-" is the input.
  Draft draft = {};        ///< What goes for each line that does not say otherwise.
  bool has_kind = false;
};

/// What became of one task that was asked for.
bool refused(const Enqueued& answer, const EnqueueOptions& options);

/// `tidemill enqueue --from-json-lines`.
int enqueue_lines(const EnqueueArguments& arguments, const Io& io);

/// Reads a line into `draft`. Throws Error{invalid} that names the field.
void read_line(std::string_view line, Draft& draft);

}  // namespace tidemill::cli
