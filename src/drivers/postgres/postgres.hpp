#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drivers/postgres/failure.hpp"
#include "drivers/postgres/options.hpp"
#include "drivers/postgres/values.hpp"
#include "drivers/sql/deadline.hpp"
#include "drivers/sql/session.hpp"
#include "drivers/sql/statement.hpp"
#include "drivers/sql/text.hpp"

struct pg_conn;
struct pg_result;

/// libpq with owners instead of pointers, deadlines, and binary values. Knows nothing of tasks.
namespace tidemill::postgres {

using sql::Deadline;
using sql::join;
using sql::milliseconds_until;
using sql::quoted;
using sql::Sql;

/// A server's answer to one statement: rows that are walked once, from the first.
///
/// Thread safety: none; one thread at a time. It outlives its connection.
class Query {
 public:
  /// `changes`: where the result itself doesn't say.
  explicit Query(pg_result* result, std::optional<std::int64_t> changes = {})
      : result_(result), changes_(changes) {}

  /// To the next row; false when there is none. The readers below are of the row that it came to.
  bool step() noexcept;

  bool null(int column) const;
  /// Of smallint, integer, bigint, oid or boolean; 0 for NULL. Another type is a mistake of the program:
  /// throws std::logic_error, as do the other readers.
  std::int64_t integer(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;
  bool boolean(int column) const { return integer(column) != 0; }
  /// Of bytea, text, varchar, name or json, byte by byte; valid as long as this object. Empty for NULL.
  std::string_view bytes(int column) const;
  /// Of smallint[], integer[], bigint[], oid[] or boolean[]; empty for NULL.
  std::vector<std::optional<std::int64_t>> integers(int column) const;
  /// Of bytea[] or text[]; valid as long as this object. Empty for NULL.
  std::vector<std::optional<std::string_view>> texts(int column) const;

  pg_result* handle() const noexcept { return result_.get(); }
  /// How many rows were returned.
  int rows() const noexcept;
  /// How many rows were inserted, updated, deleted or returned.
  std::int64_t changes() const;

 private:
  struct Clear {
    void operator()(pg_result* result) const noexcept;
  };
  std::string_view cell(int column) const;

  std::unique_ptr<pg_result, Clear> result_;
  std::optional<std::int64_t> changes_;
  int row_ = -1;
};

/// Statements that travel together, with their parameters. May be sent again.
class Batch {
 public:
  /// `$1`, `$2` … are the arguments; see Parameters::add. All are copied. Calls of one Sql must have the same
  /// types of arguments.
  template <class... Args>
  Batch& add(const Sql& sql, const Args&... args) {
    Parameters parameters;
    (parameters.add(args), ...);
    return add_encoded(sql, std::move(parameters));
  }
  Batch& add_encoded(const Sql& sql, Parameters parameters) {
    statements_.push_back({.sql = &sql, .parameters = std::move(parameters)});
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
    const Sql* sql;
    Parameters parameters;
  };
  std::vector<Statement> statements_;
};

/// How a batch stands to a transaction (READ COMMITTED). All of it is one round trip.
enum class Scope : std::uint8_t {
  plain,    ///< In the transaction that is open; without one the batch is a transaction of its own.
  whole,    ///< BEGIN, the batch, COMMIT.
  begins,   ///< BEGIN, the batch.
  commits,  ///< The batch, COMMIT.
};

/// One connection to a server, and the statements prepared on it. In the texts of statements `main.` stands
/// for the schema of the options.
///
/// When the server doesn't know a statement that was prepared (a pooler between has changed it), the
/// statement is sent again with its text, then and ever after. In a transaction that earlier calls have begun
/// that is not possible, and the caller gets a retryable Failure.
///
/// After a Failure no transaction is open on a connection of our own: it was rolled back. A borrowed one is
/// left as it is.
///
/// Nothing is set that outlives a transaction, so it may change its server after each, as behind PgBouncer.
///
/// It may run over a connection of another library (sql::Session): each statement is then a round trip, with
/// its parameters as literals in its text, which has neither a question mark nor a colon nor a `$`. What its
/// answers have of bytea is told from text by the `\x` that it begins with. A deadline is looked at before a
/// call, and doesn't end one. There is no `handle`, no Scissors and no Listener for such a connection.
///
/// Thread safety: none; one thread at a time.
class Connection {
 public:
  /// Connects. Names of hosts are resolved as long as the system takes; all else ends at the deadline, or
  /// after the options' connect_timeout. Throws Failure.
  explicit Connection(const Options& options, const std::string& application_name = "tidemill",
                      Deadline deadline = Deadline::max());
  /// Borrows a connection that must outlive this object, and leaves no statement prepared there. Its own
  /// time-outs hold, and no deadline of ours. Throws Failure if it is of no use: closed, in the middle of
  /// something, or with another client_encoding than UTF8.
  Connection(pg_conn* borrowed, std::string schema);
  /// The same of another library's connection: with the caller's transaction, or with none, which is then
  /// what `in_transaction` says. Asks the server: some round trips.
  Connection(std::unique_ptr<sql::Session> borrowed, std::string schema);
  /// Closes its own connection. Another library's is left without an open transaction, unless it is the
  /// caller's.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// From now on, calls give up at this instant: the statement is cancelled, the connection is lost, and the
  /// Failure says timed_out.
  void give_up_at(Deadline instant) noexcept { deadline_ = instant; }

