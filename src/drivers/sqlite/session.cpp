// A Connection over another library's connection.
#include <sqlite3.h>

#include <cstdlib>

#include <fmt/format.h>

#include "drivers/sqlite/sqlite.hpp"

namespace tidemill::sqlite {

namespace {

using sql::Session;

Failure failure_of(const Session::Refusal& refusal) {
  return {refusal.number != 0 ? refusal.number : SQLITE_ERROR, refusal.what()};
}

/// The columns as SQLite's own literals, as no two libraries give out a BLOB the same way.
std::string with_literals(const std::string& select) {
  const std::size_t columns = sql::columns_of(select);
  std::string names, quotes;
  for (std::size_t i = 0; i < columns; ++i) {
    names += fmt::format("{}c{}", i == 0 ? "" : ", ", i);
    quotes += fmt::format("{}quote(c{})", i == 0 ? "" : ", ", i);
  }
  return fmt::format("WITH answer({}) AS ({}) SELECT {} FROM answer", names, select, quotes);
}

/// Without its marks, and the mark once where it comes twice.
std::string unquoted(std::string_view literal) {
  std::string text;
  for (std::size_t at = 1; at + 1 < literal.size(); ++at) {
    if (literal[at] == '\'') ++at;
    text += literal[at];
  }
  return text;
}

}  // namespace

Connection::Connection(std::shared_ptr<sql::Session> borrowed, std::string schema)
    : session_(std::move(borrowed)), owns_(false), schema_(std::move(schema)) {}

bool Connection::in_transaction() const {
  if (!session_) return sqlite3_get_autocommit(db_) == 0;
  try {
    session_->execute("BEGIN");
  } catch (const Session::Refusal& refusal) {
    if (refusal.lost || !session_->alive()) throw failure_of(refusal);
    return true;
  }
  run_by_session("ROLLBACK");
  return false;
}

void Connection::append_literal(std::string& out, std::nullptr_t) { out += "NULL"; }

void Connection::append_literal(std::string& out, std::int64_t value) { out += std::to_string(value); }

void Connection::append_literal(std::string& out, std::string_view text) {
  out += "CAST(";
  append_literal(out, Blob{text});
  out += " AS TEXT)";
}

void Connection::append_literal(std::string& out, Blob blob) {
  out += "x'";
  sql::append_hex(out, blob.bytes);
  out += '\'';
}

std::string Connection::text_of(const Sql& sql, const std::vector<std::string>& literals) const {
  const sql::Template its = sql::cut(sql::with_main(sql.text, sql::quoted(schema_) + "."), '?');
  std::string text;
  for (const sql::Template::Part& part : its.parts) text += part.text + literals.at(part.parameter);
  return text + its.end;
}

Query Connection::ask_session(const std::string& select) const {
  std::vector<Query::Row> rows;
  try {
    for (const Session::Row& texts : session_->query(with_literals(select))) {
      Query::Row& row = rows.emplace_back();
      for (const std::optional<std::string>& text : texts) {
        row.emplace_back();
        if (!text || *text == "NULL") continue;
        const bool is_blob = text->starts_with("X'");
        if (is_blob) {
          row.back() = {true, sql::from_hex(std::string_view{*text}.substr(2, text->size() - 3))};
        } else {
          row.back() = {false, text->starts_with('\'') ? unquoted(*text) : *text};
        }
      }
    }
  } catch (const Session::Refusal& refusal) {
    throw failure_of(refusal);
  }
  return Query{std::move(rows)};
}

int Connection::run_by_session(const std::string& text) const {
  try {
    return static_cast<int>(session_->execute(text));
  } catch (const Session::Refusal& refusal) {
    throw failure_of(refusal);
  }
}

}  // namespace tidemill::sqlite
