#include <tidemill/testing.hpp>

namespace tidemill::testing {

FakeClock::FakeClock(TimePoint start) : now_(start) {}

TimePoint FakeClock::now() const {
  const std::lock_guard lock{mutex_};
  return now_;
}

std::chrono::steady_clock::time_point FakeClock::steady() const {
  const std::lock_guard lock{mutex_};
  return steady_;
}

void FakeClock::advance(Duration by) {
  const std::lock_guard lock{mutex_};
  now_ += by;
  steady_ += by;
}

void FakeClock::jump(Duration by) {
  const std::lock_guard lock{mutex_};
  now_ += by;
}

}  // namespace tidemill::testing
