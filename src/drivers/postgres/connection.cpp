// How statements travel.
#include <libpq-fe.h>
#include <poll.h>

#include <cerrno>
#include <stdexcept>

#include <fmt/format.h>

#include "drivers/postgres/postgres.hpp"
#include "drivers/postgres/text.hpp"

namespace tidemill::postgres {

namespace {

constexpr Sql begin_sql{begin_text};
constexpr Sql commit_sql{commit_text};
constexpr std::size_t value_bytes_max = 1'000'000'000;  // PostgreSQL's limit is a little higher.

std::string name_of(std::string_view text, const std::vector<Type>& types) {
  std::uint64_t digest = 0xcbf29ce484222325;  // FNV-1a.
  const auto mix = [&](std::uint64_t value) { digest = (digest ^ value) * 0x100000001b3; };
  for (const char c : text) mix(static_cast<unsigned char>(c));
  for (const Type type : types) mix(static_cast<std::uint64_t>(type));
  return fmt::format("t{:016x}", digest);
}

std::string field(const PGresult* result, int code) {
  const char* const text = PQresultErrorField(result, code);
  return text != nullptr ? text : "";
}

/// The server has closed, whatever it may have said before.
bool closed_by_peer(PGconn* connection) {
  pollfd entry{.fd = PQsocket(connection), .events = POLLRDHUP, .revents = 0};
  return PQstatus(connection) != CONNECTION_OK || entry.fd < 0 || ::poll(&entry, 1, 0) > 0;
}

/// For the caller's own connection, which may block or not.
class NonBlocking {
 public:
  explicit NonBlocking(PGconn* connection) : connection_(connection), was_(PQisnonblocking(connection)) {
    if (was_ == 0) PQsetnonblocking(connection_, 1);
  }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;
  ~NonBlocking() {
    if (was_ == 0 && PQstatus(connection_) == CONNECTION_OK) PQsetnonblocking(connection_, 0);
  }

