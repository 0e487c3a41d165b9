#pragma once

#include <tidemill/store.hpp>

struct sqlite3;

namespace tidemill {

/// The caller's own transaction on an SQLite connection to the file of the store, for `Client::enqueue`: the
/// task exists if and only if that transaction commits.
///
///   sqlite3_exec(db, "BEGIN IMMEDIATE", …);
///   …                                            // the application's own rows
///   tidemill::SqliteTransaction transaction{db};
///   client.enqueue(transaction, SendMail{…});
///   sqlite3_exec(db, "COMMIT", …);
///
/// It neither begins nor ends the transaction and owns nothing: `db` must outlive it. Use it from the thread
/// that uses `db`. Workers of any process notice the commit within some milliseconds.
class SqliteTransaction : public Transaction {
 public:
  explicit SqliteTransaction(sqlite3* db) : db_(db) {}
  sqlite3* connection() const noexcept { return db_; }

 private:
  sqlite3* db_;
};

}  // namespace tidemill
