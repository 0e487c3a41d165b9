#include "stores/mysql/groups.hpp"

#include <algorithm>

#include "core/rules.hpp"
#include "stores/mysql/claim.hpp"
#include "stores/mysql/enqueue.hpp"

namespace tidemill::mysql_store {

namespace {

// Who changes a group's row locks it first in a statement of its own, so that the next one sees all tasks
// that came and went meanwhile.
constexpr Sql lock_group{"SELECT 1 FROM main.group WHERE queue = $1 AND name = $2 FOR UPDATE"};
constexpr Sql shrink{
    "UPDATE main.group SET size = size - $3, first_at = COALESCE((SELECT MIN(at) FROM main.member WHERE "
    "queue = $1 AND name = $2 AND holder = $4), first_at), last_at = COALESCE((SELECT MAX(at) FROM "
    "main.member WHERE queue = $1 AND name = $2 AND holder = $4), last_at) WHERE queue = $1 AND name = $2"};
constexpr Sql end_group{"DELETE FROM main.group WHERE queue = $1 AND name = $2 AND size <= 0"};
constexpr Sql grow{
    "INSERT INTO main.group (queue, name, size, first_at, last_at) VALUES ($1, $2, $3, COALESCE($4, 0), "
    "COALESCE($5, 0)) ON DUPLICATE KEY UPDATE size = size + VALUES(size), "
    "first_at = LEAST(first_at, COALESCE($4, first_at)), last_at = GREATEST(last_at, COALESCE($5, last_at))"};

// What callers' transactions have noted: tasks that came, and with a negative size such as went.
constexpr Sql get_noted{
    "SELECT id, size, first_at, last_at FROM main.joined WHERE queue = $1 AND name = $2 FOR UPDATE SKIP "
    "LOCKED"};
constexpr Sql drop_noted{
    "DELETE n FROM $1 AS t STRAIGHT_JOIN main.joined n FORCE INDEX (PRIMARY) ON n.id = t.id"};
constexpr Sql get_joined{"SELECT DISTINCT queue, name FROM main.joined ORDER BY queue, name LIMIT $1"};
constexpr Sql leave_later{"INSERT INTO main.joined (queue, name, size) VALUES ($1, $2, -1)"};

constexpr Sql full{
    "SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND size >= $2 LIMIT $3"};
constexpr Sql long_waiting{
    "SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND first_at <= $2 "
    "ORDER BY first_at LIMIT $3"};
constexpr Sql quiet{
    "SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND last_at <= $2 "
    "ORDER BY last_at LIMIT $3"};
// When the queue's next group has enough tasks, may be looked at again, has been quiet, has waited for long.
constexpr Sql least_times{
    "SELECT EXISTS (SELECT 1 FROM main.group WHERE queue = $1 AND not_before IS NULL AND size >= $2), "
    "(SELECT MIN(not_before) FROM main.group WHERE queue = $1 AND not_before IS NOT NULL), "
    "(SELECT MIN(last_at) FROM main.group WHERE queue = $1 AND not_before IS NULL), "
    "(SELECT MIN(first_at) FROM main.group WHERE queue = $1 AND not_before IS NULL)"};
constexpr Sql rested{
    "UPDATE main.group SET not_before = NULL WHERE queue = $1 AND not_before IS NOT NULL "
    "AND not_before <= $2"};
constexpr Sql rest{"UPDATE main.group SET not_before = $3 WHERE queue = $1 AND name = $2"};
constexpr Sql take_group{
    "SELECT size, first_at, last_at FROM main.group WHERE queue = $1 AND name = $2 AND not_before "
    "IS NULL FOR UPDATE SKIP LOCKED"};

// What an operator is changing is left out: he locks tasks first, and then their group.
constexpr char of_holder[] =
    " FROM main.member m FORCE INDEX (PRIMARY) STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = "
    "m.seq WHERE m.queue = $1 AND m.name = $2 AND m.holder = $3 ORDER BY m.at, m.seq ";
constexpr auto take_text = join("SELECT ", job_columns, of_holder, "LIMIT $4 FOR UPDATE SKIP LOCKED");
constexpr Sql take_tasks{take_text.data()};
constexpr auto of_set_text = join("SELECT ", job_columns, of_holder, "FOR UPDATE");
constexpr Sql tasks_of_set{of_set_text.data()};
constexpr Sql into_set{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = $2, "
    "j.claim = $3"};
constexpr Sql hold_members{
    "UPDATE $1 AS t STRAIGHT_JOIN main.member m FORCE INDEX (PRIMARY) ON m.queue = $2 AND m.name = $3 AND "
    "m.holder = $4 AND m.at = t.at AND m.seq = t.seq SET m.holder = $5"};
constexpr Sql drop_member{
    "DELETE FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3 AND at = $4 AND seq = $5"};
constexpr Sql drop_members{"DELETE FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3"};
constexpr Sql count_members{
    "SELECT COUNT(*), MIN(at), MAX(at) FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3"};
constexpr Sql out_of_set{
    "UPDATE main.member m FORCE INDEX (PRIMARY) STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = "
    "m.seq SET j.line = $4, j.claim = $5 WHERE m.queue = $1 AND m.name = $2 AND m.holder = $3"};
constexpr Sql free_members{
    "UPDATE main.member SET holder = $4 WHERE queue = $1 AND name = $2 AND holder = $3"};
constexpr Sql add_set{"INSERT INTO main.set (id, queue, task_group, until) VALUES ($1, $2, $3, $4)"};
constexpr Sql get_set{"SELECT task_group FROM main.set WHERE id = $1 AND queue = $2 FOR UPDATE"};
constexpr Sql drop_set{"DELETE FROM main.set WHERE id = $1"};
constexpr Sql get_lapsed{
    "SELECT id, queue, task_group FROM main.set WHERE until <= $1 ORDER BY until LIMIT $2 "
    "FOR UPDATE SKIP LOCKED"};

constexpr Sql get_groups{
    "SELECT name, size, first_at, last_at FROM main.group WHERE queue = $1 AND name > $2 "
    "ORDER BY name LIMIT $3"};

constexpr std::int64_t regrouped_max = 100;

struct SetRow {
  std::int64_t id = 0;
  std::int64_t queue = 0;
  std::string group = {};
};

/// Brings what callers' transactions have noted of the group into its row.
void fold_noted(Write& write, std::int64_t queue, std::string_view group) {
  Table noted{"id"};
  std::int64_t size = 0;
  std::optional<std::int64_t> first, last;
  auto row = write.ask(get_noted, queue, Blob{group});
  while (row.step()) {
    noted.add(row.integer(0));
    size += row.integer(1);
    if (const auto at = row.optional_integer(2)) first = std::min(first.value_or(*at), *at);
    if (const auto at = row.optional_integer(3)) last = std::max(last.value_or(*at), *at);
  }
  if (noted.empty()) return;
  write.tell(grow, queue, Blob{group}, size, first, last);
  write.tell(drop_noted, noted);
}

/// Of a group from which so many tasks have gone.
void shrink_group(Write& write, std::int64_t queue, std::string_view group, std::size_t count) {
  fold_noted(write, queue, group);
  write.tell(lock_group, queue, Blob{group});
  write.tell(shrink, queue, Blob{group}, count, no_claim);
  write.tell(end_group, queue, Blob{group});
}

/// When the queue's next group falls due, or before.
std::optional<TimePoint> next_due(Scope& scope, std::int64_t queue, const GroupRule& rule, TimePoint now) {
  auto row = scope.ask(least_times, queue, rule.size_max);
  row.step();
  if (row.boolean(0)) return now;
  std::optional<TimePoint> least;
  const auto add = [&](int column, Duration wait) {
    const auto time = time_of(row.optional_integer(column));
    if (time) least = std::min(least.value_or(TimePoint::max()), std::max(*time + wait, now));
  };
  add(1, {});
  add(2, rule.grace);
  if (rule.delay_max > Duration::zero()) add(3, rule.delay_max);
  return least;
}

void add_due(Gathered& answer, std::optional<TimePoint> due) {
  if (due) answer.next_due = std::min(answer.next_due.value_or(*due), *due);
}

/// The numbers of the queues that there are and that aren't paused.
std::vector<std::int64_t> open_queues(Scope& scope, const Gather& gather) {
  std::vector<std::int64_t> queues;
  for (const std::string_view name : gather.queues) {
    if (const auto queue = scope.find_queue(name)) queues.push_back(*queue);
  }
  return queues.empty() ? queues : unpaused(scope, queues);
}

/// Names of due groups.
std::vector<std::string> due_groups(Scope& scope, std::int64_t queue, const GroupRule& rule,
                                    std::size_t limit, TimePoint now) {
  std::vector<std::string> names;
  if (limit == 0) return names;
  // What one query has found the next may find again, so each may find that many.
  Batch batch;
  batch.add(full, queue, rule.size_max, limit);
  if (rule.delay_max > Duration::zero()) batch.add(long_waiting, queue, stored(now - rule.delay_max), limit);
  batch.add(quiet, queue, stored(now - rule.grace), limit);
  for (Query& row : scope.ask_all(std::move(batch))) {
    while (names.size() < limit && row.step()) {
      if (std::ranges::find(names, row.bytes(0)) == names.end()) names.emplace_back(row.bytes(0));
    }
  }
  return names;
}

/// Whether it is still due, and nobody else gathers from it meanwhile.
bool lock_due(Write& write, std::int64_t queue, const std::string& group, const GroupRule& rule,
              TimePoint now) {
  auto row = write.ask(take_group, queue, Blob{group});
  if (!row.step()) return false;
  const TimePoint first = time_of(row.integer(1));
  const TimePoint last = time_of(row.integer(2));
  return row.integer(0) >= static_cast<std::int64_t>(rule.size_max) ||
         (rule.delay_max > Duration::zero() && first + rule.delay_max <= now) || last + rule.grace <= now;
}

/// The oldest tasks of a group, as many as one set may have.
std::vector<Row> read_oldest(Write& write, std::int64_t queue, std::string_view group, const Gather& gather) {
  auto rows = read_rows(write.ask(take_tasks, queue, Blob{group}, no_claim, gather.rule.size_max), write);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    bytes += rules::bytes_of(rows[i].task);
    if (gather.bytes_max > 0 && i > 0 && bytes > gather.bytes_max) {
      rows.resize(i);
      break;
    }
  }
  return rows;
}

void take_set(Write& write, std::int64_t queue, const std::string& group, const Gather& gather, TimePoint now,
              Gathered& answer) {
  if (!lock_due(write, queue, group, gather.rule, now)) return;
  auto rows = read_oldest(write, queue, group, gather);
  if (rows.empty()) return;
  const std::int64_t id = make_claim();
  TaskSet set{write.queue_name(queue), group, {}, token_text({queue, id}), gather.lease};
  std::vector<Row*> all;
  for (Row& row : rows) all.push_back(&row);
  add_uniques(write, all, now);
  Table table{"at", "seq"};
  for (Row& row : rows) {
    table.add(stored(row.at), row.seq);
    set.tasks.push_back(std::move(row.task));
  }
  write.tell(into_set, table, set_line(queue), id);
  write.tell(hold_members, table, queue, Blob{group}, no_claim, id);
  shrink_group(write, queue, group, rows.size());
  write.tell(add_set, id, queue, Blob{group}, stored(now + gather.lease));
  answer.sets.push_back(std::move(set));
}

void regroup(Write& write, const SetRow& set) {
  const Blob group{set.group};
  Batch batch;
  batch.add(count_members, set.queue, group, set.id);
  batch.add(out_of_set, set.queue, group, set.id, line_of(set.queue, State::aggregating), no_claim);
  batch.add(free_members, set.queue, group, set.id, no_claim);
  auto row = std::move(write.ask_all(std::move(batch)).front());
  if (row.step() && row.integer(0) > 0)
    write.tell(grow, set.queue, group, row.integer(0), row.optional_integer(1), row.optional_integer(2));
  write.tell(drop_set, set.id);
}

bool merge(Write& write, const SetRow& set, const Task& task, TimePoint now, std::size_t task_bytes_max) {
  if (task.ref.queue != write.queue_name(set.queue)) return false;
  const auto rows = read_rows(write.ask(tasks_of_set, set.queue, Blob{set.group}, set.id), write);
  std::vector<std::int64_t> leaving;
  std::vector<const Row*> all;
  for (const Row& row : rows) {
    leaving.push_back(row.seq);
    all.push_back(&row);
  }
  if (!fits_in(write, task, leaving, now, task_bytes_max)) return false;
  erase_rows(write, all);
  write.tell(drop_members, set.queue, Blob{set.group}, set.id);
  enqueue_all(write, {&task, 1}, now, task_bytes_max);
  write.tell(drop_set, set.id);
  return true;
}

Reported settle_one(Write& write, const Settle& end, TimePoint now, std::size_t task_bytes_max) {
  if (end.set == nullptr) return Reported::failed;
  const auto token = parse_token(end.set->token);
  if (!token) return Reported::lost;
  SetRow set{token->claim, token->seq, {}};
  {
    auto row = write.ask(get_set, set.id, set.queue);
    if (!row.step()) return Reported::lost;
    set.group = row.bytes(0);
  }
  if (end.merged)
    return merge(write, set, *end.merged, now, task_bytes_max) ? Reported::applied : Reported::failed;
  regroup(write, set);
  if (end.delay > Duration::zero()) write.tell(rest, set.queue, Blob{set.group}, stored(now + end.delay));
  return Reported::applied;
}

}  // namespace

