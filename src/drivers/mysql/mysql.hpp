#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drivers/mysql/failure.hpp"
#include "drivers/mysql/options.hpp"
#include "drivers/mysql/values.hpp"
#include "drivers/sql/deadline.hpp"
#include "drivers/sql/session.hpp"
#include "drivers/sql/statement.hpp"
#include "drivers/sql/text.hpp"

struct st_mysql;
struct st_mysql_res;

/// libmariadb with owners instead of pointers, deadlines, and batches. Knows nothing of tasks.
namespace tidemill::mysql {

using sql::Deadline;
using sql::join;
using sql::milliseconds_until;
using sql::Sql;

/// A server's answer to one statement: rows that are walked once, from the first.
///
/// Thread safety: none; one thread at a time. It outlives its connection.
class Query {
 public:
  /// Null where there are no rows to return; then `changes` have been made.
  Query(st_mysql_res* result, std::int64_t changes) : result_(result), changes_(changes) {}
  /// The answer of another library's connection, whose columns have no types: what is read as an integer must
  /// look like one.
  explicit Query(std::vector<sql::Session::Row> texts)
      : changes_(static_cast<std::int64_t>(texts.size())), texts_(std::move(texts)) {}

  /// To the next row; false when there is none. The readers below are of the row that it came to.
  bool step() noexcept;

  bool null(int column) const;
  /// Of integers of any width, or a DECIMAL such as SUM's without a fraction; 0 for NULL. Another type is a
  /// mistake of the program: throws std::logic_error, as it does where there is no such row or column, or the
  /// number is none of 64 bits with a sign.
  std::int64_t integer(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;
  bool boolean(int column) const { return integer(column) != 0; }
  /// Of any type, as the server writes it; valid as long as this object. Empty for NULL.
  std::string_view bytes(int column) const;

  /// How many rows were returned.
  std::int64_t rows() const noexcept;
  /// How many columns they have; 0 where there are no rows to return.
  std::size_t columns() const noexcept;
  /// How many rows were inserted, deleted or returned; or matched by an UPDATE, where a borrowed connection
  /// may count those alone that are not as before. `ON DUPLICATE KEY UPDATE` counts as the server's manual
  /// says.
  std::int64_t changes() const noexcept { return changes_; }

 private:
  struct Clear {
    void operator()(st_mysql_res* result) const noexcept;
  };
  bool step_texts() noexcept;
  void check(int column) const;

  std::unique_ptr<st_mysql_res, Clear> result_;
  std::int64_t changes_;
  char** row_ = nullptr;
  const unsigned long* lengths_ = nullptr;
  std::vector<sql::Session::Row> texts_;
  std::size_t text_ = 0;                     // The row after that which it came to.
  std::vector<char*> cells_;                 // Of the row that it came to: as the library would have it.
  std::vector<unsigned long> cell_lengths_;  // Likewise.
};

/// Statements that travel together, with their parameters. May be sent again.
class Batch {
 public:
  /// `$1`, `$2` … are the arguments; see Parameters::add. All are copied. The text is one statement that
  /// answers once: no CALL.
  template <class... Args>
  Batch& add(const Sql& sql, const Args&... args) {
    Statement& statement = statements_.emplace_back(&sql);
    (statement.parameters.add(args), ...);
    return *this;
  }
  /// All of the other comes after all of this.
  Batch& append(Batch other) {
    for (Statement& statement : other.statements_) statements_.push_back(std::move(statement));
    return *this;
  }
  std::size_t size() const noexcept { return statements_.size(); }
  bool empty() const noexcept { return statements_.empty(); }
  void clear() noexcept { statements_.clear(); }

 private:
  friend class Connection;
  struct Statement {
    explicit Statement(const Sql* text) : sql(text) {}
    const Sql* sql;
    Parameters parameters = {};
  };
  std::vector<Statement> statements_;
};

/// How a batch stands to a transaction.
enum class Scope : std::uint8_t {
  plain,    ///< In the transaction that is open; without one the batch is a transaction of its own.
  begins,   ///< START TRANSACTION, the batch. None may be open.
  commits,  ///< The batch, COMMIT, of the transaction that is open.
};

/// One connection to a server. In the texts of statements `main.` stands for the prefix of all names.
///
/// A batch is one text of several statements, and so one round trip. Texts are cut at their parameters once,
/// and known by the address of their Sql; the server prepares nothing. A batch that is longer than the server
/// takes (max_allowed_packet, 16 MiB or more) travels statement by statement, as do those of borrowed
/// connections without CLIENT_MULTI_STATEMENTS.
///
/// A connection of our own is READ COMMITTED and in strict mode, and counts the rows that an UPDATE matches.
/// After a Failure no transaction is open there: it was rolled back. In a caller's transaction on a borrowed
/// one what came before the refused statement is written: a SAVEPOINT before the batch undoes that.
///
/// It may run over a connection of another library (sql::Session): each statement is then a round trip, and
/// its text has neither a question mark nor a colon nor a `$`. A deadline is looked at before a call, and
/// doesn't end one.
///
/// Thread safety: none; one thread at a time.
class Connection {
 public:
  /// Connects. Names of hosts are resolved as long as the system takes; all else ends at the deadline, or
  /// after the options' connect_timeout. Throws Failure.
  explicit Connection(const Options& options, const std::string& application_name = "tidemill",
                      Deadline deadline = Deadline::max());
  /// Borrows a connection of libmariadb that must outlive this object. Its own settings and time-outs hold,
  /// and no deadline of ours. Tables are those of `database`, or, without one, of the connection's. Asks the
  /// server: one round trip. Throws Failure if it is of no use: closed, in the middle of something, or with
  /// texts that are neither utf8mb4 nor binary.
  Connection(st_mysql* borrowed, std::string_view prefix, std::string_view database = {});
  /// The same of another library's connection: with the caller's transaction, or with none, which is then
  /// what `in_transaction` says. Asks the server: some round trips.
  Connection(std::unique_ptr<sql::Session> borrowed, std::string_view prefix, std::string_view database = {});
  /// Closes its own connection. Another library's is left without an open transaction, unless it is the
  /// caller's.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// From now on, calls give up at this instant: the statement is killed, the connection is lost, and the
  /// Failure says timed_out.
  void give_up_at(Deadline instant) noexcept { deadline_ = instant; }

