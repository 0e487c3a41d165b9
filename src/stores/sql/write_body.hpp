#pragma once

#include <algorithm>

#include <tidemill/error.hpp>

#include "stores/sql/columns.hpp"
#include "stores/sql/layout.hpp"
#include "stores/sql/scope_body.hpp"
#include "stores/sql/statements.hpp"
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
  typename Database::template Rows<Number<"queue">, Bytes<"name">, Number<"size">, Number<"first_at">,
                                   Number<"last_at">>
      rows;
  for (const auto& [place, entry] : joined_)
    rows.add(place.first, Blob{place.second}, entry.tasks, stored(entry.first), stored(entry.last));
  this->tell(callers() ? Database::write.grow_later : Database::write.grow, rows);
  joined_.clear();
}

template <class Database>
void Write<Database>::finish() {
  tell_joined();
  if (signals()) this->tell(Database::write.count_signal);
  typename Database::template Rows<Number<"queue">, Number<"state">, Number<"lane">, Number<"tasks">> counts;
  typename Database::template Rows<Number<"queue">, Number<"state">, Number<"tasks">> deltas;
  for (const Change& change : changes()) {
    if (lane_) {
      counts.add(change.queue, change.state, *lane_, change.tasks);
    } else {
      deltas.add(change.queue, change.state, change.tasks);
    }
    died_ -= std::min<std::int64_t>(change.tasks, 0);
  }
  if (!counts.empty()) this->tell(Database::write.add_tasks, counts);
  if (!deltas.empty()) this->tell(Database::write.add_deltas, deltas);
}

template <class Database>
News Write<Database>::news() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[this->queue_name(queue)] = its;
  news.workers = take_workers();
  return news;
}

}  // namespace tidemill::sql_store
