#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

struct st_mysql;  // libmariadb's and libmysqlclient's MYSQL.

namespace tidemill {

/// The caller's own transaction on a connection of libmariadb to the database server of the store, for
/// `Client::enqueue`: the task exists if and only if that transaction commits.
///
///   mysql_query(db, "START TRANSACTION");
///   …                                             // the application's own rows
///   tidemill::MysqlTransaction transaction{db};
///   client.enqueue(transaction, SendMail{…});
///   mysql_query(db, "COMMIT");
///
/// It neither begins nor ends the transaction and owns nothing: `db` must outlive it. Use it from the thread
/// that uses `db`, with all results read and the character set utf8mb4. What is enqueued is written between a
/// savepoint and its release, so an error leaves the transaction as it was; but a deadlock rolls all of it
/// back, as the server has it, and the Error{timed_out} says to begin again. Time limits are those of the
/// connection: innodb_lock_wait_timeout. No row is locked that other tasks need, but for a unique key or the
/// task that is replaced: whoever wants the same one waits for the end of the transaction. Workers see the
/// commit when they look next, within a quarter of a second.
class MysqlTransaction : public Transaction {
 public:
  explicit MysqlTransaction(st_mysql* db) : db_(db) {}
  st_mysql* connection() const noexcept { return db_; }

 private:
  st_mysql* db_;
};

/// The application's own connections to MariaDB or MySQL, of whatever library, for a store that makes none
/// itself.
struct MysqlHandles {
  /// Gives a connection that nobody else uses: each time another one, until the store has dropped that (and
  /// its copy of the handle). It is asked by several threads, whenever the store would connect: when it is
  /// opened, when it first needs one for some sort of call, and when one is lost. Up to 14 are in its hands
  /// at a time. What it throws means that the server can't be reached now.
  ///
  /// All are of one and the same database, with the character set utf8mb4, and count the rows that an UPDATE
  /// matches (CLIENT_FOUND_ROWS, as SOCI has it). None is closed: a borrowed one is the application's again
  /// when it is dropped, without an open transaction; a shared one ends with its last handle. The store sets
  /// the session's isolation level, autocommit, sql_mode and max_sort_length.
  std::function<SqlHandle()> connect = {};
  std::string prefix = "tidemill_";  ///< Of the names of all tables.
};

/// Opens a store that runs on such connections alone: all that clients, workers and inspectors do on it. A
/// call that the server doesn't answer lasts as long as the connection waits. Each statement is a round trip,
/// so it is slower than the store of a URL. `options` as for `open`. Throws Error{invalid} for what is not as
/// it is said above, and else as `open` does.
std::unique_ptr<Store> open_mysql(MysqlHandles handles, const OpenOptions& options = {});

}  // namespace tidemill
