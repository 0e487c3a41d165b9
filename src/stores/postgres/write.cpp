#include "stores/sql/write_body.hpp"

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql next_fence{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'fence' RETURNING value"};
constexpr Sql next_version{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'version' RETURNING value"};

}  // namespace

const sql_store::WriteStatements Postgres::write{
    .add_tasks = {"INSERT INTO main.tidemill_counter AS c (queue, state, lane, tasks) SELECT * FROM "
                  "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) ON CONFLICT (queue, state, "
                  "lane) DO UPDATE SET tasks = c.tasks + excluded.tasks"},
    .add_deltas = {"INSERT INTO main.tidemill_delta (queue, state, tasks) SELECT * FROM unnest($1::bigint[], "
                   "$2::bigint[], $3::bigint[])"},
    .grow = {"INSERT INTO main.tidemill_group AS g (queue, name, size, first_at, last_at) SELECT * FROM "
             "unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) ON CONFLICT "
             "(queue, name) DO UPDATE SET size = g.size + excluded.size, first_at = least(g.first_at, "
             "excluded.first_at), last_at = greatest(g.last_at, excluded.last_at)"},
    .grow_later = {"INSERT INTO main.tidemill_joined (queue, name, size, first_at, last_at) SELECT * FROM "
                   "unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])"},
    .count_signal = {"UPDATE main.tidemill_meta SET value = value + 1 WHERE name = 'signals'"},
};

std::optional<std::int64_t> Postgres::next_number(Write& write, Counter counter, std::int64_t least) {
  auto row = write.ask(counter == Counter::fence ? next_fence : next_version, least);
  return row.step() ? std::optional{row.integer(0)} : std::nullopt;
}

}  // namespace tidemill::postgres_store

template class tidemill::sql_store::Scope<tidemill::postgres_store::Postgres>;
template class tidemill::sql_store::Write<tidemill::postgres_store::Postgres>;
