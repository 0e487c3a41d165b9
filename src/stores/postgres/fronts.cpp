#include "stores/postgres/fronts.hpp"

#include <tidemill/task.hpp>

#include "stores/postgres/layout.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

/// A whole look that is done sooner costs nothing.
constexpr auto slow = 5ms;
/// With less behind the front a slow look has another reason, such as a busy machine.
constexpr std::size_t left_least = 10'000;
constexpr int share = 20;

}  // namespace

Fronts::Begin Fronts::begin(std::int64_t queue, Steady now) const {
  const auto found = fronts_.find(queue);
  if (found == fronts_.end() || found->second.whole_at <= now) return whole(queue);
  return {.place = found->second.place, .whole = false, .again = found->second.whole_at};
}

Fronts::Begin Fronts::whole(std::int64_t queue) {
  return {.place = {.line = first_line(queue, State::pending)}};
}

void Fronts::looked(std::int64_t queue, std::chrono::steady_clock::duration took, Steady now) {
  Front& front = fronts_[queue];
  if (took < slow) front.claimed = 0;
  front.whole_at = front.claimed < left_least ? Steady{} : now + share * took;
}

void Fronts::claimed(std::int64_t queue, std::size_t count, const Place& last) {
  Front& front = fronts_[queue];
  front.place = last;
  front.claimed += count;
}

}  // namespace tidemill::postgres_store
