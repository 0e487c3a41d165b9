#pragma once

#include <sys/resource.h>

namespace tidemill::cli {

/// Lets this process have as many open files, and so connections, as it may. The usual 1024 are for programs
/// that call select.
inline void raise_file_limit() noexcept {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace tidemill::cli
