#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "stores/postgres/errors.hpp"
#include "stores/postgres/layout.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/readers.hpp"
#include "stores/sql/write.hpp"

namespace tidemill::postgres_store {

struct Entry;

/// What stores/sql is to know of PostgreSQL: its driver, and what it says and does in its own way.
struct Postgres {
  using Connection = postgres::Connection;
  using Options = postgres::Options;
  using Batch = postgres::Batch;
  using Query = postgres::Query;
  using Blob = postgres::Blob;
  using Failure = postgres::Failure;
  using Outcome = postgres::Outcome;
  using Travels = postgres::Scope;
  using Entry = postgres_store::Entry;
  using Write = sql_store::Write<Postgres>;

  /// Of a batch that is a transaction by itself.
  static constexpr Travels whole = Travels::whole;

  static Error to_error(const Failure& failure, const std::string& where) {
    return postgres_store::to_error(failure, where);
  }

  // Names: names.cpp. The arrays are in the order of NameTable.
  static const Sql find_number[2];
  static const Sql find_name[2];
  /// None: somebody has made it before, or its number is to be looked up.
  static std::optional<std::int64_t> insert_name(Connection& db, sql_store::NameTable table,
                                                 std::string_view name);

  // A transaction's end: write.cpp.
  static const Sql count_signal;
  static std::optional<std::int64_t> next_number(Write& write, sql_store::Counter counter,
                                                 std::int64_t least);
  /// Into the counters of a lane; none: as deltas.
  static void tell_counts(Write& write, std::span<const Write::Change> changes,
                          std::optional<std::int64_t> lane);
  static void tell_joined(Write& write, const sql_store::JoinedGroups& joined);

  // Connections and their transactions: lane.cpp.
  static const Sql put_session;
  /// Refused where the number is not less: somebody has resolved this transaction meanwhile.
  static const Sql move_session;
  /// Moves the session past a number that it has not come to, and returns its number then.
  static std::optional<std::int64_t> void_number(Connection& db, std::int64_t session, std::int64_t number);
  /// Whether the same transaction may succeed if it is begun again.
  static bool may_succeed_again(const Failure& failure, bool waits_for_keys);
  /// The failure of a commit of which it is known by now that it was not one.
  static Failure undone(const Failure& failure);
  /// What comes first in each transaction.
  static Batch settings_of_write(bool waits_for_keys, bool sync);
  static Batch opening_of_look();
  static Batch opening_of_read();
  // Nothing outlives a transaction: a pooler may be between.
  static void set_up_writer(Connection&, bool /*waits_for_keys*/) {}
  static void set_up_reader(Connection&) {}
};

using Lane = sql_store::Lane<Postgres>;
using Naming = sql_store::Naming<Postgres>;
using Readers = sql_store::Readers<Postgres>;
using Scope = sql_store::Scope<Postgres>;
using Write = sql_store::Write<Postgres>;

using sql_store::Counter;
using sql_store::JoinedGroups;
using sql_store::NameTable;
using sql_store::News;

/// For the planner, which knows these tables as they were some minutes ago: to read a table from end to end
/// is never right here, nor is to compile a statement, or to plan it anew for each array.
extern const Sql plan_by_index;

}  // namespace tidemill::postgres_store
