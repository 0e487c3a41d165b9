#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drivers/sql/session.hpp"
#include "drivers/sql/statement.hpp"
#include "drivers/sql/text.hpp"

struct sqlite3;
struct sqlite3_stmt;

/// libsqlite3 with owners instead of pointers. Knows nothing of tasks.
namespace tidemill::sqlite {

/// SQLite refused. The message is SQLite's own, with the extended code's name for what it can't express.
class Failure : public std::exception {
 public:
  Failure(int code, std::string message) : code_(code), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  /// The primary result code: SQLITE_BUSY, SQLITE_FULL …
  int code() const noexcept { return code_ & 0xff; }
  int extended_code() const noexcept { return code_; }

 private:
  int code_;
  std::string message_;
};

/// Bytes that are bound as a BLOB; a std::string_view is bound as TEXT.
struct Blob {
  std::string_view bytes;
};

using sql::join;
using sql::Sql;
using sql::Text;

class Connection;

/// A prepared statement with its parameters bound, for as long as this object lives: then it is reset, so
/// that no read transaction is left open, and may be used again. What is bound as text or blob must live as
/// long, and no second Query of the same Sql may be made meanwhile.
class Query {
 public:
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  Query(Query&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)),
        rows_(std::move(other.rows_)),
        row_(other.row_) {}
  ~Query();

  /// False when there is no further row. Throws Failure.
  bool step();

  bool null(int column) const;
  std::int64_t integer(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;
  /// Of TEXT or BLOB, byte by byte; valid until the next step. Empty for NULL.
  std::string_view bytes(int column) const;
  bool is_blob(int column) const;

 private:
  friend class Connection;
  struct Value {
    bool is_blob = false;
    std::string bytes = {};
  };
  using Row = std::vector<std::optional<Value>>;

  explicit Query(sqlite3_stmt* statement) : statement_(statement) {}
  explicit Query(std::vector<Row> rows) : rows_(std::move(rows)) {}
  const std::optional<Value>& value(int column) const {
    return rows_.at(row_ - 1).at(static_cast<std::size_t>(column));
  }

  sqlite3_stmt* statement_ = nullptr;  // None: there are rows.
  std::vector<Row> rows_;
  std::size_t row_ = 0;  // From 1.
};

/// The header of the index that all processes share on a log (sqlite.org/walformat.html, 2.1): some bytes of
/// it change with each commit, and only then. They mean nothing else here.
using LogHeader = std::array<std::uint64_t, 6>;

struct ConnectionOptions {
  bool create = false;
  bool read_only = false;
  std::chrono::milliseconds busy_timeout{5000};
};

/// One connection and the statements prepared on it. Or another library's connection (sql::Session), which
/// gets whole texts, without question marks, colons and `$`; there queries are SELECTs, and there is no
/// `handle`.
///
/// Thread safety: none; one thread at a time.
class Connection {
 public:
  /// Opens a file. Throws Failure.
  Connection(const std::string& path, const ConnectionOptions& options);
  /// Borrows a connection that must outlive this object; `schema` is the name there of the database that the
  /// statements call main.
  Connection(sqlite3* borrowed, std::string schema);
  /// The same of another library's.
  Connection(std::shared_ptr<sql::Session> borrowed, std::string schema);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs any number of statements and drops their rows. Throws Failure.
  void execute(const std::string& script);

  /// Binds the arguments to ?1, ?2 …: integers, enumerations, bool, std::string_view, Blob, nullptr, or an
  /// optional of these. Throws Failure.
  template <class... Args>
  Query query(const Sql& sql, const Args&... args) {
    if (session_) return ask_session(text_of(sql, {literal_of(args)...}));
    Query query{prepared(sql)};
    int index = 0;
    (bind(query.statement_, ++index, args), ...);
    return query;
  }

  /// For statements without rows: runs to the end, and returns how many rows were changed.
  template <class... Args>
  int run(const Sql& sql, const Args&... args) {
    if (session_) return run_by_session(text_of(sql, {literal_of(args)...}));
    Query query = this->query(sql, args...);
    while (query.step()) {
    }
    return changes();
  }

  /// Whether there is a row.
  template <class... Args>
  bool any(const Sql& sql, const Args&... args) {
    return query(sql, args...).step();
  }

  int changes() const noexcept;
  std::int64_t last_row() const;
  /// Of a session: begins one and ends it, if there is none.
  bool in_transaction() const;

  /// Reads shared memory, without a system call, so it costs next to nothing to ask whether anybody has
  /// committed. One that is caught in mid-write differs from those before and after it. None when the
  /// database has no log, or was not read yet. For owned connections only.
  std::optional<LogHeader> log_header() const noexcept;

  /// From now on, whoever meets a lock gives up at this instant.
  void give_up_at(std::chrono::steady_clock::time_point instant) noexcept { give_up_at_ = instant; }
  std::chrono::milliseconds busy_timeout() const noexcept { return busy_timeout_; }

  sqlite3* handle() const noexcept { return db_; }

 private:
  sqlite3_stmt* prepared(const Sql& sql);
  [[noreturn]] void fail(int code) const;

  static void check_bind(sqlite3_stmt* statement, int code);
  static void bind_integer(sqlite3_stmt* statement, int index, std::int64_t value);
  static void bind(sqlite3_stmt* statement, int index, std::nullptr_t);
  static void bind(sqlite3_stmt* statement, int index, std::string_view text);
  static void bind(sqlite3_stmt* statement, int index, Blob blob);
  template <class T>
    requires std::integral<T> || std::is_enum_v<T>
  static void bind(sqlite3_stmt* statement, int index, T value) {
    bind_integer(statement, index, static_cast<std::int64_t>(value));
  }
  template <class T>
  static void bind(sqlite3_stmt* statement, int index, const std::optional<T>& value) {
    if (value) {
      bind(statement, index, *value);
    } else {
      bind(statement, index, nullptr);
    }
  }
  /// Whatever knows how to pass itself on as one of the above.
  template <class T>
    requires requires(const T& value) { value.bind_to([](const auto&) {}); }
  static void bind(sqlite3_stmt* statement, int index, const T& value) {
    value.bind_to([&](const auto& plain) { bind(statement, index, plain); });
  }

  static void append_literal(std::string& out, std::nullptr_t);
  static void append_literal(std::string& out, std::int64_t value);
  static void append_literal(std::string& out, std::string_view text);
  static void append_literal(std::string& out, Blob blob);
  template <class T>
  static std::string literal_of(const T& value) {
    std::string out;
    if constexpr (requires { value.bind_to([](const auto&) {}); }) {
      value.bind_to([&](const auto& plain) { append_literal(out, plain); });
    } else if constexpr (requires { value.has_value(); }) {
      return value ? literal_of(*value) : literal_of(nullptr);
    } else if constexpr (std::integral<T> || std::is_enum_v<T>) {
      append_literal(out, static_cast<std::int64_t>(value));
    } else {
      append_literal(out, value);
    }
    return out;
  }
  std::string text_of(const Sql& sql, const std::vector<std::string>& literals) const;
  Query ask_session(const std::string& select) const;
  int run_by_session(const std::string& text) const;

  static int wait_for_lock(void* self, int times) noexcept;

  sqlite3* db_ = nullptr;  // None, if there is a session.
  std::shared_ptr<sql::Session> session_;
  bool owns_ = true;
  std::string schema_;
  std::chrono::milliseconds busy_timeout_{};
  std::chrono::steady_clock::time_point give_up_at_{};
  std::unordered_map<const Sql*, sqlite3_stmt*> statements_;
};

}  // namespace tidemill::sqlite
