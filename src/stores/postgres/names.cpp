#include "stores/postgres/database.hpp"
#include "stores/sql/naming_body.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql insert_queue_or_kind[] = {
    {"INSERT INTO main.tidemill_queue (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id"},
    {"INSERT INTO main.tidemill_kind (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id"}};

}  // namespace

const Sql Postgres::find_number[2] = {{"SELECT id FROM main.tidemill_queue WHERE name = $1"},
                                      {"SELECT id FROM main.tidemill_kind WHERE name = $1"}};
const Sql Postgres::find_name[2] = {{"SELECT name FROM main.tidemill_queue WHERE id = $1"},
                                    {"SELECT name FROM main.tidemill_kind WHERE id = $1"}};

std::optional<std::int64_t> Postgres::insert_name(Connection& db, NameTable table, std::string_view name) {
  auto row = db.query(insert_queue_or_kind[static_cast<std::size_t>(table)], Blob{name});
  return row.step() ? std::optional{row.integer(0)} : std::nullopt;
}

}  // namespace tidemill::postgres_store

template class tidemill::sql_store::Naming<tidemill::postgres_store::Postgres>;