void leave_group(Write& write, const Row& row) {
  if (row.state() != State::aggregating || row.in_set() || row.task.group.empty()) return;
  write.tell_joined();
  write.tell(drop_member, row.queue(), Blob{row.task.group}, no_claim, stored(row.at), row.seq);
  if (write.callers()) {
    write.tell(leave_later, row.queue(), Blob{row.task.group});
  } else {
    shrink_group(write, row.queue(), row.task.group, 1);
  }
}

void fold_joined(Write& write) {
  auto row = write.ask(get_joined, regrouped_max);
  while (row.step()) shrink_group(write, row.integer(0), row.bytes(1), 0);
}

bool gather_nothing(Scope& scope, const Gather& gather, TimePoint now, Gathered& answer) {
  answer = {};
  for (const std::int64_t queue : open_queues(scope, gather)) {
    const auto due = next_due(scope, queue, gather.rule, now);
    if (due && *due <= now) return false;
    add_due(answer, due);
  }
  return true;
}

Gathered gather_sets(Write& write, const Gather& gather, TimePoint now) {
  Gathered answer;
  for (const std::int64_t queue : open_queues(write, gather)) {
    write.tell(rested, queue, stored(now));
    const std::size_t limit = gather.count_max - answer.sets.size();
    for (const std::string& group : due_groups(write, queue, gather.rule, limit, now))
      take_set(write, queue, group, gather, now, answer);
    add_due(answer, next_due(write, queue, gather.rule, now));
  }
  return answer;
}

