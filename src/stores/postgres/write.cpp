#include "stores/postgres/write.hpp"

#include <algorithm>

#include <tidemill/error.hpp>

namespace tidemill::postgres_store {

namespace {

constexpr Sql add_tasks{
    "INSERT INTO main.tidemill_counter AS c (queue, state, lane, tasks) "
    "SELECT t.queue, t.state, $4, t.tasks FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
    "AS t(queue, state, tasks) ON CONFLICT (queue, state, lane) DO UPDATE SET tasks = c.tasks + "
    "excluded.tasks"};
constexpr Sql add_delta{
    "INSERT INTO main.tidemill_delta (queue, state, tasks) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])"};
constexpr Sql grow{
    "INSERT INTO main.tidemill_group AS g (queue, name, size, first_at, last_at) "
    "SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) "
    "ON CONFLICT (queue, name) DO UPDATE SET size = g.size + excluded.size, "
    "first_at = least(g.first_at, excluded.first_at), last_at = greatest(g.last_at, excluded.last_at)"};
constexpr Sql grow_later{
    "INSERT INTO main.tidemill_joined (queue, name, size, first_at, last_at) "
    "SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])"};

// For those who look for themselves whether there are signals.
constexpr Sql count_signal{"UPDATE main.tidemill_meta SET value = value + 1 WHERE name = 'signals'"};

constexpr Sql next_fence{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'fence' RETURNING value"};
constexpr Sql next_version{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'version' RETURNING value"};

}  // namespace

std::int64_t Write::next_number(Counter counter, TimePoint now) {
  auto row = ask(counter == Counter::fence ? next_fence : next_version, stored(now));
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

void Write::arrived(std::int64_t queue, State state, TimePoint at, std::int64_t tasks) {
  Touched& entry = touched(queue);
  entry.tasks[static_cast<std::size_t>(state)] += tasks;
  if (state == State::pending) entry.ready = true;
  if (state == State::scheduled || state == State::retry) entry.due = std::min(entry.due.value_or(at), at);
}

void Write::joined(std::int64_t queue, std::string_view group, TimePoint at) {
  Joined& entry = joined_[{queue, std::string{group}}];
  ++entry.tasks;
  entry.first = std::min(entry.first, at);
  entry.last = std::max(entry.last, at);
}

void Write::tell_joined() {
  if (joined_.empty()) return;
  Array<std::int64_t> queues, sizes, firsts, lasts;
  Array<Blob> names;
  for (const auto& [place, entry] : joined_) {
    queues.add(place.first);
    names.add(Blob{place.second});
    sizes.add(entry.tasks);
    firsts.add(stored(entry.first));
    lasts.add(stored(entry.last));
  }
  tell(callers() ? grow_later : grow, queues, names, sizes, firsts, lasts);
  joined_.clear();
}

void Write::finish() {
  tell_joined();
  if (!workers_.empty()) tell(count_signal);
  // In one order everywhere, so that no two wait for each other.
  std::sort(touched_.begin(), touched_.end(), [](const auto& a, const auto& b) { return a.queue < b.queue; });
  last_ = touched_.size();
  Array<std::int64_t> queues, states, tasks;
  for (const Touched& entry : touched_) {
    for (std::size_t state = 0; state < state_count; ++state) {
      if (entry.tasks[state] == 0) continue;
      queues.add(entry.queue);
      states.add(static_cast<std::int64_t>(state));
      tasks.add(entry.tasks[state]);
    }
  }
  if (queues.empty()) return;
  if (lane_) {
    tell(add_tasks, queues, states, tasks, *lane_);
  } else {
    tell(add_delta, queues, states, tasks);
  }
}

std::map<std::int64_t, News::Queue> Write::queue_news() const {
  std::map<std::int64_t, News::Queue> news;
  for (const Touched& entry : touched_) {
    if (entry.ready || entry.due) news[entry.queue] = {entry.ready, entry.due};
  }
  return news;
}

std::int64_t Write::died() const {
  std::int64_t rows = 0;
  for (const Touched& entry : touched_) {
    for (const std::int64_t tasks : entry.tasks) rows -= std::min<std::int64_t>(tasks, 0);
  }
  return rows;
}

News Write::news() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[queue_name(queue)] = its;
  news.workers = std::move(workers_);
  return news;
}

}  // namespace tidemill::postgres_store
