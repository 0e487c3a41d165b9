#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <tidemill/client.hpp>

namespace CLI {
class App;
}

namespace tidemill::cli {

/// A task as far as it has been said. The pieces of its unique key come one by one.
struct Draft {
  NewTask task = {};
  bool is_unique = false;
  Unique unique = {};
  bool has_unique_details = false;

  /// Throws Error{invalid} when pieces do not fit together.
  NewTask finish() const;
};

enum class TextType : unsigned char { text, number, truth, key };

/// One thing to say about a task: `--unique-for 1h` on the command line is `"unique_for": "1h"` in JSON
/// lines.
struct TaskOption {
  std::string name;
  std::string type;
  std::string what;
  TextType json;  ///< `key` is a text or a truth.
  /// Throws Error{invalid} for a text that does not read. A truth comes as "true" or "false".
  void (*set)(Draft& draft, std::string_view text);
  bool in_schedules = true;
};

std::span<const TaskOption> task_options();

/// Adds them to a command; `draft` must outlive it.
void add_task_options(CLI::App& command, Draft& draft, bool schedule);

/// "name=value".
void set_header(Draft& draft, std::string_view text);

}  // namespace tidemill::cli
