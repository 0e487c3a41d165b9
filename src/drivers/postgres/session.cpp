// A Connection over another library's connection.
#include <libpq-fe.h>

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "drivers/postgres/postgres.hpp"
#include "drivers/postgres/text.hpp"

namespace tidemill::postgres {

namespace {

using sql::Session;

constexpr char get_settings[] =
    "SELECT current_setting('client_encoding'), current_setting('bytea_output'), "
    "current_setting('server_version_num'), pg_backend_pid()";

/// Somebody ends the connection, or the server: what is said then is not the answer to a statement.
bool ends_connection(const std::string& state) {
  return state.starts_with("08") || state == "57P01" || state == "57P02" || state == "57P03" ||
         state == "57P05";
}

/// As if libpq had brought it.
Query answer_of(const std::vector<Session::Row>& rows, std::int64_t changes) {
  PGresult* const result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
  if (result == nullptr) throw std::bad_alloc{};
  Query answer{result, changes};
  const std::size_t columns = rows.empty() ? 0 : rows.front().size();
  char no_name[] = "";
  std::vector<PGresAttDesc> attributes(
      columns,
      {.name = no_name, .tableid = 0, .columnid = 0, .format = 0, .typid = 0, .typlen = -1, .atttypmod = -1});
  if (columns > 0 && PQsetResultAttrs(result, static_cast<int>(columns), attributes.data()) == 0)
    throw std::bad_alloc{};
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      std::optional<std::string> value = rows[row].at(column);
      if (value && value->starts_with("\\x")) value = sql::from_hex(std::string_view{*value}.substr(2));
      if (PQsetvalue(result, static_cast<int>(row), static_cast<int>(column), value ? value->data() : nullptr,
                     value ? static_cast<int>(value->size()) : -1) == 0)
        throw std::bad_alloc{};
    }
  }
  return answer;
}

}  // namespace

Connection::Connection(std::unique_ptr<sql::Session> borrowed, std::string schema)
    : session_(std::move(borrowed)), owns_(false), schema_(quoted(schema)) {
  try {
    look_for_transaction();
    if (!failed_) check_session();
  } catch (const Session::Refusal& refusal) {
    throw Failure{Outcome::refused, refusal.state, refusal.what()};
  }
}

/// What has none refuses a savepoint, and goes on; what has failed refuses that too.
void Connection::look_for_transaction() {
  try {
    session_->execute("SAVEPOINT tidemill");
    session_->execute("RELEASE SAVEPOINT tidemill");
    open_ = true;
    return;
  } catch (const Session::Refusal& refusal) {
    if (refusal.lost || !session_->alive()) throw;
  }
  try {
    session_->query("SELECT 1");
  } catch (const Session::Refusal&) {
    open_ = true;
    failed_ = true;
  }
}

void Connection::check_session() {
  const std::vector<Session::Row> rows = session_->query(get_settings);
  const auto unfit = [](const std::string& why) { throw Failure{Outcome::refused, {}, why}; };
  const auto there = [](const std::optional<std::string>& value) { return value.has_value(); };
  if (rows.size() != 1 || rows[0].size() != 4 || !std::ranges::all_of(rows[0], there))
    unfit("the connection answers a row of four columns with something else: its adapter is wrong");
  const Session::Row& row = rows[0];
  if (*row[0] != "UTF8") unfit("the connection has another client_encoding than UTF8");
  if (*row[1] != "hex") unfit("the connection has another bytea_output than hex");
  version_ = std::atoi(row[2]->c_str());
  backend_ = std::atoi(row[3]->c_str());
}

std::vector<Query> Connection::send_by_session(const Batch& batch, Scope scope) {
  if (!usable_) throw Failure{Outcome::undone, {}, "the connection was lost before"};
  if (owns_ && std::chrono::steady_clock::now() >= deadline_) {
    rollback();
    throw Failure{Outcome::refused, {}, "the time for the call is up", true};
  }
  const bool alone = scope == Scope::plain && !open_;
  const bool begins = scope == Scope::whole || scope == Scope::begins || (alone && owns_ && batch.size() > 1);
  const bool commits = scope == Scope::whole || scope == Scope::commits || (alone && begins);
  std::size_t at = Failure::no_statement;
  bool may_commit = alone && !begins;
  try {
    std::vector<Query> answers;
    answers.reserve(batch.size());
    if (begins) {
      session_->execute(begin_text);
      open_ = true;
    }
    for (at = 0; at < batch.size(); ++at) answers.push_back(ask_session(batch.statements_[at]));
    at = Failure::no_statement;
    if (commits) {
      may_commit = true;
      session_->execute(commit_text);
      open_ = false;
    }
    return answers;
  } catch (const Session::Refusal& refusal) {
    fail(refusal, at, may_commit);
  }
}

std::string Connection::text_of(const Sql& sql, const Parameters& parameters) {
  const sql::Template& its = templates_.at(&sql);
  std::string text;
  for (const sql::Template::Part& part : its.parts) {
    text += part.text;
    parameters.append_literal(text, parameters.places()[part.parameter]);
  }
  return text + its.end;
}

Query Connection::ask_session(const Batch::Statement& statement) {
  const Sql& sql = *statement.sql;
  if (!templates_.contains(&sql))
    templates_.emplace(&sql, sql::cut(sql::without_colons(sql::with_main(sql.text, schema_ + "."))));
  if (templates_.at(&sql).parameters > statement.parameters.places().size())
    throw std::logic_error{fmt::format("too few arguments for: {}", sql.text)};
  const std::string text = text_of(sql, statement.parameters);
  if (!sql::has_rows(sql.text)) return answer_of({}, session_->execute(text));
  const std::vector<Session::Row> rows = session_->query(text);
  return answer_of(rows, static_cast<std::int64_t>(rows.size()));
}

/// As one statement that runs what is in a literal.
void Connection::run_by_session(const std::string& script) {
  if (!usable_) throw Failure{Outcome::undone, {}, "the connection was lost before"};
  std::string text = "DO 'BEGIN EXECUTE convert_from(decode(''";
  sql::append_hex(text, sql::with_main(script, schema_ + "."));
  text += "'', ''hex''), ''UTF8''); END'";
  try {
    session_->execute(text);
  } catch (const Session::Refusal& refusal) {
    fail(refusal, Failure::no_statement, !open_);
  }
}

/// A statement of the session didn't work. A caller's transaction stays as it is.
void Connection::fail(const Session::Refusal& refusal, std::size_t statement, bool may_commit) {
  bool lost = refusal.lost || ends_connection(refusal.state);
  if (!lost && refusal.state.empty()) lost = !session_->alive();
  if (lost) {
    open_ = false;
    usable_ = false;
  } else if (owns_) {
    rollback();
  }
  const Outcome outcome = !lost ? Outcome::refused : may_commit ? Outcome::unknown : Outcome::undone;
  Failure failure{outcome, refusal.state, refusal.what()};
  failure.statement_ = statement;
  throw failure;
}

}  // namespace tidemill::postgres
