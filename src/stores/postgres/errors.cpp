#include "stores/postgres/errors.hpp"

#include <fmt/format.h>

namespace tidemill::postgres_store {

namespace {

struct Words {
  std::string_view state;  ///< The beginning of an SQLSTATE.
  ErrorKind kind;
  std::string_view text;
};

// The first that matches counts.
constexpr Words all_words[] = {
    {"25006", ErrorKind::unavailable,
     "takes no writes: it is a standby or set to read only; name the primary in the URL, or all servers and "
     "target_session_attrs=read-write"},
    {"28", ErrorKind::unavailable, "refused the login: check user and password in the URL and pg_hba.conf"},
    {"3D000", ErrorKind::unavailable, "does not have that database: create it, or name another in the URL"},
    {"42501", ErrorKind::unavailable,
     "lacks a right: the user of the URL needs CREATE on the schema to migrate, and all rights on its tables "
     "to work"},
    {"3F000", ErrorKind::unavailable, "does not have that schema: run `tidemill migrate`"},
    {"42P01", ErrorKind::unavailable, "lacks a table: run `tidemill migrate`"},
    {"42P07", ErrorKind::unavailable,
     "has a table of that name that is not Tidemill's: name another schema (?schema=NAME), or rename the "
     "table"},
    {"42703", ErrorKind::unavailable,
     "has a table that is not Tidemill's, or of another version: name another schema (?schema=NAME), or run "
     "`tidemill migrate`"},
    {"53100", ErrorKind::unavailable, "can't grow: its disk is full; nothing was written"},
    {"53300", ErrorKind::unavailable, "has no connection left: raise max_connections, or use a pooler"},
    {"53", ErrorKind::unavailable, "lacks resources"},
    {"55P03", ErrorKind::timed_out,
     "stayed locked by another's transaction: somebody holds one open that has written the same unique key "
     "or "
     "task"},
    {"40", ErrorKind::timed_out, "met other transactions in its way again and again"},
    {"57014", ErrorKind::timed_out, "cancelled the call"},
    {"57", ErrorKind::unavailable, "is starting or shutting down"},
    {"08", ErrorKind::unavailable, "can't be reached"},
    {"54", ErrorKind::invalid, "can't take a value of this size"},
};

}  // namespace

Error to_error(const postgres::Failure& failure, const std::string& where) {
  const auto error = [&](ErrorKind kind, std::string_view text) {
    return Error{kind, fmt::format("{} {} ({})", where, text, failure.what())};
  };
  if (failure.outcome() == postgres::Outcome::unknown)
    return error(ErrorKind::unknown_outcome, "was lost in mid-commit, and can't be asked what became of it");
  if (failure.timed_out()) return error(ErrorKind::timed_out, "did not answer in time");
  for (const Words& words : all_words) {
    if (failure.state().starts_with(words.state)) return error(words.kind, words.text);
  }
  if (failure.lost() || failure.state().empty()) return error(ErrorKind::unavailable, "can't be reached");
  return error(ErrorKind::corrupt, "refused a statement");
}

}  // namespace tidemill::postgres_store
