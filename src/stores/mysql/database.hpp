#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stores/mysql/errors.hpp"
#include "stores/mysql/layout.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/readers.hpp"
#include "stores/sql/report.hpp"
#include "stores/sql/statements.hpp"
#include "stores/sql/task.hpp"
#include "stores/sql/tasks.hpp"
#include "stores/sql/write.hpp"

namespace tidemill {
class MysqlTransaction;
}

namespace tidemill::mysql_store {

class KeyTaking;
struct ClaimAnswer;

/// What stores/sql is to know of MariaDB and MySQL: its driver, and what it says and does in its own way.
struct Mysql {
  using Connection = mysql::Connection;
  using Options = mysql::Options;
  using Batch = mysql::Batch;
  using Query = mysql::Query;
  using Failure = mysql::Failure;
  using Outcome = mysql::Outcome;
  using Travels = mysql::Scope;  ///< How a batch stands to a transaction.
  using KeyTaking = mysql_store::KeyTaking;
  using Transaction = MysqlTransaction;  ///< A caller's own.
  using ClaimAnswer = mysql_store::ClaimAnswer;
  using Scope = sql_store::Scope<Mysql>;
  using Write = sql_store::Write<Mysql>;

  template <class... Columns>
  using Table = TableOf<Columns...>;
  template <class... Columns>
  using Rows = mysql::Rows;
  static bool is_long(const auto& rows) { return rows.bytes() >= statement_bytes; }
  /// When tasks are to be purged; what is there already is from an earlier end of the same task.
  class Purges {
   public:
    void add(std::int64_t at, std::int64_t seq) { rows_.add(at, seq); }
    void tell(Write& write);

   private:
    mysql::Rows rows_;
  };

  /// Of a batch that is a transaction by itself.
  static constexpr Travels whole = Travels::plain;

  static Error to_error(const Failure& failure, const std::string& where) {
    return mysql_store::to_error(failure, where);
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
  // What is set is set for all transactions of a connection.
  static void set_up_writer(Connection& db, bool waits_for_keys);
  static void set_up_reader(Connection& db);
  static Batch settings_of_write(bool /*waits_for_keys*/, bool /*sync*/) { return {}; }
  static Batch opening_of_look() { return {}; }
  static Batch opening_of_read() { return {}; }

  // New tasks: enqueue.cpp.
  /// What is wrong with the task itself; empty: nothing.
  static std::string fault_of(const Task& task, std::size_t task_bytes_max);
  /// Inserts tasks; the answers are `created` or `exists`. Of those whose ids come twice the first counts.
  static void insert_tasks(Write& write, const std::vector<sql_store::Entry*>& entries);

  // Callers' transactions: inside.cpp.
  static constexpr std::string_view transaction_name = "MysqlTransaction";
  static const sql_store::InsideStatements inside;
  /// `handle`: the driver's, or a session.
  template <class Handle>
  static Connection borrow(Handle handle, const Options& server) {
    return Connection{std::move(handle), server.prefix, server.database};
  }
  /// The transaction with all that was in it, savepoints too: a deadlock does that.
  static bool is_undone(const Connection& db) { return db.transaction_failed(); }
  static bool is_read_only(const Failure& failure);
  /// There are no tables of ours, or not for this user.
  static bool is_elsewhere(const Failure& failure);
  // Nobody listens; workers look.
  static void tell_listeners(Write& /*write*/, Connection& /*db*/) {}

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
  // The server gives tasks their numbers.
  static void number(Write& /*write*/, const std::vector<sql_store::Entry*>& /*entries*/) {}
  /// The entry's key, if row `holder` has it, begins anew; false: it has not.
  static bool renew_key(Write& write, const sql_store::Entry& entry, std::int64_t holder, TimePoint now);
  /// The row of the entry waits in its group now.
  static void join_members(Write& write, const sql_store::Entry& entry, std::int64_t seq, TimePoint at);

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
  /// What it had has been erased.
  static void drop_members(Write& write, std::int64_t queue, std::string_view group, std::int64_t id);

  // Sweeps: sweep.cpp.
  static const sql_store::SweepStatements sweep;
  /// What plain INSERTs have brought becomes tasks.
  static void take_inbox(Write& write, TimePoint now, std::size_t task_bytes_max);
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

using Lane = sql_store::Lane<Mysql>;
using Naming = sql_store::Naming<Mysql>;
using Readers = sql_store::Readers<Mysql>;
using Scope = sql_store::Scope<Mysql>;
using Write = sql_store::Write<Mysql>;

using sql_store::Counter;
using sql_store::Entry;
using sql_store::NameTable;
using sql_store::News;
using sql_store::plain;
using sql_store::Row;

/// All counts there are, as a table of queue, state and tasks.
inline constexpr char all_counts[] =
    "(SELECT queue, state, tasks FROM main.counter UNION ALL SELECT queue, state, tasks FROM main.delta) AS "
    "c";

}  // namespace tidemill::mysql_store
