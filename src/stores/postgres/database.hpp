#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stores/postgres/errors.hpp"
#include "stores/postgres/layout.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/readers.hpp"
#include "stores/sql/report.hpp"
#include "stores/sql/statements.hpp"
#include "stores/sql/task.hpp"
#include "stores/sql/tasks.hpp"
#include "stores/sql/write.hpp"

namespace tidemill {
class PostgresTransaction;
}

namespace tidemill::postgres_store {

class KeyTaking;
struct ClaimAnswer;

/// What stores/sql is to know of PostgreSQL: its driver, and what it says and does in its own way.
struct Postgres {
  using Connection = postgres::Connection;
  using Options = postgres::Options;
  using Batch = postgres::Batch;
  using Query = postgres::Query;
  using Failure = postgres::Failure;
  using Outcome = postgres::Outcome;
  using Travels = postgres::Scope;  ///< How a batch stands to a transaction.
  using KeyTaking = postgres_store::KeyTaking;
  using Transaction = PostgresTransaction;  ///< A caller's own.
  using ClaimAnswer = postgres_store::ClaimAnswer;
  using Scope = sql_store::Scope<Postgres>;
  using Write = sql_store::Write<Postgres>;

  template <class... Columns>
  using Table = Arrays<Columns...>;
  template <class... Columns>
  using Rows = Arrays<Columns...>;
  /// An array has no length that matters.
  static constexpr bool is_long(const auto& /*rows*/) { return false; }
  /// An index finds what is to be purged.
  struct Purges {
    void add(std::int64_t /*at*/, std::int64_t /*seq*/) {}
    void tell(Write& /*write*/) {}
  };

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
  static const sql_store::WriteStatements write;
  static std::optional<std::int64_t> next_number(Write& write, sql_store::Counter counter,
                                                 std::int64_t least);

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

  // New tasks: enqueue.cpp.
  /// What is wrong with the task itself; empty: nothing.
  static std::string fault_of(const Task& task, std::size_t task_bytes_max) {
    return sql_store::fault_of(task, task_bytes_max);
  }
  /// Inserts tasks; the answers are `created` or `exists`. Those whose ids come twice must have a number.
  static void insert_tasks(Write& write, const std::vector<sql_store::Entry*>& entries);

  // Callers' transactions: inside.cpp.
  static constexpr std::string_view transaction_name = "PostgresTransaction";
  static const sql_store::InsideStatements inside;
  /// `handle`: the driver's, or a session.
  template <class Handle>
  static Connection borrow(Handle handle, const Options& server) {
    return Connection{std::move(handle), server.schema};
  }
  /// The transaction with all that was in it, savepoints too.
  static bool is_undone(const Connection& /*db*/) { return false; }
  static bool is_read_only(const Failure& failure);
  /// There are no tables of ours, or not for this user.
  static bool is_elsewhere(const Failure& failure);
  /// Wakes workers with its commit.
  static void tell_listeners(Write& write, Connection& db);

  // Tasks and their ends: tasks.cpp, report.cpp.
  static const sql_store::TaskStatements tasks;
  static const sql_store::ReportStatements report;
  /// Seq, n and lines of the logs, which go.
  static Query take_logs(Write& write, const Table<sql_store::Number<"seq">>& seqs);
  /// Erases the tasks that are as expected and have neither key nor history: the most frequent report by far.
  /// Returns their numbers.
  static std::set<std::int64_t> end_simple(Write& write, const sql_store::SimpleEnds<Table>& ends);

  // Unique keys: keyed.cpp.
  static const sql_store::KeyStatements keys;
  /// Gives tasks that come in order the numbers that they will have.
  static void number(Write& write, const std::vector<sql_store::Entry*>& entries);
  /// The entry's key, if row `holder` has it, begins anew; false: it has not.
  static bool renew_key(Write& write, const sql_store::Entry& entry, std::int64_t holder, TimePoint now);
  // A row says by itself which group it is in.
  static void join_members(Write& /*write*/, const sql_store::Entry& /*entry*/, std::int64_t /*seq*/,
                           TimePoint /*at*/) {}

