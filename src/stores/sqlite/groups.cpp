#include "stores/sqlite/groups.hpp"

#include <algorithm>

#include "core/rules.hpp"
#include "stores/sqlite/claim.hpp"
#include "stores/sqlite/enqueue.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql grow{
    "INSERT INTO main.tidemill_group (queue, name, size, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5) "
    "ON CONFLICT (queue, name) DO UPDATE SET size = size + excluded.size, "
    "first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"};
constexpr sqlite::Sql end_group{
    "DELETE FROM main.tidemill_group WHERE queue = ?1 AND name = ?2 AND size <= ?3"};
constexpr sqlite::Sql shrink{
    "UPDATE main.tidemill_group SET size = size - ?3, first_at = ?4, last_at = ?5 "
    "WHERE queue = ?1 AND name = ?2"};
constexpr sqlite::Sql first_come{
    "SELECT at FROM main.tidemill_job WHERE line = ?1 AND task_group = ?2 AND claim = ?3 ORDER BY at LIMIT "
    "1"};
constexpr sqlite::Sql last_come{
    "SELECT at FROM main.tidemill_job WHERE line = ?1 AND task_group = ?2 AND claim = ?3 "
    "ORDER BY at DESC LIMIT 1"};

constexpr sqlite::Sql full{
    "SELECT name FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NULL AND size >= ?2 LIMIT ?3"};
constexpr sqlite::Sql long_waiting{
    "SELECT name FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NULL AND first_at <= ?2 "
    "ORDER BY first_at LIMIT ?3"};
constexpr sqlite::Sql quiet{
    "SELECT name FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NULL AND last_at <= ?2 "
    "ORDER BY last_at LIMIT ?3"};
constexpr sqlite::Sql least_first{
    "SELECT first_at FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NULL ORDER BY first_at "
    "LIMIT 1"};
constexpr sqlite::Sql least_last{
    "SELECT last_at FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NULL ORDER BY last_at LIMIT "
    "1"};
constexpr sqlite::Sql least_later{
    "SELECT not_before FROM main.tidemill_group WHERE queue = ?1 AND not_before IS NOT NULL "
    "ORDER BY not_before LIMIT 1"};
constexpr sqlite::Sql rested{
    "UPDATE main.tidemill_group SET not_before = NULL WHERE queue = ?1 AND not_before IS NOT NULL "
    "AND not_before <= ?2"};
constexpr sqlite::Sql rest{"UPDATE main.tidemill_group SET not_before = ?3 WHERE queue = ?1 AND name = ?2"};

// The run is there for what operators and attempts have left: a task that was held, or ran and came back.
constexpr auto take_text =
    sqlite::join("SELECT ", row_columns, row_tables,
                 "WHERE j.line = ?1 AND j.task_group = ?2 AND j.claim = ?3 ORDER BY j.at, j.seq LIMIT ?4");
constexpr sqlite::Sql take{take_text.data()};
constexpr sqlite::Sql into_set{"UPDATE main.tidemill_job SET line = ?2, claim = ?3 WHERE seq = ?1"};
constexpr sqlite::Sql out_of_set{
    "UPDATE main.tidemill_job SET line = ?4, claim = ?5 WHERE line = ?1 AND task_group = ?2 AND claim = ?3"};
constexpr sqlite::Sql span_of_set{
    "SELECT min(at), max(at) FROM main.tidemill_job WHERE line = ?1 AND task_group = ?2 AND claim = ?3"};
constexpr sqlite::Sql add_set{
    "INSERT INTO main.tidemill_set (id, queue, task_group, until) VALUES (?1, ?2, ?3, ?4)"};
constexpr sqlite::Sql get_set{"SELECT task_group FROM main.tidemill_set WHERE id = ?1 AND queue = ?2"};
constexpr sqlite::Sql drop_set{"DELETE FROM main.tidemill_set WHERE id = ?1"};
constexpr sqlite::Sql any_lapsed{"SELECT 1 FROM main.tidemill_set WHERE until <= ?1 LIMIT 1"};
constexpr sqlite::Sql get_lapsed{
    "SELECT id, queue, task_group FROM main.tidemill_set WHERE until <= ?1 ORDER BY until LIMIT ?2"};

constexpr sqlite::Sql get_groups{
    "SELECT name, size, first_at, last_at FROM main.tidemill_group WHERE queue = ?1 AND name > ?2 "
    "ORDER BY name LIMIT ?3"};

constexpr std::int64_t regrouped_max = 100;

struct SetRow {
  std::int64_t id = 0;
  std::int64_t queue = 0;
  std::string group = {};
};

