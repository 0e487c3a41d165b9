#include "gateways/persistent_queue/line.hpp"

#include <algorithm>

namespace tidemill::persistent_queue {

void Line::replace(const std::vector<Waiting>& rows) {
  clear();
  for (const Waiting& row : rows) add(row);
}

void Line::add(const Waiting& row) {
  if (flights_.contains(row.id)) return;
  if (const auto old = known_.find(row.id); old != known_.end()) waiting_.erase({old->second, row.id});
  known_[row.id] = row.order;
  waiting_[{row.order, row.id}] = row;
}

std::vector<Waiting> Line::take(std::int64_t now, std::size_t count, std::uint64_t held_up_to) {
  std::vector<Waiting> taken;
  for (auto at = waiting_.begin(); at != waiting_.end() && taken.size() < count && at->first.first <= now;) {
    if (at->second.id <= held_up_to) {
      ++at;
      continue;
    }
    taken.push_back(at->second);
    known_.erase(at->second.id);
    at = waiting_.erase(at);
  }
  return taken;
}

std::size_t Line::ready(std::int64_t now, std::size_t most, std::uint64_t held_up_to) const {
  std::size_t count = 0;
  for (auto at = waiting_.begin(); at != waiting_.end() && count < most && at->first.first <= now; ++at)
    count += at->second.id > held_up_to ? 1 : 0;
  return count;
}

std::optional<std::int64_t> Line::next_due(std::int64_t now) const {
  const auto next = waiting_.upper_bound({now, ~std::uint64_t{0}});
  if (next == waiting_.end()) return {};
  return next->first.first;
}

void Line::take_off(std::uint64_t id, std::uint64_t epoch, Steady now) {
  flights_[id] = {.epoch = epoch, .heard = now};
}

Line::Flight* Line::flight(std::uint64_t id) {
  const auto found = flights_.find(id);
  return found == flights_.end() ? nullptr : &found->second;
}

void Line::forget_before(Steady then) {
  std::erase_if(flights_,
                [&](const auto& each) { return each.second.running == 0 && each.second.heard < then; });
}

std::vector<std::uint64_t> Line::flying() const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, flight] : flights_) ids.push_back(id);
  return ids;
}

}  // namespace tidemill::persistent_queue
