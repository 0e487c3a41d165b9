#include "stores/sql/write_body.hpp"

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql next_fence{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'fence'"};
constexpr Sql next_version{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'version'"};
constexpr Sql last_number{"SELECT CAST(LAST_INSERT_ID() AS SIGNED)"};

}  // namespace

const sql_store::WriteStatements Mysql::write{
    .add_tasks = {"INSERT INTO main.counter (queue, state, lane, tasks) VALUES $1 ON DUPLICATE KEY UPDATE "
                  "tasks = tasks + VALUES(tasks)"},
    .add_deltas = {"INSERT INTO main.delta (queue, state, tasks) VALUES $1"},
    .grow = {"INSERT INTO main.group (queue, name, size, first_at, last_at) VALUES $1 ON DUPLICATE KEY "
             "UPDATE size = size + VALUES(size), first_at = LEAST(first_at, VALUES(first_at)), last_at = "
             "GREATEST(last_at, VALUES(last_at))"},
    .grow_later = {"INSERT INTO main.joined (queue, name, size, first_at, last_at) VALUES $1"},
    .count_signal = {"UPDATE main.meta SET value = value + 1 WHERE name = 'signals'"},
};

std::optional<std::int64_t> Mysql::next_number(Write& write, Counter counter, std::int64_t least) {
  Batch batch;
  batch.add(counter == Counter::fence ? next_fence : next_version, least);
  batch.add(last_number);
  auto answers = write.ask_all(std::move(batch));
  if (answers[0].changes() == 0 || !answers[1].step()) return {};
  return answers[1].integer(0);
}

}  // namespace tidemill::mysql_store

template class tidemill::sql_store::Scope<tidemill::mysql_store::Mysql>;
template class tidemill::sql_store::Write<tidemill::mysql_store::Mysql>;
