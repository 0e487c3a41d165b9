#pragma once

#include <string>
#include <string_view>

#include <tidemill/clock.hpp>
#include <tidemill/log.hpp>

namespace tidemill::engine {

/// What a thread does about a store that fails: says so when it begins or changes, waits longer and longer,
/// and says when it is over.
///
/// Thread safety: none; each thread has its own.
class Trouble {
 public:
  /// `what` is what can't be done: "claim tasks".
  Trouble(Log log, std::string_view what, Duration longest = std::chrono::seconds{3});

  /// It failed once more. The answer is how long to wait: doubled each time, half of it random.
  Duration failed(std::string_view why);
  void over();
  bool lasts() const noexcept { return times_ > 0; }

 private:
  const Log log_;
  const std::string what_;
  const Duration longest_;
  std::string why_;
  int times_ = 0;
};

}  // namespace tidemill::engine
