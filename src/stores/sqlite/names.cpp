#include "stores/sqlite/names.hpp"

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql find_number[] = {{"SELECT id FROM main.tidemill_queue WHERE name = ?1"},
                                       {"SELECT id FROM main.tidemill_kind WHERE name = ?1"}};
constexpr sqlite::Sql find_name[] = {{"SELECT name FROM main.tidemill_queue WHERE id = ?1"},
                                     {"SELECT name FROM main.tidemill_kind WHERE id = ?1"}};
constexpr sqlite::Sql insert_name[] = {{"INSERT INTO main.tidemill_queue (name) VALUES (?1)"},
                                       {"INSERT INTO main.tidemill_kind (name) VALUES (?1)"}};

constexpr std::size_t index(NameTable table) { return static_cast<std::size_t>(table); }

}  // namespace

std::optional<std::int64_t> Scope::find(NameTable table, std::string_view name) {
  Last& last = last_[index(table)];
  if (last.number != 0 && last.name == name) return last.number;
  auto number = own_[index(table)].number(name);
  if (!number) number = cache_.number(table, name);
  if (!number) {
    auto row = db.query(find_number[index(table)], name);
    if (!row.step()) return {};
    number = row.integer(0);
    // Not made by us, so another's commit made it.
    if (shares_) cache_.add(table, name, *number);
  }
  last = {std::string{name}, *number};
  return number;
}

const std::string& Scope::name(NameTable table, std::int64_t number) {
  const std::string* found = own_[index(table)].name(number);
  if (found == nullptr) found = cache_.name(table, number);
  if (found != nullptr) return *found;
  {
    auto row = db.query(find_name[index(table)], number);
    if (!row.step()) {
      throw Error{ErrorKind::corrupt, fmt::format("a task refers to {} number {}, which there is not",
                                                  table == NameTable::queue ? "queue" : "kind", number)};
    }
    if (shares_) {
      cache_.add(table, row.bytes(0), number);
    } else {
      own_[index(table)].add(row.bytes(0), number);
    }
  }
  return name(table, number);
}

std::int64_t Scope::intern(NameTable table, std::string_view name) {
  if (const auto number = find(table, name)) return *number;
  db.run(insert_name[index(table)], name);
  const std::int64_t number = db.last_row();
  own_[index(table)].add(name, number);
  last_[index(table)] = {std::string{name}, number};
  return number;
}

void Scope::keep_names() {
  for (const NameTable table : {NameTable::queue, NameTable::kind}) {
    if (own_[index(table)].empty()) continue;
    if (shares_) cache_.add_all(table, own_[index(table)]);
  }
}

void Scope::drop_names() {
  for (Names& names : own_) names.clear();
  for (Last& last : last_) last = {};
}

}  // namespace tidemill::sqlite_store