 private:
  PGconn* connection_;
  int was_;
};

}  // namespace

struct Connection::Item {
  std::size_t statement;  ///< Of the batch; or Failure::no_statement.
  Prepared* prepares;     ///< It is no statement, it prepares this one.
  bool commits;
};

/// What is on its way, and what became of it.
struct Connection::Trip {
  std::vector<Item> items = {};
  bool may_commit = false;  ///< From here on the server may make it last.
  bool committed = false;
  std::optional<Failure> refused = {};
};

std::vector<Query> Connection::send(const Batch& batch, Scope scope) {
  if (session_) return send_by_session(batch, scope);
  const bool open = in_transaction();
  look_alive(open);
  try {
    return send_once(batch, scope, open);
  } catch (const Failure& failure) {
    const bool mixed_up = failure.state() == "26000" || failure.state() == "42P05";
    if (!mixed_up || !prepares_) throw;
    prepares_ = false;
    if (open) throw;
  }
  return send_once(batch, scope, open);
}

/// Before anything is sent. What it throws leaves nothing in doubt.
void Connection::look_alive(bool transaction_open) {
  if (!usable_) throw Failure{Outcome::undone, {}, "the connection was lost before"};
  if (owns_ && std::chrono::steady_clock::now() >= deadline_) {
    if (transaction_open) rollback();
    throw Failure{Outcome::refused, {}, "the time for the call is up", true};
  }
  if (!closed_by_peer(connection_)) return;
  close(false);
  throw Failure{Outcome::undone, {}, "the server has closed the connection"};
}

std::vector<Query> Connection::send_once(const Batch& batch, Scope scope, bool transaction_open) {
  for (const Batch::Statement& statement : batch.statements_) {
    for (const Parameters::Place& place : statement.parameters.places()) {
      if (place.size <= value_bytes_max) continue;
      throw Failure{Outcome::refused, "54000",
                    fmt::format("a parameter has {} bytes; {} are allowed", place.size, value_bytes_max)};
    }
  }
  Trip trip;
  const NonBlocking mode{connection_};
  std::vector<Query> answers;
  answers.reserve(batch.size());
  try {
    queue(trip, batch, scope);
    if (scope == Scope::plain && !transaction_open) trip.may_commit = true;
    collect(trip, answers);
  } catch (const Failure&) {
    if (!trip.committed) throw;  // Else the connection is lost, and nothing that it was to bring.
  }
  if (trip.refused) refuse(trip);
  return answers;
}

void Connection::queue(Trip& trip, const Batch& batch, Scope scope) {
  if (PQenterPipelineMode(connection_) == 0) lose(trip);
  const Parameters none;
  if (scope == Scope::whole || scope == Scope::begins)
    queue_statement(trip, begin_sql, none, Failure::no_statement);
  for (std::size_t i = 0; i < batch.size(); ++i)
    queue_statement(trip, *batch.statements_[i].sql, batch.statements_[i].parameters, i);
  if (scope == Scope::whole || scope == Scope::commits) {
    trip.may_commit = true;
    queue_statement(trip, commit_sql, none, Failure::no_statement);
    trip.items.back().commits = true;
  }
  if (PQpipelineSync(connection_) == 0) lose(trip);
}

Connection::Prepared& Connection::statement_of(const Sql& sql, const Parameters& parameters) {
  std::vector<Type> types;
  types.reserve(parameters.places().size());
  for (const Parameters::Place& place : parameters.places()) types.push_back(place.type);
  if (const auto found = statements_.find(&sql); found != statements_.end()) {
    if (found->second.types != types)
      throw std::logic_error{fmt::format("two calls have different types of arguments for: {}", sql.text)};
    return found->second;
  }
  std::string text = sql::with_main(sql.text, schema_ + ".");
  std::string name = name_of(text, types);
  return statements_
      .emplace(
          &sql,
          Prepared{
              .name = std::move(name), .text = std::move(text), .types = std::move(types), .known = false})
      .first->second;
}

void Connection::queue_statement(Trip& trip, const Sql& sql, const Parameters& parameters,
                                 std::size_t index) {
  Prepared& statement = statement_of(sql, parameters);
  const std::span<const Parameters::Place> places = parameters.places();
  const int count = static_cast<int>(places.size());
  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const Parameters::Place& place : places) {
    types.push_back(static_cast<Oid>(place.type));
    values.push_back(place.null ? nullptr : parameters.data(place));
    lengths.push_back(static_cast<int>(place.size));
  }
  const std::vector<int> formats(places.size(), 1);
  if (prepares_ && !statement.known) {
    if (PQsendPrepare(connection_, statement.name.c_str(), statement.text.c_str(), count, types.data()) == 0)
      lose(trip);
    statement.known = true;
    trip.items.push_back({.statement = index, .prepares = &statement, .commits = false});
  }
  const int sent = prepares_ ? PQsendQueryPrepared(connection_, statement.name.c_str(), count, values.data(),
                                                   lengths.data(), formats.data(), 1)
                             : PQsendQueryParams(connection_, statement.text.c_str(), count, types.data(),
                                                 values.data(), lengths.data(), formats.data(), 1);
  if (sent == 0) lose(trip);
  trip.items.push_back({.statement = index, .prepares = nullptr, .commits = false});
}

/// Until the answer to all of it has come.
void Connection::collect(Trip& trip, std::vector<Query>& answers) {
  // What comes beyond the statements belongs to the commit at the end of a batch without one.
  const Item end{.statement = Failure::no_statement, .prepares = nullptr, .commits = false};
  std::size_t item = 0;
  while (true) {
    PGresult* const result = next_result(trip);
    if (result == nullptr) {  // After each answer.
      if (++item > trip.items.size() + 1) lose(trip);
      continue;
    }
    Query answer{result};
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) break;
    take(trip, item < trip.items.size() ? trip.items[item] : end, std::move(answer), answers);
  }
  if (PQexitPipelineMode(connection_) == 0) lose(trip);
}

