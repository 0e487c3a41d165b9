// The caller's own transaction, on the caller's own connection.
#include "stores/mysql/inside.hpp"

#include <optional>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/mysql.hpp>
#include <tidemill/sql.hpp>

#include "stores/mysql/database.hpp"
#include "stores/mysql/enqueue.hpp"
#include "stores/mysql/errors.hpp"
#include "stores/sql/handle.hpp"

namespace tidemill::mysql_store {

namespace {

using mysql::Failure;

constexpr Sql set_savepoint{"SAVEPOINT tidemill"};
constexpr Sql release_savepoint{"RELEASE SAVEPOINT tidemill"};
constexpr Sql undo{"ROLLBACK TO SAVEPOINT tidemill"};
constexpr Sql get_identity{"SELECT value FROM main.meta WHERE name = 'identity'"};
constexpr Sql database_name{"SELECT DATABASE()"};

/// Undoes our part alone when it fails half-way, and leaves the caller's transaction as it was.
class Savepoint {
 public:
  explicit Savepoint(mysql::Connection& db) : db_(db) { db_.query(set_savepoint); }
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  ~Savepoint() {
    if (released_ || !db_.usable() || db_.transaction_failed()) return;
    try {
      db_.query(undo);
      db_.query(release_savepoint);
    } catch (const std::exception&) {
      // The failure on its way says more.
    }
  }
  void released() noexcept { released_ = true; }

 private:
  mysql::Connection& db_;
  bool released_ = false;
};

/// None: the tables aren't there, or not for this user.
std::optional<std::int64_t> read_identity(mysql::Connection& db) {
  Query row = db.query(get_identity);
  if (!row.step()) return {};
  return row.integer(0);
}

Error to_error_inside(const Failure& failure, const std::string& where) {
  if (failure.read_only())
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
  return to_error(failure, where);
}

[[noreturn]] void refuse_place(const std::string& theirs, const std::string& where) {
  throw Error{
      ErrorKind::invalid,
      fmt::format(
          "the connection is to the database {}, and the store is {}: a transaction can take in tasks "
          "of a store in the same database only",
          theirs, where)};
}

mysql::Connection borrow(Transaction& transaction, const Place& place) {
  try {
    if (const auto* const native = dynamic_cast<MysqlTransaction*>(&transaction);
        native != nullptr && native->connection() != nullptr)
      return mysql::Connection{native->connection(), place.prefix, place.database};
    if (const auto* const any = dynamic_cast<SqlTransaction*>(&transaction))
      return mysql::Connection{sql_store::session_of(any->handle()), place.prefix, place.database};
    throw Error{ErrorKind::invalid,
                fmt::format("the store is {}: hand over a MysqlTransaction or an SqlTransaction with a "
                            "connection to it",
                            place.where)};
  } catch (const Failure& failure) {
    throw Error{ErrorKind::invalid, fmt::format("the transaction is of no use: {}", failure.what())};
  }
}

void check_transaction(const mysql::Connection& db) {
  if (!db.in_transaction())
    throw Error{ErrorKind::invalid,
                "no transaction is open on the connection: BEGIN one, and COMMIT it afterwards"};
  if (db.transaction_failed())
    throw Error{ErrorKind::invalid,
                "the transaction on the connection has failed before: ROLLBACK, and begin again"};
}

void check_place(mysql::Connection& db, const Place& place) {
  try {
    if (read_identity(db) == place.identity) return;
  } catch (const Failure& failure) {
    const bool unclear = failure.number() == 0 && !failure.lost();  // A handle may not know.
    if (!failure.missing() && !failure.forbidden() && !unclear) throw;
    db.query(undo);
  }
  Query row = db.query(database_name);
  refuse_place(row.step() ? std::string{row.bytes(0)} : "", place.where);
}

}  // namespace

std::int64_t identity_of(Scope& scope) {
  if (Query row = scope.ask(get_identity); row.step()) return row.integer(0);
  throw Error{ErrorKind::corrupt, "tidemill_meta has lost the store's identity: restore a backup"};
}

std::vector<Enqueued> enqueue_inside(Transaction& transaction, const Place& place, Naming& naming,
                                     std::span<const Task> tasks, TimePoint now, std::size_t task_bytes_max) {
  mysql::Connection db = borrow(transaction, place);
  check_transaction(db);
  try {
    Savepoint savepoint{db};
    check_place(db, place);
    Write write{db, naming};
    std::vector<Enqueued> answers = enqueue_all(write, tasks, now, task_bytes_max);
    write.finish();
    write.tell(release_savepoint);
    write.commit();
    savepoint.released();
    return answers;
  } catch (const Failure& failure) {
    throw to_error_inside(failure, place.where);
  }
}

}  // namespace tidemill::mysql_store
