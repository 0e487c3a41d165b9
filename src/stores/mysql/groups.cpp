#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql shrink{
    "UPDATE main.group SET size = size - $3, first_at = COALESCE((SELECT MIN(at) FROM main.member WHERE "
    "queue = $1 AND name = $2 AND holder = $4), first_at), last_at = COALESCE((SELECT MAX(at) FROM "
    "main.member WHERE queue = $1 AND name = $2 AND holder = $4), last_at) WHERE queue = $1 AND name = $2"};
// What callers' transactions have noted: tasks that came, and with a negative size such as went.
constexpr Sql get_noted{
    "SELECT id, size, first_at, last_at FROM main.joined WHERE queue = $1 AND name = $2 FOR UPDATE SKIP "
    "LOCKED"};
constexpr Sql drop_noted{
    "DELETE n FROM $1 AS t STRAIGHT_JOIN main.joined n FORCE INDEX (PRIMARY) ON n.id = t.id"};
// What an operator is changing is left out: he locks tasks first, and then their group.
constexpr char of_holder[] =
    " FROM main.member m FORCE INDEX (PRIMARY) STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = "
    "m.seq WHERE m.queue = $1 AND m.name = $2 AND m.holder = $3 ORDER BY m.at, m.seq ";
constexpr auto take_text = join("SELECT ", job_columns, of_holder, "LIMIT $4 FOR UPDATE SKIP LOCKED");
constexpr Sql take_tasks{take_text.data()};
constexpr auto of_set_text = join("SELECT ", job_columns, of_holder, "FOR UPDATE");
constexpr Sql tasks_of_set{of_set_text.data()};
constexpr Sql hold_tasks{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = $2, j.claim "
    "= $3"};
constexpr Sql hold_members{
    "UPDATE $1 AS t STRAIGHT_JOIN main.member m FORCE INDEX (PRIMARY) ON m.queue = $2 AND m.name = $3 AND "
    "m.holder = $4 AND m.at = t.at AND m.seq = t.seq SET m.holder = $5"};
constexpr Sql drop_member{
    "DELETE FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3 AND at = $4 AND seq = $5"};
constexpr Sql drop_all_members{"DELETE FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3"};
constexpr Sql count_members{
    "SELECT COUNT(*), MIN(at), MAX(at) FROM main.member WHERE queue = $1 AND name = $2 AND holder = $3"};
constexpr Sql free_tasks{
    "UPDATE main.member m FORCE INDEX (PRIMARY) STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = "
    "m.seq SET j.line = $4, j.claim = $5 WHERE m.queue = $1 AND m.name = $2 AND m.holder = $3"};
constexpr Sql free_members{
    "UPDATE main.member SET holder = $4 WHERE queue = $1 AND name = $2 AND holder = $3"};

}  // namespace