void Connection::take(Trip& trip, const Item& item, Query answer, std::vector<Query>& answers) {
  const PGresult* const result = answer.handle();
  switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
      break;
    case PGRES_PIPELINE_ABORTED:
      if (item.prepares != nullptr) item.prepares->known = false;
      return;
    default:
      if (item.prepares != nullptr) item.prepares->known = false;
      return take_error(trip, item.statement, result);
  }
  if (item.commits) trip.committed = std::string_view{PQcmdStatus(const_cast<PGresult*>(result))} == "COMMIT";
  if (item.prepares == nullptr && item.statement != Failure::no_statement)
    answers.push_back(std::move(answer));
}

/// The first one counts. Some end the connection too.
void Connection::take_error(Trip& trip, std::size_t statement, const pg_result* result) {
  const std::string severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (message.empty()) message = trimmed(PQresultErrorMessage(result));
  Failure failure{Outcome::refused, field(result, PG_DIAG_SQLSTATE), std::move(message)};
  failure.statement_ = statement;
  if (severity != "ERROR") lose(trip, &failure);
  if (!trip.refused) trip.refused = std::move(failure);
}

/// The answer to the next statement; null when there is none to this one any more.
pg_result* Connection::next_result(const Trip& trip) {
  while (true) {
    const int unsent = PQflush(connection_);
    if (unsent < 0) lose(trip);
    if (PQisBusy(connection_) == 0) return PQgetResult(connection_);
    pollfd entry{.fd = PQsocket(connection_), .events = POLLIN, .revents = 0};
    if (unsent > 0) entry.events |= POLLOUT;
    const Deadline end = owns_ ? deadline_ : Deadline::max();
    const int ready = ::poll(&entry, 1, milliseconds_until(end));
    if (ready == 0 && std::chrono::steady_clock::now() >= end) {
      const Failure failure{Outcome::unknown, {}, "no answer in time", true};
      lose(trip, &failure);
    }
    if (ready > 0 && PQconsumeInput(connection_) == 0) lose(trip);
  }
}

/// The connection is of no use any more. `why` has the words, if it isn't libpq that has them.
void Connection::lose(const Trip& trip, const Failure* why) {
  const Outcome outcome = trip.may_commit && !trip.refused ? Outcome::unknown : Outcome::undone;
  Failure failure{outcome, why != nullptr ? why->state() : "",
                  why != nullptr ? why->what() : trimmed(PQerrorMessage(connection_)),
                  why != nullptr && why->timed_out()};
  failure.statement_ = why != nullptr ? why->statement_ : Failure::no_statement;
  close(failure.timed_out());
  throw failure;
}

/// The server has answered with an error, and everything has been read.
void Connection::refuse(const Trip& trip) {
  if (owns_) rollback();
  throw Failure{*trip.refused};
}

void Connection::run_script(const std::string& script) {
  Trip trip;
  const NonBlocking mode{connection_};
  if (PQsendQuery(connection_, sql::with_main(script, schema_ + ".").c_str()) == 0) lose(trip);
  trip.may_commit = true;
  while (PGresult* const result = next_result(trip)) {
    const Query answer{result};
    switch (PQresultStatus(result)) {
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
      case PGRES_EMPTY_QUERY:
        break;
      default:
        take_error(trip, Failure::no_statement, result);
    }
  }
  if (trip.refused) refuse(trip);
}

void Connection::execute(const std::string& script) {
  if (session_) return run_by_session(script);
  look_alive(in_transaction());
  run_script(script);
}

void Connection::rollback() noexcept {
  if (!usable_ || !in_transaction()) return;
  try {
    open_ = false;
    if (session_) {
      session_->execute("ROLLBACK");
    } else {
      run_script("ROLLBACK");
    }
  } catch (const std::exception&) {
    close(false);
  }
}

bool Connection::in_transaction() const noexcept {
  if (session_) return open_;
  const PGTransactionStatusType status = PQtransactionStatus(connection_);
  return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

bool Connection::transaction_failed() const noexcept {
  if (session_) return failed_;
  return PQtransactionStatus(connection_) == PQTRANS_INERROR;
}

}  // namespace tidemill::postgres
