#include "stores/sql/tally.hpp"

#include <algorithm>

namespace tidemill::sql_store {

Tally::Touched& Tally::touched(std::int64_t queue) {
  if (last_ < touched_.size() && touched_[last_].queue == queue) return touched_[last_];
  const auto found =
      std::find_if(touched_.begin(), touched_.end(), [&](const Touched& t) { return t.queue == queue; });
  last_ = static_cast<std::size_t>(found - touched_.begin());
  if (found == touched_.end()) touched_.push_back({.queue = queue});
  return touched_[last_];
}

void Tally::count(std::int64_t queue, State state, std::int64_t tasks) {
  touched(queue).tasks[static_cast<std::size_t>(state)] += tasks;
}

void Tally::arrived(std::int64_t queue, State state, TimePoint at, std::int64_t tasks) {
  Touched& entry = touched(queue);
  entry.tasks[static_cast<std::size_t>(state)] += tasks;
  News::Queue& news = entry.news;
  if (state == State::pending) news.ready = true;
  if (state == State::scheduled || state == State::retry) news.due = std::min(news.due.value_or(at), at);
}

std::vector<Tally::Change> Tally::changes() {
  std::sort(touched_.begin(), touched_.end(), [](const auto& a, const auto& b) { return a.queue < b.queue; });
  last_ = touched_.size();
  std::vector<Change> changes;
  for (const Touched& entry : touched_) {
    for (std::size_t state = 0; state < state_count; ++state) {
      if (entry.tasks[state] != 0)
        changes.push_back({entry.queue, static_cast<State>(state), entry.tasks[state]});
    }
  }
  return changes;
}

std::map<std::int64_t, News::Queue> Tally::queue_news() const {
  std::map<std::int64_t, News::Queue> news;
  for (const Touched& entry : touched_) {
    if (entry.news.ready || entry.news.due) news[entry.queue] = entry.news;
  }
  return news;
}

void Tally::clear() {
  touched_.clear();
  workers_.clear();
  last_ = 0;
}

}  // namespace tidemill::sql_store
