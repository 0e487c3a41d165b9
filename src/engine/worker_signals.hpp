#pragma once

#include <signal.h>

namespace tidemill::engine {

/// Catches SIGINT and SIGTERM while it lives, and puts back what was there before. One at a time in a
/// process, and destroyed by the thread that made it.
///
/// A handler that writes to a descriptor, and no masked signals with sigwait: threads that the program
/// started before us don't have our mask, and a signal that one of them takes would end the process.
class ProcessSignals {
 public:
  ProcessSignals();
  ~ProcessSignals();
  ProcessSignals(const ProcessSignals&) = delete;
  ProcessSignals& operator=(const ProcessSignals&) = delete;

  /// How many signals have come since the last call; waits until there is one, or a poke.
  int wait();
  /// Ends `wait`. May be called from any thread.
  void poke();

 private:
  struct sigaction interrupt_{};
  struct sigaction terminate_{};
  sigset_t mask_{};
};

}  // namespace tidemill::engine
