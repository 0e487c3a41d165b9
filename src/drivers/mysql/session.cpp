// A Connection over another library's connection.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <stdexcept>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "drivers/mysql/text.hpp"

namespace tidemill::mysql {

namespace {

using sql::Session;

constexpr char get_settings[] =
    "SELECT @@max_allowed_packet, @@character_set_client, COALESCE(@@character_set_results, 'binary'), "
    "VERSION(), CONNECTION_ID()";
constexpr unsigned deadlock = 1213;

unsigned long number_in(const std::string& text, std::size_t begin = 0) {
  unsigned long value = 0;
  std::from_chars(text.data() + std::min(begin, text.size()), text.data() + text.size(), value);
  return value;
}

/// "10.11.19-MariaDB-…" as 101119.
unsigned long version_in(const std::string& text) {
  const std::size_t minor = text.find('.') + 1;
  return number_in(text) * 10000 + number_in(text, minor) * 100 + number_in(text, text.find('.', minor) + 1);
}

}  // namespace

Connection::Connection(std::unique_ptr<sql::Session> borrowed, std::string_view prefix,
                       std::string_view database)
    : session_(std::move(borrowed)), owns_(false) {
  if (!database.empty()) main_ = sql::quoted(database, '`') + ".";
  main_ += prefix;
  try {
    look_for_transaction();
    check_session();
  } catch (const Session::Refusal& refusal) {
    throw Failure{Outcome::refused, static_cast<unsigned>(refusal.number), refusal.state, refusal.what()};
  }
}

/// Without a transaction a savepoint is gone as soon as it is made.
void Connection::look_for_transaction() {
  session_->execute("SAVEPOINT tidemill");
  try {
    session_->execute("RELEASE SAVEPOINT tidemill");
    open_ = true;
  } catch (const Session::Refusal& refusal) {
    if (refusal.lost || !session_->alive()) throw;
  }
}

void Connection::check_session() {
  const std::vector<Session::Row> rows = session_->query(get_settings);
  const auto unfit = [](const std::string& why) { throw Failure{Outcome::refused, 0, {}, why}; };
  const auto there = [](const std::optional<std::string>& value) { return value.has_value(); };
  if (rows.size() != 1 || rows[0].size() != 5 || !std::ranges::all_of(rows[0], there))
    unfit("the connection answers a row of five columns with something else: its adapter is wrong");
  const Session::Row& row = rows[0];
  text_bytes_max_ = number_in(*row[0]);
  for (const std::size_t column : {1, 2}) {
    if (*row[column] != "utf8mb4" && *row[column] != "binary")
      unfit("the connection has the character set " + *row[column] + "; right is utf8mb4");
  }
  mariadb_ = row[3]->find("MariaDB") != std::string::npos;
  version_ = version_in(*row[3]);
  id_ = number_in(*row[4]);
}

std::vector<Query> Connection::send_by_session(const Batch& batch, Scope scope) {
  if (!usable_) throw Failure{Outcome::undone, 0, {}, "the connection was lost before"};
  if (open_ && scope == Scope::begins) throw std::logic_error{"a transaction is open already"};
  if (!open_ && scope == Scope::commits) throw std::logic_error{"no transaction is open"};
  if (owns_ && std::chrono::steady_clock::now() >= deadline_) {
    rollback();
    throw Failure{Outcome::refused, 0, {}, "the time for the call is up", true};
  }
  const bool alone = scope == Scope::plain && !open_;
  const bool wraps = alone && batch.size() > 1;
  std::size_t at = Failure::no_statement;
  bool may_commit = alone && !wraps;
  try {
    std::vector<Query> answers;
    answers.reserve(batch.size());
    if (wraps || scope == Scope::begins) {
      session_->execute(begin_text);
      open_ = true;
    }
    for (at = 0; at < batch.size(); ++at) answers.push_back(ask_session(batch.statements_[at], at));
    at = Failure::no_statement;
    if (wraps || scope == Scope::commits) {
      may_commit = true;
      session_->execute(commit_text);
      open_ = false;
    }
    return answers;
  } catch (const Session::Refusal& refusal) {
    fail(refusal, at, may_commit);
  }
}

Query Connection::ask_session(const Batch::Statement& statement, std::size_t index) {
  std::string text;
  append_statement(text, statement);
  const bool has_rows = sql::has_rows(text);
  text = without_marks(text);
  if (text.size() >= text_bytes_max_) {
    if (owns_) rollback();
    check_size(text.size(), index);
  }
  if (has_rows) return Query{session_->query(text)};
  return Query{nullptr, session_->execute(text)};
}

void Connection::run_by_session(const std::string& script) {
  if (!usable_) throw Failure{Outcome::undone, 0, {}, "the connection was lost before"};
  try {
    for (const std::string& text : sql::statements_of(sql::with_main(script, main_)))
      session_->execute(without_marks(text));
  } catch (const Session::Refusal& refusal) {
    fail(refusal, Failure::no_statement, !open_);
  }
}

/// A statement of the session didn't work. A caller's transaction stays as it is, but for a deadlock, with
/// which the server has rolled it back.
void Connection::fail(const Session::Refusal& refusal, std::size_t statement, bool may_commit) {
  const auto number = static_cast<unsigned>(refusal.number);
  bool lost = refusal.lost || ends_connection(number);
  if (!lost && number == 0) lost = !session_->alive();
  if (lost) {
    open_ = false;
    usable_ = false;
  } else if (owns_) {
    rollback();
  } else {
    transaction_failed_ = number == deadlock;
  }
  const Outcome outcome = !lost ? Outcome::refused : may_commit ? Outcome::unknown : Outcome::undone;
  Failure failure{outcome, number, refusal.state, refusal.what()};
  failure.statement_ = statement;
  throw failure;
}

}  // namespace tidemill::mysql
