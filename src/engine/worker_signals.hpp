#pragma once

#include <signal.h>

namespace tidemill::engine {

/// Catches SIGINT and SIGTERM while it lives, and puts back what was there before. One at a time in a
/// process, and destroyed by the thread that made it.
///
/// A handler that posts a semaphore, and no masked signals with sigwait: threads that the program
/// started before us don't have our mask, and a signal that one of them takes would end the process.
class ProcessSignals {
 public:
  enum class Hangup : unsigned char { left_alone, caught };
  /// With `caught`, SIGHUP too.
  explicit ProcessSignals(Hangup hangup = Hangup::left_alone);
  ~ProcessSignals();
  ProcessSignals(const ProcessSignals&) = delete;
  ProcessSignals& operator=(const ProcessSignals&) = delete;

  /// How many SIGINT and SIGTERM have come since the last call; waits until there is a signal, or a poke.
  int wait();
  /// Whether SIGHUP has come since this was last asked. One that nobody asks for ends each `wait`.
  bool take_hangup();
  /// Ends `wait`. May be called from any thread.
  void poke();

 private:
  struct sigaction interrupt_{};
  struct sigaction terminate_{};
  struct sigaction hangup_{};
  const bool with_hangup_;
  sigset_t mask_{};
};

}  // namespace tidemill::engine