std::optional<TimePoint> time_in(sqlite::Query row) {
  return row.step() ? time_of(row.optional_integer(0)) : std::nullopt;
}

void shrink_group(Write& write, std::int64_t queue, std::string_view group, std::size_t count) {
  if (write.db.run(end_group, queue, group, count) > 0) return;
  const std::int64_t line = line_of(queue, State::aggregating);
  const auto first = time_in(write.db.query(first_come, line, group, no_claim));
  const auto last = time_in(write.db.query(last_come, line, group, no_claim));
  if (first && last) write.db.run(shrink, queue, group, count, stored(*first), stored(*last));
}

/// When the queue's next group falls due, or before.
std::optional<TimePoint> next_due(Scope& scope, std::int64_t queue, const GroupRule& rule, TimePoint now) {
  if (scope.db.any(full, queue, rule.size_max, 1)) return now;
  std::optional<TimePoint> least;
  const auto add = [&](std::optional<TimePoint> time, Duration wait) {
    if (time) least = std::min(least.value_or(TimePoint::max()), std::max(*time + wait, now));
  };
  add(time_in(scope.db.query(least_later, queue)), {});
  add(time_in(scope.db.query(least_last, queue)), rule.grace);
  if (rule.delay_max > Duration::zero()) add(time_in(scope.db.query(least_first, queue)), rule.delay_max);
  return least;
}

void add_due(Gathered& answer, std::optional<TimePoint> due) {
  if (due) answer.next_due = std::min(answer.next_due.value_or(*due), *due);
}

/// Names of due groups.
std::vector<std::string> due_groups(Scope& scope, std::int64_t queue, const GroupRule& rule,
                                    std::size_t limit, TimePoint now) {
  std::vector<std::string> names;
  const auto add = [&](sqlite::Query row) {
    while (names.size() < limit && row.step()) {
      const std::string_view name = row.bytes(0);
      if (std::ranges::find(names, name) == names.end()) names.emplace_back(name);
    }
  };
  // What one query has found the next may find again, so each may find that many.
  add(scope.db.query(full, queue, rule.size_max, limit));
  if (rule.delay_max > Duration::zero())
    add(scope.db.query(long_waiting, queue, stored(now - rule.delay_max), limit));
  add(scope.db.query(quiet, queue, stored(now - rule.grace), limit));
  return names;
}

std::vector<Row> read_rows(Write& write, std::int64_t line, std::string_view group, std::int64_t claim,
                           std::size_t limit, std::size_t bytes_max) {
  std::vector<Row> rows;
  std::size_t bytes = 0;
  auto columns = write.db.query(take, line, group, claim, limit);
  while (columns.step()) {
    Row row;
    read_row(columns, write, row);
    bytes += rules::bytes_of(row.task);
    if (bytes_max > 0 && !rows.empty() && bytes > bytes_max) break;
    rows.push_back(std::move(row));
  }
  return rows;
}

void take_set(Write& write, std::int64_t queue, const std::string& group, const Gather& gather, TimePoint now,
              Gathered& answer) {
  std::vector<Row> rows = read_rows(write, line_of(queue, State::aggregating), group, no_claim,
                                    gather.rule.size_max, gather.bytes_max);
  if (rows.empty()) {
    // A process of an older version took its tasks, and did not count them.
    write.db.run(end_group, queue, std::string_view{group}, INT64_MAX);
    return;
  }
  const std::int64_t id = make_claim();
  TaskSet set{write.queue_name(queue), group, {}, token_text({queue, id}), gather.lease};
  for (Row& row : rows) {
    write.db.run(into_set, row.seq, set_line(queue), id);
    row.task.unique = read_unique(write, row, now);
    set.tasks.push_back(std::move(row.task));
  }
  shrink_group(write, queue, group, rows.size());
  write.db.run(add_set, id, queue, std::string_view{group}, stored(now + gather.lease));
  answer.sets.push_back(std::move(set));
}

void regroup(Write& write, const SetRow& set) {
  const std::string_view group = set.group;
  const std::int64_t from = set_line(set.queue);
  std::optional<TimePoint> first;
  std::optional<TimePoint> last;
  {
    auto row = write.db.query(span_of_set, from, group, set.id);
    if (row.step()) {
      first = time_of(row.optional_integer(0));
      last = time_of(row.optional_integer(1));
    }
  }
  const int count =
      write.db.run(out_of_set, from, group, set.id, line_of(set.queue, State::aggregating), no_claim);
  if (first && last) write.db.run(grow, set.queue, group, count, stored(*first), stored(*last));
  write.db.run(drop_set, set.id);
}