  /// One round trip. The answers are those of the batch's statements, in order. Throws Failure: `statement`
  /// says which one the server refused, and those after it have not been tried. Throws std::logic_error for a
  /// text with other parameters than it is given, for Scope::begins in a transaction, and for Scope::commits
  /// outside of one.
  std::vector<Query> send(const Batch& batch, Scope scope = Scope::plain);

  /// One statement: a round trip. Throws Failure.
  template <class... Args>
  Query query(const Sql& sql, const Args&... args) {
    Batch batch;
    batch.add(sql, args...);
    return std::move(send(batch).front());
  }
  /// Returns Query::changes. Throws Failure.
  template <class... Args>
  std::int64_t run(const Sql& sql, const Args&... args) {
    return query(sql, args...).changes();
  }
  /// Whether there is a row. Throws Failure.
  template <class... Args>
  bool any(const Sql& sql, const Args&... args) {
    return query(sql, args...).step();
  }
  /// Any number of statements without parameters, each a transaction of its own if none is open; drops their
  /// rows. `main.` is the prefix here too. A borrowed connection takes one statement, if it was made without
  /// CLIENT_MULTI_STATEMENTS. Throws Failure.
  void execute(const std::string& script);

  void begin() { send({}, Scope::begins); }
  void commit() { send({}, Scope::commits); }
  /// If a transaction is open. If that fails, the connection is lost.
  void rollback() noexcept;
  /// As of the last answer. With autocommit off, a borrowed connection is always in one.
  bool in_transaction() const noexcept;
  /// Of a borrowed connection: the server has rolled back the transaction that was open, as it does with
  /// deadlocks, so what follows would not be part of it.
  bool transaction_failed() const noexcept { return transaction_failed_; }

  /// False once it is lost: no call can succeed any more.
  bool usable() const noexcept { return usable_; }
  /// The server is MariaDB, and not MySQL.
  bool mariadb() const noexcept { return mariadb_; }
  /// The server's version: 101119 is 10.11.19.
  unsigned long server_version() const noexcept;
  /// The server's number of this connection, as KILL takes it.
  unsigned long id() const noexcept;
  /// What stands for `main.` in statements: the names of tables begin with it.
  const std::string& main() const noexcept { return main_; }

 private:
  struct Item;
  struct Trip;

  void connect(const std::string& application_name);
  void set_up();
  void look_alive();
  void check_size(std::size_t bytes, std::size_t statement) const;
  const sql::Template& template_of(const Sql& sql);
  void append_statement(std::string& text, const Batch::Statement& statement);
  Trip plan(const Batch& batch, Scope scope);
  void exchange(Trip& trip, std::size_t first, std::size_t end);
  bool ask(std::string_view text);
  std::optional<Query> take();
  bool next();
  [[noreturn]] void fail(bool may_commit, std::size_t statement, bool commits);
  void clean_up(bool begins, bool was_open) noexcept;
  void close(bool kill) noexcept;
  void kill_from_aside() noexcept;

  void check_session();
  void look_for_transaction();
  std::vector<Query> send_by_session(const Batch& batch, Scope scope);
  Query ask_session(const Batch::Statement& statement, std::size_t index);
  void run_by_session(const std::string& script);
  [[noreturn]] void fail(const sql::Session::Refusal& refusal, std::size_t statement, bool may_commit);

  /// Through one of the library's calls that come back when they would have to wait.
  template <class Start, class Continue>
  void wait(Start start, Continue go_on) {
    for (int wanted = start(); wanted != 0;) wanted = go_on(until_ready(wanted));
  }
  int until_ready(int wanted);
  unsigned status() const noexcept;

  st_mysql* connection_ = nullptr;  // None, if there is a session.
  std::unique_ptr<sql::Session> session_;
  bool open_ = false;  // A transaction, of the session.
  unsigned long version_ = 0;
  unsigned long id_ = 0;
  bool owns_ = true;
  bool usable_ = true;
  bool together_ = true;  ///< Several statements may be one text.
  bool mariadb_ = true;
  bool kills_ = true;     ///< What it gives up.
  bool gave_up_ = false;  ///< The deadline passed.
  bool transaction_failed_ = false;
  std::size_t text_bytes_max_ = std::size_t{1} << 20U;  ///< Until the server has said.
  Options options_;                                     ///< Of an own connection, as is the next.
  std::string server_;                                  ///< What tells it from others.
  std::string main_;
  Deadline deadline_ = Deadline::max();
  std::unordered_map<const Sql*, sql::Template> templates_;
};

/// Closes a connection that was borrowed and that its owner wants to be rid of.
void close_borrowed(st_mysql* connection) noexcept;

}  // namespace tidemill::mysql