const sql_store::GroupStatements Mysql::groups{
    // Who changes a group's row locks it first in a statement of its own, so that the next one sees all tasks
    // that came and went meanwhile.
    .lock = {"SELECT 1 FROM main.group WHERE queue = $1 AND name = $2 FOR UPDATE"},
    .end = {"DELETE FROM main.group WHERE queue = $1 AND name = $2 AND size <= 0"},
    .grow = {"INSERT INTO main.group (queue, name, size, first_at, last_at) VALUES ($1, $2, $3, COALESCE($4, "
             "0), COALESCE($5, 0)) ON DUPLICATE KEY UPDATE size = size + VALUES(size), first_at = "
             "LEAST(first_at, COALESCE($4, first_at)), last_at = GREATEST(last_at, COALESCE($5, last_at))"},
    .get_joined = {"SELECT DISTINCT queue, name FROM main.joined ORDER BY queue, name LIMIT $1"},
    .leave_later = {"INSERT INTO main.joined (queue, name, size) VALUES ($1, $2, -1)"},
    .full = {"SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND size >= $2 LIMIT $3"},
    .long_waiting = {"SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND first_at <= $2 "
                     "ORDER BY first_at LIMIT $3"},
    .quiet = {"SELECT name FROM main.group WHERE queue = $1 AND not_before IS NULL AND last_at <= $2 ORDER "
              "BY last_at LIMIT $3"},
    // When the queue's next group has enough tasks, may be looked at again, has been quiet, has waited for
    // long.
    .least_times = {"SELECT EXISTS (SELECT 1 FROM main.group WHERE queue = $1 AND not_before IS NULL AND "
                    "size >= $2), (SELECT MIN(not_before) FROM main.group WHERE queue = $1 AND not_before IS "
                    "NOT NULL), (SELECT MIN(last_at) FROM main.group WHERE queue = $1 AND not_before IS "
                    "NULL), (SELECT MIN(first_at) FROM main.group WHERE queue = $1 AND not_before IS NULL)"},
    .rested = {"UPDATE main.group SET not_before = NULL WHERE queue = $1 AND not_before IS NOT NULL AND "
               "not_before <= $2"},
    .rest = {"UPDATE main.group SET not_before = $3 WHERE queue = $1 AND name = $2"},
    .take = {"SELECT size, first_at, last_at FROM main.group WHERE queue = $1 AND name = $2 AND not_before "
             "IS NULL FOR UPDATE SKIP LOCKED"},
    .add_set = {"INSERT INTO main.set (id, queue, task_group, until) VALUES ($1, $2, $3, $4)"},
    .get_set = {"SELECT task_group FROM main.set WHERE id = $1 AND queue = $2 FOR UPDATE"},
    .drop_set = {"DELETE FROM main.set WHERE id = $1"},
    .get_lapsed = {"SELECT id, queue, task_group FROM main.set WHERE until <= $1 ORDER BY until LIMIT $2 FOR "
                   "UPDATE SKIP LOCKED"},
    .list = {"SELECT name, size, first_at, last_at FROM main.group WHERE queue = $1 AND name > $2 ORDER BY "
             "name LIMIT $3"},
};

void Mysql::fold_joined(Write& write, std::int64_t queue, std::string_view group) {
  Table<sql_store::Number<"id">> noted;
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
  write.tell(groups.grow, queue, Blob{group}, size, first, last);
  write.tell(drop_noted, noted);
}

void Mysql::shrink_group(Write& write, std::int64_t queue, std::string_view group, std::size_t count) {
  write.tell(shrink, queue, Blob{group}, count, no_claim);
}

void Mysql::leave_members(Write& write, const sql_store::Row& row) {
  write.tell(drop_member, row.queue(), Blob{row.task.group}, no_claim, stored(row.at), row.seq);
}

Query Mysql::oldest_members(Write& write, std::int64_t queue, std::string_view group, std::size_t limit) {
  return write.ask(take_tasks, queue, Blob{group}, no_claim, limit);
}

void Mysql::into_set(Write& write, std::int64_t queue, std::string_view group,
                     std::span<const sql_store::Row> rows, std::int64_t id) {
  Table<sql_store::Number<"at">, sql_store::Number<"seq">> table;
  for (const sql_store::Row& row : rows) table.add(stored(row.at), row.seq);
  write.tell(hold_tasks, table, set_line(queue), id);
  write.tell(hold_members, table, queue, Blob{group}, no_claim, id);
}

Query Mysql::members_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id) {
  return write.ask(tasks_of_set, queue, Blob{group}, id);
}

Query Mysql::out_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id) {
  Batch batch;
  batch.add(count_members, queue, Blob{group}, id);
  batch.add(free_tasks, queue, Blob{group}, id, line_of(queue, State::aggregating), no_claim);
  batch.add(free_members, queue, Blob{group}, id, no_claim);
  return std::move(write.ask_all(std::move(batch)).front());
}

void Mysql::drop_members(Write& write, std::int64_t queue, std::string_view group, std::int64_t id) {
  write.tell(drop_all_members, queue, Blob{group}, id);
}

}  // namespace tidemill::mysql_store
