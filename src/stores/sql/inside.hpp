#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

#include "stores/sql/enqueue.hpp"
#include "stores/sql/handle.hpp"
#include "stores/sql/naming.hpp"

/// The caller's own transaction, on the caller's own connection.
namespace tidemill::sql_store {

/// The store that a caller's transaction must belong to.
template <class Database>
struct Home {
  const typename Database::Options& server;
  const std::string& where;   ///< For messages.
  std::int64_t identity = 0;  ///< Made with the tables: wherever it is read, there they are.
};

/// The store's identity. Throws Error{corrupt} when it is gone, and Failure.
template <class Database>
std::int64_t identity_of(Scope<Database>& scope) {
  if (auto row = scope.ask(Database::inside.get_identity); row.step()) return row.integer(0);
  throw Error{ErrorKind::corrupt, "tidemill_meta has lost the store's identity: restore a backup"};
}

/// Undoes our part alone when it fails half-way, and leaves the caller's transaction as it was.
template <class Database>
class Savepoint {
 public:
  using Connection = typename Database::Connection;

  explicit Savepoint(Connection& db) : db_(db) { db_.query(set_); }
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  ~Savepoint() {
    if (released_ || !db_.usable() || Database::is_undone(db_)) return;
    try {
      undo();
      db_.query(release_);
    } catch (const std::exception&) {
      // The failure on its way says more.
    }
  }
  /// What has failed since then.
  void undo() { db_.query(undo_); }
  /// With what else `write` has to tell.
  void release(Write<Database>& write) {
    write.tell(release_);
    write.commit();
    released_ = true;
  }

 private:
  static constexpr Sql set_{"SAVEPOINT tidemill"};
  static constexpr Sql release_{"RELEASE SAVEPOINT tidemill"};
  static constexpr Sql undo_{"ROLLBACK TO SAVEPOINT tidemill"};

  Connection& db_;
  bool released_ = false;
};

template <class Database>
Error to_error_inside(const typename Database::Failure& failure, const std::string& where) {
  if (Database::is_read_only(failure))
    return {ErrorKind::invalid, fmt::format("the transaction is read only ({})", failure.what())};
  if (failure.lost())
    return {ErrorKind::unavailable,
            fmt::format("the connection of the transaction was lost, and all of it is undone ({})",
                        failure.what())};
  if (failure.retryable()) {
    return {ErrorKind::timed_out,
            fmt::format("another transaction was in the way: roll this one back and begin it again ({})",
                        failure.what())};
  }
  return Database::to_error(failure, where);
}

template <class Database>
typename Database::Connection borrow(Transaction& transaction, const Home<Database>& home) {
  try {
    if (const auto* const native = dynamic_cast<typename Database::Transaction*>(&transaction);
        native != nullptr && native->connection() != nullptr)
      return Database::borrow(native->connection(), home.server);
    if (const auto* const any = dynamic_cast<SqlTransaction*>(&transaction))
      return Database::borrow(session_of(any->handle()), home.server);
    throw Error{ErrorKind::invalid,
                fmt::format("the store is {}: hand over a {} or an SqlTransaction with a connection to it",
                            home.where, Database::transaction_name)};
  } catch (const typename Database::Failure& failure) {
    throw Error{ErrorKind::invalid, fmt::format("the transaction is of no use: {}", failure.what())};
  }
}

template <class Database>
void check_transaction(const typename Database::Connection& db) {
  if (!db.in_transaction())
    throw Error{ErrorKind::invalid,
                "no transaction is open on the connection: BEGIN one, and COMMIT it afterwards"};
  if (db.transaction_failed())
    throw Error{ErrorKind::invalid,
                "the transaction on the connection has failed before: ROLLBACK, and begin again"};
}

template <class Database>
void check_home(typename Database::Connection& db, const Home<Database>& home,
                Savepoint<Database>& savepoint) {
  try {
    auto row = db.query(Database::inside.get_identity);
    if (row.step() && row.integer(0) == home.identity) return;
  } catch (const typename Database::Failure& failure) {
    if (!Database::is_elsewhere(failure)) throw;
    savepoint.undo();
  }
  auto row = db.query(Database::inside.database_name);
  throw Error{ErrorKind::invalid,
              fmt::format("the connection is to the database {}, and the store is {}: a transaction can take "
                          "in tasks of a store in the same database only",
                          row.step() ? row.bytes(0) : "", home.where)};
}

/// Enqueues on the caller's connection, in the transaction that is open there. Throws Error, and leaves the
/// transaction as it was.
template <class Database>
std::vector<Enqueued> enqueue_inside(Transaction& transaction, const Home<Database>& home,
                                     Naming<Database>& naming, std::span<const Task> tasks, TimePoint now,
                                     std::size_t task_bytes_max) {
  auto db = borrow(transaction, home);
  check_transaction<Database>(db);
  try {
    Savepoint<Database> savepoint{db};
    check_home(db, home, savepoint);
    Write<Database> write{db, naming};
    std::vector<Enqueued> answers = enqueue_all(write, tasks, now, task_bytes_max);
    write.finish();
    Database::tell_listeners(write, db);
    savepoint.release(write);
    return answers;
  } catch (const typename Database::Failure& failure) {
    throw to_error_inside<Database>(failure, home.where);
  }
}

}  // namespace tidemill::sql_store
