#include "stores/mysql/names.hpp"

#include <chrono>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/mysql/layout.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql find_number[] = {{"SELECT id FROM main.queue WHERE name = $1"},
                               {"SELECT id FROM main.kind WHERE name = $1"}};
constexpr Sql find_name[] = {{"SELECT name FROM main.queue WHERE id = $1"},
                             {"SELECT name FROM main.kind WHERE id = $1"}};
constexpr Sql insert_name[] = {{"INSERT IGNORE INTO main.queue (name) VALUES ($1)"},
                               {"INSERT IGNORE INTO main.kind (name) VALUES ($1)"}};

/// How long a new name may take beside the transaction that needs it.
constexpr auto name_time = std::chrono::seconds{5};

constexpr std::size_t index(NameTable table) { return static_cast<std::size_t>(table); }

std::string read_name(mysql::Connection& db, NameTable table, std::int64_t number) {
  auto row = db.query(find_name[index(table)], number);
  if (row.step()) return std::string{row.bytes(0)};
  throw Error{ErrorKind::corrupt, fmt::format("a task refers to {} number {}, which there is not",
                                              table == NameTable::queue ? "queue" : "kind", number)};
}

}  // namespace

std::optional<std::int64_t> Naming::find(mysql::Connection& db, NameTable table, std::string_view name,
                                         bool shares) {
  if (const auto known = cache_.number(table, name)) return known;
  auto row = db.query(find_number[index(table)], Blob{name});
  if (!row.step()) return {};
  if (shares) cache_.add(table, name, row.integer(0));
  return row.integer(0);
}

std::int64_t Naming::intern(mysql::Connection& db, NameTable table, std::string_view name, bool shares) {
  if (const auto number = find(db, table, name, shares)) return *number;
  if (!db.in_transaction()) return make(db, table, name);
  // Somebody's open transaction may hold the same new name.
  const auto until = std::chrono::steady_clock::now() + name_time;
  mysql::Connection own{options_, "tidemill", until};
  own.give_up_at(until);
  return make(own, table, name);
}

std::int64_t Naming::make(mysql::Connection& db, NameTable table, std::string_view name) {
  db.run(insert_name[index(table)], Blob{name});  // Or another process was faster.
  if (const auto number = find(db, table, name)) return *number;
  throw Error{ErrorKind::corrupt, fmt::format("the name \"{}\" can be neither stored nor found", name)};
}

std::string Naming::name_inside(mysql::Connection& theirs, NameTable table, std::int64_t number) const {
  if (const std::string* const known = cache_.name(table, number)) return *known;
  return read_name(theirs, table, number);
}

const std::string& Naming::name(mysql::Connection& db, NameTable table, std::int64_t number) {
  if (const std::string* const known = cache_.name(table, number)) return *known;
  cache_.add(table, read_name(db, table, number), number);
  return *cache_.name(table, number);
}

}  // namespace tidemill::mysql_store
