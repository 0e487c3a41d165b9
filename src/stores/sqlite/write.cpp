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

Write::Touched& Write::touched(std::int64_t queue) {
  if (last_ < touched_.size() && touched_[last_].queue == queue) return touched_[last_];
  const auto found =
      std::find_if(touched_.begin(), touched_.end(), [&](const Touched& t) { return t.queue == queue; });
  last_ = static_cast<std::size_t>(found - touched_.begin());
  if (found == touched_.end()) touched_.push_back({.queue = queue});
  return touched_[last_];
}

void Write::count(std::int64_t queue, State state, std::int64_t tasks) {
  touched(queue).tasks[static_cast<std::size_t>(state)] += tasks;
}

void Write::arrived(std::int64_t queue, State state, TimePoint at) {
  Touched& entry = touched(queue);
  entry.tasks[static_cast<std::size_t>(state)] += 1;
  if (state == State::pending) entry.ready = true;
  if (state == State::scheduled || state == State::retry) entry.due = std::min(entry.due.value_or(at), at);
}

void Write::lease_ended(std::int64_t claim) {
  if (last_ended_ == nullptr || last_claim_ != claim) {
    last_claim_ = claim;
    last_ended_ = &ended_[claim];
  }
  ++*last_ended_;
}

void Write::signalled(std::string_view worker) { workers_.emplace_back(worker); }

void Write::finish() {
  for (const Touched& entry : touched_) {
    for (std::size_t state = 0; state < state_count; ++state) {
      if (entry.tasks[state] != 0) db.run(add_tasks, entry.queue, state, entry.tasks[state]);
    }
  }
  for (const auto& [claim, leases] : ended_) {
    if (db.run(end_claim, claim, leases) == 0) db.run(reduce_claim, claim, leases);
  }
  if (!workers_.empty()) db.run(count_signal);
}

News Write::committed() {
  News news;
  for (const Touched& entry : touched_) {
    if (entry.ready || entry.due) news.queues[queue_name(entry.queue)] = {entry.ready, entry.due};
  }
  news.workers = std::move(workers_);
  keep_names();
  rolled_back();
  return news;
}

void Write::rolled_back() {
  touched_.clear();
  ended_.clear();
  last_ended_ = nullptr;
  workers_.clear();
  last_ = 0;
  drop_names();
}

}  // namespace tidemill::sqlite_store
