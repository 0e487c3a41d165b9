#include "stores/mysql/database.hpp"
#include "stores/sql/naming_body.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql insert_queue_or_kind[] = {{"INSERT IGNORE INTO main.queue (name) VALUES ($1)"},
                                        {"INSERT IGNORE INTO main.kind (name) VALUES ($1)"}};

}  // namespace

const Sql Mysql::find_number[2] = {{"SELECT id FROM main.queue WHERE name = $1"},
                                   {"SELECT id FROM main.kind WHERE name = $1"}};
const Sql Mysql::find_name[2] = {{"SELECT name FROM main.queue WHERE id = $1"},
                                 {"SELECT name FROM main.kind WHERE id = $1"}};

std::optional<std::int64_t> Mysql::insert_name(Connection& db, NameTable table, std::string_view name) {
  db.run(insert_queue_or_kind[static_cast<std::size_t>(table)], Blob{name});
  return {};
}

}  // namespace tidemill::mysql_store

template class tidemill::sql_store::Naming<tidemill::mysql_store::Mysql>;
