#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

struct pg_conn;  // libpq's PGconn.

namespace tidemill {

/// The caller's own transaction on a PostgreSQL connection to the database of the store, for
/// `Client::enqueue`: the task exists if and only if that transaction commits.
///
///   PQexec(db, "BEGIN");
///   …                                             // the application's own rows
///   tidemill::PostgresTransaction transaction{db};
///   client.enqueue(transaction, SendMail{…});
///   PQexec(db, "COMMIT");
///
/// It neither begins nor ends the transaction and owns nothing: `db` must outlive it. Use it from the thread
/// that uses `db`, which may be a blocking connection or not, with all results read and client_encoding UTF8.
/// What is enqueued is written between a savepoint and its release, so an error leaves the transaction as it
/// was. Time limits are those of the connection: lock_timeout, statement_timeout. No row is locked that other
/// tasks need, but for a unique key or the task that is replaced: whoever wants the same one waits for the
/// end of the transaction. Workers of any process are woken by the commit; such a transaction can't be
/// prepared for a two-phase commit, as PostgreSQL has it for all that notify.
class PostgresTransaction : public Transaction {
 public:
  explicit PostgresTransaction(pg_conn* db) : db_(db) {}
  pg_conn* connection() const noexcept { return db_; }

 private:
  pg_conn* db_;
};

/// The application's own connections to PostgreSQL, of whatever library, for a store that makes none itself.
struct PostgresHandles {
  /// Gives a connection that nobody else uses: each time another one, until the store has dropped that (and
  /// its copy of the handle). It is asked by several threads, whenever the store would connect: when it is
  /// opened, when it first needs one for some sort of call, and when one is lost. Up to 14 are in its hands
  /// at a time. What it throws means that the server can't be reached now.
  ///
  /// Each is in autocommit mode, of one and the same database, with client_encoding UTF8 and bytea_output hex
  /// (both are PostgreSQL's defaults in a database in UTF8). None is closed: a borrowed one is the
  /// application's again when it is dropped, without an open transaction; a shared one ends with its last
  /// handle. Nothing is set there that outlives a transaction.
  std::function<SqlHandle()> connect = {};
  std::string schema = "public";  ///< Where the tables are, or are made.
};

/// Opens a store that runs on such connections alone: all that clients, workers and inspectors do on it. What
/// it does not have there: it can't LISTEN, so it looks for tasks, every 10 to 250 ms while somebody waits; a
/// call that the server doesn't answer lasts as long as the connection waits; and VACUUM is autovacuum's.
/// Each statement is a round trip, so it is slower than the store of a URL. `options` as for `open`. Throws
/// Error{invalid} for what is not as it is said above, and else as `open` does.
std::unique_ptr<Store> open_postgres(PostgresHandles handles, const OpenOptions& options = {});

}  // namespace tidemill
