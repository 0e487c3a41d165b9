#include "stores/postgres/fronts.hpp"

#include <tidemill/task.hpp>

#include "stores/postgres/layout.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

/// A whole look that is done sooner costs nothing.
constexpr auto slow = 5ms;
/// With less behind the front a look that is slow, and not very, has another reason, such as a busy machine.
constexpr std::size_t left_least = 10'000;
constexpr auto very_slow = 100ms;
constexpr int share = 20;

}  // namespace

Fronts::Begin Fronts::begin(std::int64_t queue, Steady now) const {
  const auto found = fronts_.find(queue);
  if (found == fronts_.end() || found->second.whole_at <= now)
    return {.place = {.line = first_line(queue, State::pending)}};
  return {.place = found->second.place, .whole = false, .again = found->second.whole_at};
}

void Fronts::looked(std::int64_t queue, std::chrono::steady_clock::duration took, Steady now) {
  Front& front = fronts_[queue];
  if (took < slow) front.claimed = 0;
  const bool busy = front.claimed < left_least && took < very_slow;
  front.whole_at = busy ? Steady{} : now + share * took;
}

void Fronts::gave_up(std::int64_t queue, TimePoint time, std::chrono::steady_clock::duration took,
                     Steady now) {
  Front& front = fronts_[queue];
  front.whole_at = now + share * took;
  if (front.place == Place{}) front.place = {.line = line_of(queue, State::pending), .at = stored(time)};
}

void Fronts::claimed(std::int64_t queue, std::size_t count, const Place& last, bool more) {
  Front& front = fronts_[queue];
  front.place = more ? last : std::max(front.place, last);
  front.claimed += count;
}

}  // namespace tidemill::postgres_store
