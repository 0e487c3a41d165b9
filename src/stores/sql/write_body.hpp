#pragma once

#include <algorithm>

#include <tidemill/error.hpp>

#include "stores/sql/layout.hpp"
#include "stores/sql/scope_body.hpp"
#include "stores/sql/write.hpp"

namespace tidemill::sql_store {

template <class Database>
std::int64_t Write<Database>::next_number(Counter counter, TimePoint now) {
  if (const auto number = Database::next_number(*this, counter, stored(now))) return *number;
  throw Error{ErrorKind::corrupt, "tidemill_meta has lost a counter: restore a backup"};
}

template <class Database>
void Write<Database>::joined(std::int64_t queue, std::string_view group, TimePoint at) {
  Joined& entry = joined_[{queue, std::string{group}}];
  ++entry.tasks;
  entry.first = std::min(entry.first, at);
  entry.last = std::max(entry.last, at);
}

template <class Database>
void Write<Database>::tell_joined() {
  if (joined_.empty()) return;
  Database::tell_joined(*this, joined_);
  joined_.clear();
}

template <class Database>
void Write<Database>::finish() {
  tell_joined();
  if (signals()) this->tell(Database::count_signal);
  const auto changed = changes();
  for (const Change& change : changed) died_ -= std::min<std::int64_t>(change.tasks, 0);
  if (!changed.empty()) Database::tell_counts(*this, changed, lane_);
}

template <class Database>
News Write<Database>::news() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[this->queue_name(queue)] = its;
  news.workers = take_workers();
  return news;
}

}  // namespace tidemill::sql_store
