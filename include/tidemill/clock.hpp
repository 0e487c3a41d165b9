#pragma once

#include <chrono>

namespace tidemill {

using Duration = std::chrono::microseconds;
/// An instant. Everywhere in this library it is the store's time, never that of a node's own wall clock
/// (docs/architecture.md, rule 8).
using TimePoint = std::chrono::sys_time<Duration>;

/// Where time comes from. The embedded stores and the engine read it here and nowhere else, so that a test
/// can put a clock of its own in its place (testing.hpp has one).
///
/// Thread safety: implementations must allow calls from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  /// The wall clock: may jump both ways.
  virtual TimePoint now() const = 0;
  /// A clock that only goes forward.
  virtual std::chrono::steady_clock::time_point steady() const = 0;

  /// The machine's clocks. Lives as long as the program.
  static const Clock& system() noexcept;
};

}  // namespace tidemill
