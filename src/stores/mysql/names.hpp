#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "drivers/mysql/mysql.hpp"
#include "stores/sql/names.hpp"

namespace tidemill::mysql_store {

using sql_store::NameCache;
using sql_store::NameTable;

/// The numbers of names. A new one is committed at once and by itself, whatever becomes of the transaction
/// that asks for it: so nobody waits for that, and what is known stays true.
///
/// Thread safety: all members may be called from any thread.
class Naming {
 public:
  explicit Naming(mysql::Options options) : options_(std::move(options)) {}

  NameCache& cache() noexcept { return cache_; }
  /// None when the name was never seen. Asks by `db`, if need be. What is found is remembered if all that
  /// `db` sees is committed: `shares` is false on a caller's own connection, whose transaction may have made
  /// names and may yet fail.
  std::optional<std::int64_t> find(mysql::Connection& db, NameTable table, std::string_view name,
                                   bool shares = true);
  /// Makes it if need be: by `db`, unless a transaction is open there.
  std::int64_t intern(mysql::Connection& db, NameTable table, std::string_view name, bool shares = true);
  /// As `name`, for a caller's transaction: what that has made it may take back, so it is not remembered.
  std::string name_inside(mysql::Connection& theirs, NameTable table, std::int64_t number) const;
  /// Throws Error{corrupt} when there is none with that number. The text stays as long as this object.
  const std::string& name(mysql::Connection& db, NameTable table, std::int64_t number);

 private:
  std::int64_t make(mysql::Connection& db, NameTable table, std::string_view name);

  const mysql::Options options_;
  NameCache cache_;
};

}  // namespace tidemill::mysql_store
