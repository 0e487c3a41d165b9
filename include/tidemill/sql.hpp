#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

struct st_mysql;  // libmariadb's MYSQL.

/// Connections to an SQL database of whatever library: an ORM's, a wrapper's, the application's own. What
/// they are good for, and where:
///
///                                            PostgreSQL       MariaDB, MySQL   SQLite
///   a task in your own open transaction:
///     Client::enqueue(SqlTransaction&, …)    yes              yes              yes
///   a store that has no other connections    open_postgres    open_mysql       no: a file has no server, and
///     (postgres.hpp, mysql.hpp)                                                the store opens it by itself
///   PersistentQueue's tables
///     (persistent_queue.hpp)                 no               yes              no
///
/// Say once what your connection is, in a class of some thirty lines that has the four calls of
/// SqlConnection: tests/pqxx.hpp is such a one for libpqxx, and tests/soci.hpp for SOCI (PostgreSQL, MySQL,
/// SQLite). For the native ones of libpq, libmariadb and SQLite there are PostgresTransaction,
/// MysqlTransaction and SqliteTransaction, which are faster: here each statement is a round trip.
namespace tidemill {

/// A parameter of a statement: NULL, an integer, or text in UTF-8.
using SqlValue = std::variant<std::nullptr_t, std::int64_t, std::string>;
/// A row of an answer: each column as text, the way the server writes it; none for NULL.
using SqlRow = std::vector<std::optional<std::string>>;

/// The rows of an answer, walked once: `next` comes to the first row, then to the one after; `text` is of the
/// row that it came to, columns counted from 0. What has no rows may have no columns.
template <class T>
concept SqlCursor = requires(T& cursor, std::size_t column) {
  { cursor.columns() } -> std::convertible_to<std::size_t>;
  { cursor.next() } -> std::convertible_to<bool>;
  { cursor.text(column) } -> std::convertible_to<std::optional<std::string>>;
};

/// What a connection must be able to do: four calls. Say what it is once, in a class of some thirty lines,
/// around what the application has; tests/soci.hpp and tests/pqxx.hpp have it for SOCI and libpqxx.
///
///   execute(text, parameters)   runs a statement, answers how many rows it changed (or matched)
///   query(text, parameters)     runs a statement, answers a cursor over its rows
///   ping()                      throws if the server can't be reached
///   close()                     gives the connection up
///
/// In `text` each `?` stands for a parameter, in their order; no text of ours has one elsewhere, nor a colon,
/// nor a `$`. (Stores write all values into their texts, as literals, and have no parameters at all.) Any of
/// the four may throw something derived from std::exception; that is an Error{unavailable} then, unless it is
/// an Error already. SqlError says more. A refused statement must not close the connection, nor roll back a
/// transaction that the server has not rolled back.
///
/// `query` gets what answers with rows, `execute` all else: SAVEPOINT, BEGIN, COMMIT and DDL too. A column is
/// text, a whole number, a boolean ("t" or "f" is as good as 1 or 0) or, from PostgreSQL, a bytea in
/// hexadecimal digits ("\\x616263", which is the server's own way). From MariaDB and MySQL some are bytes
/// that no character set has: they come through as they are.
///
/// A handle is one session: what one call sets, the next one finds (so a pool is none, one connection of it
/// is). It is in autocommit mode, and no transaction is open when a call comes, but where a caller's own
/// transaction is asked for. It speaks to the primary, never to a replica, and its texts are UTF-8 (utf8mb4).
/// It doesn't connect anew by itself within a transaction.
template <class T>
concept SqlConnection = requires(T& connection, const std::string& text, std::span<const SqlValue> values) {
  { connection.execute(text, values) } -> std::convertible_to<std::int64_t>;
  { connection.query(text, values) } -> SqlCursor;
  connection.ping();
  connection.close();
};

/// What the four calls may throw in place of their library's exceptions, to say more of what went wrong. What
/// is not known stays as it is here. Without it a failure of a statement is taken for the server's refusal if
/// `ping` works after it; and conflicts with other transactions can't be told from other refusals, so they
/// are not tried again.
class SqlError : public Error {
 public:
  struct Details {
    std::string state = {};  ///< SQLSTATE, five letters: PostgreSQL's "40001".
    int number = 0;          ///< The error's number: MySQL's 1213, SQLite's result code.
    bool lost = false;       ///< The connection is of no use any more.
  };
  explicit SqlError(const std::string& message) : SqlError(message, Details{}) {}
  SqlError(const std::string& message, Details details)
      : Error(ErrorKind::unavailable, message), details_(std::move(details)) {}
  const Details& details() const noexcept { return details_; }

