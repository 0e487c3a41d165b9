#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include <tidemill/clock.hpp>

/// How the tasks of a kind are handed to programs that aren't ours.
namespace tidemill::deliver {

/// A call of a URL. `url`, `body` and the values of `headers` are templates: deliver/template.hpp.
struct HttpDelivery {
  std::string url = {};
  std::string method = "POST";
  std::map<std::string, std::string> headers = {};
  std::string body = "{{payload}}";
  /// Secrets of Standard Webhooks, "whsec_" and base64, newest first: each one signs, so that a receiver may
  /// know either while they are changed. None: not signed.
  std::vector<std::string> secrets = {};
  Duration timeout = std::chrono::seconds{30};  ///< Of one call, from connecting to the answer's end.
  std::size_t response_bytes_max = 64U << 10U;  ///< Of the answer, kept as the result or in the error.
};

/// A program that is started. The payload is its input, what it prints the result.
struct CommandDelivery {
  std::vector<std::string> argv = {};  ///< This,
  std::string shell = {};              ///< or this, for /bin/sh -c.
  /// On top of the process's own and of TIDEMILL_ID and the like; these win.
  std::map<std::string, std::string> environment = {};
  /// Variables of the process's own environment that the command doesn't find.
  std::vector<std::string> withheld = {};
  std::string directory = {};  ///< To run in; empty: the process's own.
  std::size_t output_bytes_max = 64U << 10U;
  Duration grace = std::chrono::seconds{5};   ///< From SIGTERM to SIGKILL, when it is stopped.
  Duration snooze = std::chrono::minutes{1};  ///< When it ends with 69 (EX_UNAVAILABLE).
  std::size_t memory_bytes_max = 0;           ///< Of its address space (RLIMIT_AS); zero: no limit.
  Duration cpu_max{};                         ///< Processor time (RLIMIT_CPU), whole seconds; zero: no limit.
  std::size_t files_max = 0;                  ///< Open files (RLIMIT_NOFILE); zero: as this process.
};

}  // namespace tidemill::deliver
