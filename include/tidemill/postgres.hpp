#pragma once

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

}  // namespace tidemill