 private:
  Details details_;
};

/// Holds a connection of any kind. Copies share it.
///
/// Thread safety: all members may be called from any thread. Calls on one connection never overlap: they wait
/// for each other, those of all copies. An application that goes on using its own connection while Tidemill
/// has it does that under `lock()`. Calls come from whatever thread needs an answer, and from several in
/// turn; a library with state by thread must be told (libmariadb needs nothing).
class SqlHandle {
 public:
  /// None; every call throws Error{closed}.
  SqlHandle() = default;
  /// Of the caller's own connection, which must outlive all copies. It is never closed but by `close`.
  template <SqlConnection T>
  static SqlHandle borrow(T& connection) {
    return SqlHandle{std::make_shared<Holder<T*>>(&connection)};
  }
  /// Shares the connection, and drops it with the last copy.
  template <SqlConnection T>
  static SqlHandle share(std::shared_ptr<T> connection) {
    return SqlHandle{std::make_shared<Holder<std::shared_ptr<T>>>(std::move(connection))};
  }
  /// Of libmariadb: a connection that is open, in autocommit mode, with texts in utf8mb4, and must outlive
  /// all copies. `close` closes it with mysql_close.
  static SqlHandle mysql(st_mysql* connection);
  /// A connection of its own to MariaDB or MySQL, made with the first call and made anew once it is lost:
  /// `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE`. A call takes 10 s at most. Throws Error{invalid} for a
  /// URL that it can't read.
  static SqlHandle mysql(const std::string& url);

  explicit operator bool() const noexcept { return holder_ != nullptr; }
  /// Whether they share one connection.
  friend bool operator==(const SqlHandle&, const SqlHandle&) = default;

  /// How many rows were changed, or matched, as the connection counts. Throws Error.
  std::int64_t execute(const std::string& text, std::span<const SqlValue> values = {}) const;
  /// All rows. Throws Error.
  std::vector<SqlRow> query(const std::string& text, std::span<const SqlValue> values = {}) const;
  void ping() const;
  void close() const;
  /// As long as it is held, calls of other threads wait; those of this thread don't.
  std::unique_lock<std::recursive_mutex> lock() const;

 private:
  struct Base {
    virtual ~Base() = default;
    virtual std::int64_t execute(const std::string& text, std::span<const SqlValue> values) = 0;
    virtual std::vector<SqlRow> query(const std::string& text, std::span<const SqlValue> values) = 0;
    virtual void ping() = 0;
    virtual void close() = 0;
    std::recursive_mutex mutex = {};
  };
  template <class Pointer>
  struct Holder final : Base {
    explicit Holder(Pointer its) : connection(std::move(its)) {}
    std::int64_t execute(const std::string& text, std::span<const SqlValue> values) override {
      return static_cast<std::int64_t>(connection->execute(text, values));
    }
    std::vector<SqlRow> query(const std::string& text, std::span<const SqlValue> values) override;
    void ping() override { connection->ping(); }
    void close() override { connection->close(); }
    Pointer connection;
  };
  explicit SqlHandle(std::shared_ptr<Base> holder) : holder_(std::move(holder)) {}
  Base& its() const;

  std::shared_ptr<Base> holder_;
};

template <class Pointer>
std::vector<SqlRow> SqlHandle::Holder<Pointer>::query(const std::string& text,
                                                      std::span<const SqlValue> values) {
  auto cursor = connection->query(text, values);
  std::vector<SqlRow> rows;
  while (cursor.next()) {
    SqlRow& row = rows.emplace_back();
    for (std::size_t i = 0; i < cursor.columns(); ++i) row.push_back(cursor.text(i));
  }
  return rows;
}

/// The caller's own open transaction on any connection to the store's database, for `Client::enqueue` and
/// `persistent_queue::add_job`: what is enqueued exists if and only if that transaction commits. It neither
/// begins nor ends it.
///
///   pqxx::work work{connection};
///   work.exec("INSERT INTO orders …");
///   Pqxx calls{work};                                    // tests/pqxx.hpp
///   tidemill::SqlTransaction transaction{tidemill::SqlHandle::borrow(calls)};
///   client.enqueue(transaction, SendMail{…});
///   work.commit();
///
/// All that is said of PostgresTransaction, MysqlTransaction and SqliteTransaction holds: what is enqueued is
/// written between a savepoint (named tidemill) and its release, so an error leaves the transaction as it
/// was; no row is locked that other tasks need; and workers are woken by the commit. Error{invalid} says that
/// no transaction is open, that it has failed before or is read only, or that the connection is to another
/// database than the store's; nothing is written then. Calls of other threads on the handle wait until the
/// enqueue is done.
class SqlTransaction : public Transaction {
 public:
  explicit SqlTransaction(SqlHandle db) : db_(std::move(db)) {}
  const SqlHandle& handle() const noexcept { return db_; }

 private:
  SqlHandle db_;
};

}  // namespace tidemill
