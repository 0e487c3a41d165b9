// The caller's own transaction, on the caller's own connection.
#include <sqlite3.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/sqlite.hpp>

#include "stores/sql/handle.hpp"
#include "stores/sqlite/enqueue.hpp"
#include "stores/sqlite/store_impl.hpp"

namespace tidemill::sqlite_store {

namespace {

/// Only looks at the directory entry. To open and close the file would drop all locks that this process has
/// on it.
bool same_file(const std::string& a, const std::string& b) {
  struct stat first{};
  struct stat second{};
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

constexpr sqlite::Sql list_databases{"SELECT seq, name, file FROM pragma_database_list"};

/// Undoes our part alone when it fails half-way, and leaves the caller's transaction as it was.
class Savepoint {
 public:
  explicit Savepoint(sqlite::Connection& db) : db_(db) { db_.execute("SAVEPOINT tidemill"); }
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  ~Savepoint() {
    try {
      if (done_ || !db_.in_transaction()) return;
      db_.execute("ROLLBACK TO tidemill; RELEASE tidemill");
    } catch (const sqlite::Failure&) {
      // The failure on its way says more.
    }
  }
  void release() {
    db_.execute("RELEASE tidemill");
    done_ = true;
  }

 private:
  sqlite::Connection& db_;
  bool done_ = false;
};

Error to_error_inside(const sqlite::Failure& failure, const std::string& path) {
  if (failure.code() != SQLITE_BUSY && failure.code() != SQLITE_LOCKED) return to_error(failure, path);
  return {ErrorKind::unavailable,
          fmt::format(
              "{} is locked by another writer, and this transaction holds only a read lock: begin it with "
              "BEGIN IMMEDIATE, and set a busy timeout on the connection ({})",
              path, failure.what())};
}

/// The name by which the caller's connection knows the database in the file `path`.
std::string schema_of(sqlite::Connection& connection, const std::string& path) {
  std::string files;
  auto row = connection.query(list_databases);
  while (row.step()) {
    const std::string file{row.bytes(2)};
    if (same_file(file, path)) return std::string{row.bytes(1)};
    files += fmt::format("{}{}", files.empty() ? "" : ", ", file.empty() ? "memory" : file);
  }
  throw Error{ErrorKind::invalid,
              fmt::format("the connection is to {}, and the store is in {}: a transaction can take "
                          "in tasks of a store in the same file only",
                          files, path)};
}

/// Calls `use(Connection&)` on the connection of a transaction that is open; statements' `main` is the file
/// `path`.
template <class F>
auto borrow(Transaction& transaction, const std::string& path, F&& use) {
  const auto with = [&](const auto& connection) {
    sqlite::Connection probe{connection, "main"};
    if (!probe.in_transaction()) {
      throw Error{ErrorKind::invalid,
                  "no transaction is open on the connection: begin one with BEGIN IMMEDIATE, and COMMIT it "
                  "afterwards"};
    }
    sqlite::Connection db{connection, schema_of(probe, path)};
    return use(db);
  };
  if (const auto* const native = dynamic_cast<SqliteTransaction*>(&transaction);
      native != nullptr && native->connection() != nullptr)
    return with(native->connection());
  if (const auto* const any = dynamic_cast<SqlTransaction*>(&transaction))
    return with(std::shared_ptr<sql::Session>{sql_store::session_of(any->handle())});
  throw Error{ErrorKind::invalid,
              fmt::format("the store is the SQLite file {}: hand over an SqliteTransaction "
                          "or an SqlTransaction with a connection to it",
                          path)};
}

}  // namespace

std::vector<Enqueued> SqliteStore::enqueue_inside(std::span<const Task> tasks, TimePoint now,
                                                  Transaction& inside) {
  try {
    return borrow(inside, options_.path, [&](sqlite::Connection& db) {
      // The numbers of names that this transaction makes may never come true: they stay out of the cache.
      Write write{db, names_, false};
      Savepoint savepoint{db};
      std::vector<Enqueued> answers = enqueue_all(write, tasks, now, capabilities_.task_bytes_max);
      write.finish();
      savepoint.release();
      return answers;
    });
  } catch (const sqlite::Failure& failure) {
    throw to_error_inside(failure, options_.path);
  }
}

}  // namespace tidemill::sqlite_store
