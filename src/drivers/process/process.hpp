#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::process {

/// What each process of a command may take; zero: no limit but ours.
struct Limits {
  std::size_t memory_bytes = 0;  ///< Of its address space: an allocation beyond that fails.
  std::chrono::seconds cpu{};    ///< Processor time: SIGXCPU ends it.
  std::size_t files = 0;         ///< Open files.
};

/// A command to run, with what goes in and how much may come out.
struct Command {
  std::vector<std::string> argv = {};  ///< A program, looked for in PATH, and its arguments,
  std::string shell = {};              ///< or else this, for /bin/sh -c.
  std::string directory = {};          ///< To run in; empty: this process's own.
  Limits limits = {};
  std::string input = {};  ///< What it reads.
  /// On top of this process's own; these win.
  std::map<std::string, std::string> environment = {};
  std::vector<std::string> withheld = {};  ///< Variables of this process's own that it doesn't find.
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

/// Runs a command in a process group of its own, until it has ended; of a shell command, its shell. What it
/// has left in that group by then is killed, so that nothing works on when the end is known; a process that
/// is to stay calls setsid.
///
/// When `stop` fires, the group gets SIGTERM, and after the grace SIGKILL.
///
/// Throws std::runtime_error (std::system_error where the system says why) when it can't be started: there is
/// no such program or directory, or no memory, process or file descriptor is left.
///
/// Thread safety: may be called from many threads at once.
End run(const Command& command, std::stop_token stop);

}  // namespace tidemill::process
