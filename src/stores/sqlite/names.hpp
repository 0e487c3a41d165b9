#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "drivers/sqlite/sqlite.hpp"
#include "stores/sql/names.hpp"

namespace tidemill::sqlite_store {

using sql_store::NameCache;
using sql_store::Names;
using sql_store::NameTable;

/// Names as one connection sees them.
class Scope {
 public:
  /// What is looked up is put into the cache when everything that `db` sees is committed, or will be told
  /// apart: `shares` is false on a caller's own connection, whose transaction may have made names and may yet
  /// fail.
  Scope(sqlite::Connection& connection, NameCache& cache, bool shares)
      : db(connection), cache_(cache), shares_(shares) {}

  /// None when the queue was never seen.
  std::optional<std::int64_t> find_queue(std::string_view name) { return find(NameTable::queue, name); }
  std::optional<std::int64_t> find_kind(std::string_view name) { return find(NameTable::kind, name); }
  const std::string& queue_name(std::int64_t number) { return name(NameTable::queue, number); }
  const std::string& kind_name(std::int64_t number) { return name(NameTable::kind, number); }

  sqlite::Connection& db;

 protected:
  /// The number of a name, new if need be; then it belongs to this transaction until `keep_names`.
  std::int64_t intern(NameTable table, std::string_view name);
  void keep_names();
  void drop_names();

 private:
  std::optional<std::int64_t> find(NameTable table, std::string_view name);
  const std::string& name(NameTable table, std::int64_t number);

  /// Most batches have one queue and one kind.
  struct Last {
    std::string name = {};
    std::int64_t number = 0;
  };

  NameCache& cache_;
  bool shares_;
  Names own_[2];  // Made or met in this transaction, and not committed for all that we know.
  Last last_[2];
};

}  // namespace tidemill::sqlite_store
