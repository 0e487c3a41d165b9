#include "engine/store_clock.hpp"

#include <unistd.h>

#include <algorithm>
#include <tidemill/error.hpp>

#include "core/uuid.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// Slower answers are not believed, and a larger step against the count is a jump.
constexpr Duration trust = 1s;
/// How old an answer may become before a store across a network is asked again: the two clocks' drift stays
/// under a millisecond.
constexpr Duration fresh = 10s;
/// What a clock in our own process answers within, and nothing across a socket does.
constexpr auto at_once = 5us;

std::int64_t microseconds(Steady at) {
  return std::chrono::duration_cast<Duration>(at.time_since_epoch()).count();
}

Steady steady_now() { return std::chrono::steady_clock::now(); }

/// The session of a thread, which has one call in flight at most, and its last number.
struct Numbers {
  std::uint64_t session = 0;
  std::uint64_t number = 0;
  pid_t process = 0;
};

Numbers& numbers_of_thread() {
  thread_local Numbers numbers;
  // A forked process has this thread too, and must not get the answers to the other's calls.
  if (const pid_t process = ::getpid(); numbers.process != process) numbers = {random_bits(), 0, process};
  return numbers;
}

}  // namespace

StoreClock::StoreClock(Store& store, Duration beat)
    : store_(store), beat_(beat), withheld_until_(steady_now() + beat) {}

TimePoint StoreClock::now() {
  if (!known_.load(std::memory_order_acquire)) ask();
  return TimePoint{Duration{microseconds(steady_now()) + offset_.load(std::memory_order_relaxed)}};
}

Call StoreClock::call(Duration timeout) {
  if (must_ask()) {
    try {
      ask();
    } catch (const Error&) {
      // The count is still good; the call itself will say what is wrong.
      if (!known_.load(std::memory_order_acquire)) throw;
    }
  }
  Numbers& numbers = numbers_of_thread();
  return {.now = now(),
          .session = numbers.session,
          .number = ++numbers.number,
          .deadline = steady_now() + timeout};
}

bool StoreClock::must_ask() const {
  if (!known_.load(std::memory_order_acquire) || instant_.load(std::memory_order_relaxed)) return true;
  const std::lock_guard lock{mutex_};
  return steady_now() - told_ > fresh;
}

void StoreClock::ask() {
  // The first time it may take three tries to see that the store answers at once: the thread may lose its
  // core.
  const int tries = known_.load(std::memory_order_acquire) ? 1 : 3;
  for (int i = 0; i < tries && (i == 0 || !instant_.load(std::memory_order_relaxed)); ++i) {
    const Steady sent = steady_now();
    const TimePoint answer = store_.now();
    const Steady arrived = steady_now();
    if (arrived - sent < at_once) instant_.store(true, std::memory_order_relaxed);
    take(answer, sent, arrived);
    if (arrived - sent > 1ms) break;
  }
}

void StoreClock::learn(TimePoint store_now, Steady sent, Steady arrived) {
  take(store_now, sent, arrived);
  const std::lock_guard lock{mutex_};
  // Beats come one beat apart and an idle holder hears nothing else, so silence is a stall from half a beat
  // more.
  const bool stalled = arrived - sent > beat_ || (heard_ && arrived - *heard_ > beat_ + beat_ / 2);
  if (stalled) withheld_until_ = std::max(withheld_until_, arrived + beat_);
  heard_ = std::max(heard_.value_or(arrived), arrived);
}

void StoreClock::take(TimePoint store_now, Steady sent, Steady arrived) {
  const std::int64_t offset = store_now.time_since_epoch().count() - microseconds(arrived);
  const bool quick = arrived - sent < trust;
  const std::lock_guard lock{mutex_};
  const bool known = known_.load(std::memory_order_relaxed);
  const std::int64_t step = offset - offset_.load(std::memory_order_relaxed);
  const bool jumped = known && quick && (step > trust.count() || step < -trust.count());
  if (jumped) withheld_until_ = std::max(withheld_until_, arrived + beat_);
  // A slow first answer is better than none: it is late, and late harms nobody.
  if (!quick && known) return;
  offset_.store(offset, std::memory_order_relaxed);
  known_.store(true, std::memory_order_release);
  told_ = arrived;
}

bool StoreClock::may_sweep() const {
  const Steady at = steady_now();
  const std::lock_guard lock{mutex_};
  return heard_ && at >= withheld_until_ && at - *heard_ <= beat_ + beat_ / 2;
}

Lane::Lane(StoreClock& clock) : clock_(clock), session_(random_bits()) {}

Call Lane::next(Duration timeout) {
  Call call = clock_.call(timeout);
  call.session = session_;
  call.number = ++number_;
  return call;
}

}  // namespace tidemill::engine
