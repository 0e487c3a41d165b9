#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>

namespace tidemill::process {

/// A shell command to run, with what goes in and how much may come out.
struct Command {
  std::string text = {};   ///< For /bin/sh -c.
  std::string input = {};  ///< What it reads.
  /// On top of this process's own; these win.
  std::map<std::string, std::string> environment = {};
  std::size_t output_bytes_max = 64U << 10U;
  std::size_t line_bytes_max = 4096;
  /// Called with each line that it writes to stderr, in the thread of `run`.
  std::function<void(std::string_view)> on_error_line = {};
  /// From SIGTERM to SIGKILL, when it is stopped.
  std::chrono::milliseconds grace = std::chrono::seconds{5};
};

struct End {
  int exit_code = 0;     ///< Where no signal ended it.
  int signal = 0;        ///< The one that ended it; zero: none did.
  bool stopped = false;  ///< It was told to stop before it ended.
  std::string output = {};
  bool output_cut = false;  ///< There was more than `output_bytes_max`.
  std::string last_error_line = {};
};

/// Runs a command in a process group of its own, until its shell has ended. What it has left in that group by
/// then is killed, so that nothing works on a task whose outcome is known; a process that is to stay calls
/// setsid.
///
/// When `stop` fires, the group gets SIGTERM, and after the grace SIGKILL.
///
/// Throws std::system_error when it can't be started: no memory, no process or no file descriptor is left.
///
/// Thread safety: may be called from many threads at once.
End run(const Command& command, std::stop_token stop);

}  // namespace tidemill::process
