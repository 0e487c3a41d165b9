#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "stores/sql/names.hpp"

namespace tidemill::sql_store {

/// The numbers of names in a database of a server. A new one is committed at once and by itself, whatever
/// becomes of the transaction that asks for it: so nobody waits for that, and what is known stays true.
///
/// Thread safety: all members may be called from any thread.
template <class Database>
class Naming {
 public:
  using Options = typename Database::Options;
  using Connection = typename Database::Connection;

  explicit Naming(Options options) : options_(std::move(options)) {}

  NameCache& cache() noexcept { return cache_; }
  /// None when the name was never seen. Asks by `db`, if need be. What is found is remembered if all that
  /// `db` sees is committed: `shares` is false on a caller's own connection, whose transaction may have made
  /// names and may yet fail.
  std::optional<std::int64_t> find(Connection& db, NameTable table, std::string_view name,
                                   bool shares = true);
  /// Makes it if need be: by `db`, unless a transaction is open there.
  std::int64_t intern(Connection& db, NameTable table, std::string_view name, bool shares = true);
  /// As `name`, for a caller's transaction: what that has made it may take back, so it is not remembered.
  std::string name_inside(Connection& theirs, NameTable table, std::int64_t number) const;
  /// Throws Error{corrupt} when there is none with that number. The text stays as long as this object.
  const std::string& name(Connection& db, NameTable table, std::int64_t number);

 private:
  /// How long a new name may take beside the transaction that needs it.
  static constexpr std::chrono::seconds name_time{5};

  static std::string read(Connection& db, NameTable table, std::int64_t number);
  std::int64_t make(Connection& db, NameTable table, std::string_view name);

  const Options options_;
  NameCache cache_;
};

}  // namespace tidemill::sql_store