  /// One round trip. The answers are those of the batch's statements, in order. Throws Failure: `statement`
  /// says which one the server refused, and those after it have not been tried.
  std::vector<Query> send(const Batch& batch, Scope scope = Scope::plain);

  /// One statement: a round trip. Throws Failure.
  template <class... Args>
  Query query(const Sql& sql, const Args&... args) {
    Batch batch;
    batch.add(sql, args...);
    return std::move(send(batch).front());
  }
  /// Returns how many rows were inserted, updated, deleted or returned.
  template <class... Args>
  std::int64_t run(const Sql& sql, const Args&... args) {
    return query(sql, args...).changes();
  }
  /// Whether there is a row.
  template <class... Args>
  bool any(const Sql& sql, const Args&... args) {
    return query(sql, args...).step();
  }
  /// Any number of statements without parameters, in one transaction if none is open; drops their rows.
  /// `main.` is the schema here too. Throws Failure.
  void execute(const std::string& script);

  void begin() { send({}, Scope::begins); }
  void commit() { send({}, Scope::commits); }
  /// If a transaction is open. If that fails, the connection is lost.
  void rollback() noexcept;
  /// As of the last answer.
  bool in_transaction() const noexcept;
  /// It is open, and a statement of it was refused: the server takes nothing but its end.
  bool transaction_failed() const noexcept;

  /// False once it is lost: no call can succeed any more.
  bool usable() const noexcept { return usable_; }
  /// The server's version: 150004 is 15.4.
  int server_version() const noexcept;
  /// The process of the server, or what a pooler says it is.
  int backend() const noexcept;
  /// The schema as it is written in a statement: quoted.
  const std::string& quoted_schema() const noexcept { return schema_; }
  pg_conn* handle() const noexcept { return connection_; }

 private:
  struct Prepared {
    std::string name;         ///< A digest of text and types: the same name is never another statement.
    std::string text;         ///< With the schema's name in it.
    std::vector<Type> types;  ///< Of the parameters.
    bool known;               ///< The server has it, or will have it after what is under way.
  };
  struct Item;
  struct Trip;

  void connect(const Options& options, const std::string& application_name, Deadline deadline);
  void look_alive(bool transaction_open);
  std::vector<Query> send_once(const Batch& batch, Scope scope, bool transaction_open);
  void queue(Trip& trip, const Batch& batch, Scope scope);
  void queue_statement(Trip& trip, const Sql& sql, const Parameters& parameters, std::size_t index);
  Prepared& statement_of(const Sql& sql, const Parameters& parameters);
  void collect(Trip& trip, std::vector<Query>& answers);
  void take(Trip& trip, const Item& item, Query answer, std::vector<Query>& answers);
  void take_error(Trip& trip, std::size_t statement, const pg_result* result);
  pg_result* next_result(const Trip& trip);
  [[noreturn]] void lose(const Trip& trip, const Failure* why = nullptr);
  [[noreturn]] void refuse(const Trip& trip);
  void run_script(const std::string& script);
  void close(bool cancel) noexcept;

  void check_session();
  void look_for_transaction();
  std::vector<Query> send_by_session(const Batch& batch, Scope scope);
  std::string text_of(const Sql& sql, const Parameters& parameters);
  Query ask_session(const Batch::Statement& statement);
  void run_by_session(const std::string& script);
  [[noreturn]] void fail(const sql::Session::Refusal& refusal, std::size_t statement, bool may_commit);

  pg_conn* connection_ = nullptr;  // None, if there is a session.
  std::unique_ptr<sql::Session> session_;
  bool open_ = false;    // A transaction, of the session.
  bool failed_ = false;  // That of a caller.
  int version_ = 0;
  int backend_ = 0;
  std::unordered_map<const Sql*, sql::Template> templates_;
  bool owns_ = true;
  bool usable_ = true;
  bool prepares_ = true;
  std::string schema_;
  Deadline deadline_ = Deadline::max();
  std::unordered_map<const Sql*, Prepared> statements_;
};

/// Cuts a connection from another thread: the call that is under way fails, as do all after it. The server
/// goes on with what it is at.
///
/// Thread safety: all members may be called from any thread, also when the connection is gone.
class Scissors {
 public:
  /// For a connection that is open.
  explicit Scissors(const Connection& connection);
  ~Scissors();
  Scissors(const Scissors&) = delete;
  Scissors& operator=(const Scissors&) = delete;

  void cut() const noexcept;

 private:
  int socket_;  // Our own number for it, as the connection's may become another file's.
};

struct Notification {
  std::string channel;
  std::string payload;
};

/// A connection that hears what is sent by NOTIFY. Behind a pooler in transaction mode nothing comes.
///
/// Thread safety: `wake` may be called by any thread; all else by one at a time.
class Listener {
 public:
  /// Connects, and listens to these channels from now on. Throws Failure.
  Listener(const Options& options, std::span<const std::string> channels,
           Deadline deadline = Deadline::max());
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Until something has come, `wake` is called, or the instant has come: then there may be nothing. Throws
  /// Failure when the connection is lost: what was sent meanwhile is lost too.
  std::vector<Notification> wait(Deadline until);
  /// Ends the wait that is under way, or the next.
  void wake() noexcept;

 private:
  Connection connection_;
  int wake_;
};

}  // namespace tidemill::postgres