bool merge(Write& write, const SetRow& set, const Task& task, TimePoint now, std::size_t task_bytes_max) {
  const std::vector<Row> rows =
      read_rows(write, set_line(set.queue), set.group, set.id, static_cast<std::size_t>(INT64_MAX), 0);
  std::vector<std::int64_t> leaving;
  for (const Row& row : rows) leaving.push_back(row.seq);
  if (task.ref.queue != write.queue_name(set.queue) || !fits_in(write, task, leaving, now, task_bytes_max))
    return false;
  for (const Row& row : rows) erase_row(write, row);
  enqueue_all(write, {&task, 1}, now, task_bytes_max);
  write.db.run(drop_set, set.id);
  return true;
}

Reported settle_one(Write& write, const Settle& end, TimePoint now, std::size_t task_bytes_max) {
  if (end.set == nullptr) return Reported::failed;
  const auto token = parse_token(end.set->token);
  if (!token) return Reported::lost;
  SetRow set{token->claim, token->seq, {}};
  {
    auto row = write.db.query(get_set, set.id, set.queue);
    if (!row.step()) return Reported::lost;
    set.group = row.bytes(0);
  }
  if (end.merged)
    return merge(write, set, *end.merged, now, task_bytes_max) ? Reported::applied : Reported::failed;
  regroup(write, set);
  if (end.delay > Duration::zero())
    write.db.run(rest, set.queue, std::string_view{set.group}, stored(now + end.delay));
  return Reported::applied;
}

}  // namespace

void join_group(Write& write, std::int64_t queue, std::string_view group, TimePoint at) {
  if (!group.empty()) write.db.run(grow, queue, group, 1, stored(at), stored(at));
}

void leave_group(Write& write, const Row& row) {
  if (row.state() != State::aggregating || row.in_set() || row.task.group.empty()) return;
  // It still stands there, and must not be found as the group's first or last.
  write.db.run(into_set, row.seq, set_line(row.queue()), no_claim);
  shrink_group(write, row.queue(), row.task.group, 1);
}

bool gather_nothing(Scope& scope, const Gather& gather, TimePoint now, Gathered& answer) {
  answer = {};
  for (const std::string_view name : gather.queues) {
    const auto queue = scope.find_queue(name);
    if (!queue || paused(scope, *queue)) continue;
    const auto due = next_due(scope, *queue, gather.rule, now);
    if (due && *due <= now) return false;
    add_due(answer, due);
  }
  return true;
}

Gathered gather_sets(Write& write, const Gather& gather, TimePoint now) {
  Gathered answer;
  for (const std::string_view name : gather.queues) {
    const auto queue = write.find_queue(name);
    if (!queue || paused(write, *queue)) continue;
    write.db.run(rested, *queue, stored(now));
    const std::size_t limit = gather.count_max - answer.sets.size();
    for (const std::string& group : due_groups(write, *queue, gather.rule, limit, now))
      take_set(write, *queue, group, gather, now, answer);
    add_due(answer, next_due(write, *queue, gather.rule, now));
  }
  return answer;
}

std::vector<Reported> settle_all(Write& write, std::span<const Settle> ends, TimePoint now,
                                 std::size_t task_bytes_max) {
  std::vector<Reported> answers;
  answers.reserve(ends.size());
  for (const Settle& end : ends) answers.push_back(settle_one(write, end, now, task_bytes_max));
  return answers;
}

bool any_set_lapsed(Scope& scope, TimePoint now) { return scope.db.any(any_lapsed, stored(now)); }

void regroup_lapsed(Write& write, TimePoint now) {
  std::vector<SetRow> sets;
  {
    auto row = write.db.query(get_lapsed, stored(now), regrouped_max);
    while (row.step()) sets.push_back({row.integer(0), row.integer(1), std::string{row.bytes(2)}});
  }
  for (const SetRow& set : sets) regroup(write, set);
}

std::vector<GroupInfo> list_groups(Scope& scope, std::string_view queue, std::string_view after,
                                   std::size_t limit) {
  std::vector<GroupInfo> infos;
  const auto number = scope.find_queue(queue);
  if (!number) return infos;
  auto row = scope.db.query(get_groups, *number, after, limit);
  while (row.step()) {
    infos.push_back({std::string{row.bytes(0)}, static_cast<std::uint64_t>(row.integer(1)),
                     time_of(row.integer(2)), time_of(row.integer(3))});
  }
  return infos;
}

}  // namespace tidemill::sqlite_store