  // Renewals: renew.cpp.
  static const sql_store::RenewalStatements renewal;
  /// What extends the leases; its last answer is seq, claim, signal and logs_kept of those that are held.
  static void add_extension(Batch& batch, const sql_store::Extensions<Table>& leases, TimePoint until);

  // Groups: groups.cpp.
  static const sql_store::GroupStatements groups;
  /// Brings what callers' transactions have noted of the group into its row.
  static void fold_joined(Write& write, std::int64_t queue, std::string_view group);
  /// So many have left it; its first and last times are those of the tasks that it has.
  static void shrink_group(Write& write, std::int64_t queue, std::string_view group, std::size_t count);
  /// The row is no longer among those that wait in its group.
  static void leave_members(Write& write, const sql_store::Row& row);
  /// Rows that wait in the group, oldest first. What an operator is changing is left out: he locks tasks
  /// first, and then their group.
  static Query oldest_members(Write& write, std::int64_t queue, std::string_view group, std::size_t limit);
  static void into_set(Write& write, std::int64_t queue, std::string_view group,
                       std::span<const sql_store::Row> rows, std::int64_t id);
  static Query members_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id);
  /// They wait again: how many, and when the first and the last of them came.
  static Query out_of_set(Write& write, std::int64_t queue, std::string_view group, std::int64_t id);
  // What is erased is no member any more.
  static void drop_members(Write& /*write*/, std::int64_t /*queue*/, std::string_view /*group*/,
                           std::int64_t /*id*/) {}

  // Sweeps: sweep.cpp.
  static const sql_store::SweepStatements sweep;
  // Nothing comes in by another way: plain INSERTs are into a view.
  static void take_inbox(Write& /*write*/, TimePoint /*now*/, std::size_t /*task_bytes_max*/) {}
  /// What asks whether anything is due in one of the lines: a row that says so; none or 0: nothing.
  static void add_any_past(Batch& batch, const std::vector<std::int64_t>& lines, TimePoint now);
  /// Tasks in these lines whose time has come, the first first; locked.
  static std::vector<sql_store::Row> lapsed_rows(Write& write, const std::vector<std::int64_t>& lines,
                                                 std::size_t limit, TimePoint now);
  /// What is over for long enough goes; returns how many.
  static std::size_t purge(Write& write, std::size_t limit, TimePoint now);
  /// Brings what callers' transactions have noted of counts into the counters. Comes last.
  static void fold_deltas(Write& write);

  // The rest: catalog.cpp, statements.cpp, claim.cpp.
  static const sql_store::CatalogStatements catalog;
  static std::vector<QueueInfo> read_queues(Scope& scope, TimePoint now);
  static const sql_store::LockStatements locks;
  /// False where another holds it.
  static bool put_lock(Write& write, std::string_view name, std::string_view owner, std::int64_t fence,
                       TimePoint until, TimePoint now);
  static const sql_store::DocumentStatements documents;
  static const sql_store::ScheduleStatements schedules;
  static const sql_store::EditStatements edit;
  static const sql_store::FindStatements find;
  static const Sql get_time;  ///< The server's clock, in microseconds.
};

using Lane = sql_store::Lane<Postgres>;
using Naming = sql_store::Naming<Postgres>;
using Readers = sql_store::Readers<Postgres>;
using Scope = sql_store::Scope<Postgres>;
using Write = sql_store::Write<Postgres>;

using sql_store::Counter;
using sql_store::Entry;
using sql_store::NameTable;
using sql_store::News;
using sql_store::plain;
using sql_store::Row;

/// For the planner, which knows these tables as they were some minutes ago: to read a table from end to end
/// is never right here, nor is to compile a statement, or to plan it anew for each array.
extern const Sql plan_by_index;

}  // namespace tidemill::postgres_store
