#pragma once

#include <chrono>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/sql/naming.hpp"

namespace tidemill::sql_store {

template <class Database>
std::string Naming<Database>::read(Connection& db, NameTable table, std::int64_t number) {
  auto row = db.query(Database::find_name[static_cast<std::size_t>(table)], number);
  if (row.step()) return std::string{row.bytes(0)};
  throw Error{ErrorKind::corrupt, fmt::format("a task refers to {} number {}, which there is not",
                                              table == NameTable::queue ? "queue" : "kind", number)};
}

template <class Database>
std::optional<std::int64_t> Naming<Database>::find(Connection& db, NameTable table, std::string_view name,
                                                   bool shares) {
  if (const auto known = cache_.number(table, name)) return known;
  auto row = db.query(Database::find_number[static_cast<std::size_t>(table)], sql::Blob{name});
  if (!row.step()) return {};
  if (shares) cache_.add(table, name, row.integer(0));
  return row.integer(0);
}

template <class Database>
std::int64_t Naming<Database>::intern(Connection& db, NameTable table, std::string_view name, bool shares) {
  if (const auto number = find(db, table, name, shares)) return *number;
  if (!db.in_transaction()) return make(db, table, name);
  // Somebody's open transaction may hold the same new name.
  const auto until = std::chrono::steady_clock::now() + name_time;
  Connection own{options_, "tidemill", until};
  own.give_up_at(until);
  return make(own, table, name);
}

template <class Database>
std::int64_t Naming<Database>::make(Connection& db, NameTable table, std::string_view name) {
  if (const auto number = Database::insert_name(db, table, name)) {
    cache_.add(table, name, *number);
    return *number;
  }
  if (const auto number = find(db, table, name)) return *number;
  throw Error{ErrorKind::corrupt, fmt::format("the name \"{}\" can be neither stored nor found", name)};
}

template <class Database>
std::string Naming<Database>::name_inside(Connection& theirs, NameTable table, std::int64_t number) const {
  if (const std::string* const known = cache_.name(table, number)) return *known;
  return read(theirs, table, number);
}

template <class Database>
const std::string& Naming<Database>::name(Connection& db, NameTable table, std::int64_t number) {
  if (const std::string* const known = cache_.name(table, number)) return *known;
  cache_.add(table, read(db, table, number), number);
  return *cache_.name(table, number);
}

}  // namespace tidemill::sql_store