std::vector<Reported> settle_all(Write& write, std::span<const Settle> ends, TimePoint now,
                                 std::size_t task_bytes_max) {
  for (const Settle& end : ends) {
    if (end.merged) intern_names(write, {&*end.merged, 1});
  }
  std::vector<Reported> answers;
  answers.reserve(ends.size());
  for (const Settle& end : ends) answers.push_back(settle_one(write, end, now, task_bytes_max));
  return answers;
}

void regroup_lapsed(Write& write, TimePoint now) {
  std::vector<SetRow> sets;
  auto row = write.ask(get_lapsed, stored(now), regrouped_max);
  while (row.step()) sets.push_back({row.integer(0), row.integer(1), std::string{row.bytes(2)}});
  for (const SetRow& set : sets) regroup(write, set);
}

std::vector<GroupInfo> list_groups(Scope& scope, std::string_view queue, std::string_view after,
                                   std::size_t limit) {
  std::vector<GroupInfo> infos;
  const auto number = scope.find_queue(queue);
  if (!number) return infos;
  auto row = scope.ask(get_groups, *number, Blob{after}, limit);
  while (row.step()) {
    infos.push_back({std::string{row.bytes(0)}, static_cast<std::uint64_t>(row.integer(1)),
                     time_of(row.integer(2)), time_of(row.integer(3))});
  }
  return infos;
}

}  // namespace tidemill::mysql_store
