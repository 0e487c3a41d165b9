#pragma once

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

}  // namespace tidemill
