#include "stores/sqlite/write.hpp"

#include <algorithm>

#include <tidemill/error.hpp>

#include "stores/sqlite/layout.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql add_tasks{
    "INSERT INTO main.tidemill_counter (queue, state, tasks) VALUES (?1, ?2, ?3) "
    "ON CONFLICT (queue, state) DO UPDATE SET tasks = tasks + excluded.tasks"};
constexpr sqlite::Sql end_claim{"DELETE FROM main.tidemill_claim WHERE id = ?1 AND held <= ?2"};
constexpr sqlite::Sql reduce_claim{"UPDATE main.tidemill_claim SET held = held - ?2 WHERE id = ?1"};
constexpr sqlite::Sql count_signal{"UPDATE main.tidemill_meta SET value = value + 1 WHERE name = 'signals'"};

constexpr sqlite::Sql next_fence{
    "UPDATE main.tidemill_meta SET value = max(value + 1, ?1) WHERE name = 'fence' RETURNING value"};
constexpr sqlite::Sql next_version{
    "UPDATE main.tidemill_meta SET value = max(value + 1, ?1) WHERE name = 'version' RETURNING value"};

}  // namespace

std::int64_t Write::next_number(Counter counter, TimePoint now) {
  auto row = db.query(counter == Counter::fence ? next_fence : next_version, stored(now));
  if (row.step()) return row.integer(0);
  throw Error{ErrorKind::corrupt, "tidemill_meta has lost a counter: restore a backup"};
}

void Write::lease_ended(std::int64_t claim) {
  if (last_ended_ == nullptr || last_claim_ != claim) {
    last_claim_ = claim;
    last_ended_ = &ended_[claim];
  }
  ++*last_ended_;
}

void Write::finish() {
  for (const Change& change : changes()) db.run(add_tasks, change.queue, change.state, change.tasks);
  for (const auto& [claim, leases] : ended_) {
    if (db.run(end_claim, claim, leases) == 0) db.run(reduce_claim, claim, leases);
  }
  if (signals()) db.run(count_signal);
}

News Write::committed() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[queue_name(queue)] = its;
  news.workers = take_workers();
  keep_names();
  rolled_back();
  return news;
}

void Write::rolled_back() {
  clear();
  ended_.clear();
  last_ended_ = nullptr;
  drop_names();
}

}  // namespace tidemill::sqlite_store
