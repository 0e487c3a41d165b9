#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql shrink{
    "UPDATE main.tidemill_group SET size = size - $3, first_at = coalesce((SELECT j.at FROM "
    "main.tidemill_job j WHERE j.line = $4 AND j.task_group = $2 AND j.claim = $5 ORDER BY j.at, j.seq LIMIT "
    "1), first_at), last_at = coalesce((SELECT j.at FROM main.tidemill_job j WHERE j.line = $4 AND "
    "j.task_group = $2 AND j.claim = $5 ORDER BY j.at DESC, j.seq DESC LIMIT 1), last_at) WHERE queue = $1 "
    "AND name = $2"};
// What callers' transactions have noted: tasks that came, and with a negative size such as went.
constexpr Sql fold_one{
    "WITH gone AS (DELETE FROM main.tidemill_joined WHERE queue = $1 AND name = $2 RETURNING size, first_at, "
    "last_at) INSERT INTO main.tidemill_group AS g (queue, name, size, first_at, last_at) SELECT $1::int, "
    "$2, sum(size), coalesce(min(first_at), 0), coalesce(max(last_at), 0) FROM gone HAVING count(*) > 0 ON "
    "CONFLICT (queue, name) DO UPDATE SET size = g.size + excluded.size, first_at = least(g.first_at, "
    "nullif(excluded.first_at, 0)), last_at = greatest(g.last_at, excluded.last_at)"};
// What an operator is changing is left out: he locks tasks first, and then their group.
constexpr auto take_text = join("SELECT ", job_columns,
                                " FROM main.tidemill_job j WHERE j.line = $1 AND j.task_group = $2 AND "
                                "j.claim = $3 ORDER BY j.at, j.seq LIMIT $4 FOR UPDATE OF j SKIP LOCKED");
constexpr Sql take_tasks{take_text.data()};
constexpr auto of_set_text = join("SELECT ", job_columns,
                                  " FROM main.tidemill_job j WHERE j.line = $1 AND j.task_group = $2 AND "
                                  "j.claim = $3 ORDER BY j.at, j.seq FOR UPDATE OF j");
constexpr Sql tasks_of_set{of_set_text.data()};
constexpr Sql hold_tasks{"UPDATE main.tidemill_job SET line = $2, claim = $3 WHERE seq = ANY($1::bigint[])"};
constexpr Sql free_tasks{
    "WITH moved AS (UPDATE main.tidemill_job SET line = $4, claim = $5 WHERE line = $1 AND task_group = $2 "
    "AND claim = $3 RETURNING at) SELECT count(*), min(at), max(at) FROM moved"};

}  // namespace

const sql_store::GroupStatements Postgres::groups{
    // Who changes a group's row locks it first in a statement of its own, so that the next one sees all tasks
    // that came and went meanwhile.
    .lock = {"SELECT 1 FROM main.tidemill_group WHERE queue = $1 AND name = $2 FOR UPDATE"},
    .end = {"DELETE FROM main.tidemill_group WHERE queue = $1 AND name = $2 AND size <= 0"},
    .grow = {"INSERT INTO main.tidemill_group AS g (queue, name, size, first_at, last_at) VALUES ($1, $2, "
             "$3, $4, $5) ON CONFLICT (queue, name) DO UPDATE SET size = g.size + excluded.size, first_at = "
             "least(g.first_at, excluded.first_at), last_at = greatest(g.last_at, excluded.last_at)"},
    .get_joined = {"SELECT DISTINCT queue, name FROM main.tidemill_joined ORDER BY queue, name LIMIT $1"},
    .leave_later = {"INSERT INTO main.tidemill_joined (queue, name, size) VALUES ($1, $2, -1)"},
    .full = {"SELECT name FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL AND size >= $2 "
             "LIMIT $3"},
    .long_waiting = {"SELECT name FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL AND "
                     "first_at <= $2 ORDER BY first_at LIMIT $3"},
    .quiet = {"SELECT name FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL AND last_at <= "
              "$2 ORDER BY last_at LIMIT $3"},
    // When the queue's next group has enough tasks, may be looked at again, has been quiet, has waited for
    // long.
    .least_times =
        {"SELECT EXISTS (SELECT 1 FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL AND size "
         ">= $2), (SELECT min(not_before) FROM main.tidemill_group WHERE queue = $1 AND not_before IS NOT "
         "NULL), (SELECT min(last_at) FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL), "
         "(SELECT min(first_at) FROM main.tidemill_group WHERE queue = $1 AND not_before IS NULL)"},
    .rested = {"UPDATE main.tidemill_group SET not_before = NULL WHERE queue = $1 AND not_before IS NOT NULL "
               "AND not_before <= $2"},
    .rest = {"UPDATE main.tidemill_group SET not_before = $3 WHERE queue = $1 AND name = $2"},
    .take = {"SELECT size, first_at, last_at FROM main.tidemill_group WHERE queue = $1 AND name = $2 AND "
             "not_before IS NULL FOR UPDATE SKIP LOCKED"},
    .add_set = {"INSERT INTO main.tidemill_set (id, queue, task_group, until) VALUES ($1, $2, $3, $4)"},
    .get_set = {"SELECT task_group FROM main.tidemill_set WHERE id = $1 AND queue = $2 FOR UPDATE"},
    .drop_set = {"DELETE FROM main.tidemill_set WHERE id = $1"},
    .get_lapsed = {"SELECT id, queue, task_group FROM main.tidemill_set WHERE until <= $1 ORDER BY until "
                   "LIMIT $2 FOR UPDATE SKIP LOCKED"},
    .list = {"SELECT name, size, first_at, last_at FROM main.tidemill_group WHERE queue = $1 AND name > $2 "
             "ORDER BY name LIMIT $3"},
};

void Postgres::fold_joined(Write& write, std::int64_t queue, std::string_view group) {
  write.tell(fold_one, queue, Blob{group});
}

void Postgres::shrink_group(Write& write, std::int64_t queue, std::string_view group, std::size_t count) {
  write.tell(shrink, queue, Blob{group}, count, line_of(queue, State::aggregating), no_claim);
}

void Postgres::leave_members(Write& write, const sql_store::Row& row) {
  // It still stands there, and must not be found as the group's first or last.
  write.tell(hold_tasks, std::vector{row.seq}, set_line(row.queue()), no_claim);
}

Query Postgres::oldest_members(Write& write, std::int64_t queue, std::string_view group, std::size_t limit) {
  return write.ask(take_tasks, line_of(queue, State::aggregating), Blob{group}, no_claim, limit);
}

void Postgres::into_set(Write& write, std::int64_t queue, std::string_view /*group*/,
                        std::span<const sql_store::Row> rows, std::int64_t id) {
  std::vector<std::int64_t> seqs;
  for (const sql_store::Row& row : rows) seqs.push_back(row.seq);
  write.tell(hold_tasks, seqs, set_line(queue), id);
}

Query Postgres::members_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id) {
  return write.ask(tasks_of_set, set_line(queue), Blob{group}, id);
}

Query Postgres::out_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id) {
  return write.ask(free_tasks, set_line(queue), Blob{group}, id, line_of(queue, State::aggregating),
                   no_claim);
}

}  // namespace tidemill::postgres_store
