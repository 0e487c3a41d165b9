#include "stores/mysql/errors.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace tidemill::mysql_store {

namespace {

struct Words {
  std::array<unsigned, 8> numbers;  ///< The server's numbers of errors; 0: no more.
  ErrorKind kind;
  std::string_view text;
};

// The first that matches counts.
constexpr Words all_words[] = {
    {{1290, 1792, 1836},
     ErrorKind::unavailable,
     "takes no writes: it is a replica or set to read only; name the primary in the URL"},
    {{1045, 1130, 1698, 1862},
     ErrorKind::unavailable,
     "refused the login: check user and password in the URL, and from where this user may connect"},
    {{1049}, ErrorKind::unavailable, "does not have that database: create it, or name another in the URL"},
    {{1044, 1142, 1143, 1227, 1370},
     ErrorKind::unavailable,
     "lacks a right: the user of the URL needs CREATE, ALTER and INDEX on the database to migrate, and "
     "SELECT, INSERT, UPDATE and DELETE to work"},
    {{1146}, ErrorKind::unavailable, "lacks a table: run `tidemill migrate`"},
    {{1054, 1136, 1364},
     ErrorKind::unavailable,
     "has a table that is not Tidemill's, or of another version: name another prefix (?prefix=NAME_), or run "
     "`tidemill migrate`"},
    {{1665},
     ErrorKind::unavailable,
     "has binlog_format = STATEMENT, which can't take what is read and written at once: set it to ROW or "
     "MIXED"},
    {{1021, 1114}, ErrorKind::unavailable, "can't grow: its disk or a table is full; nothing was written"},
    {{1040, 1203, 1226}, ErrorKind::unavailable, "has no connection left: raise max_connections"},
    {{1205, 3572},
     ErrorKind::timed_out,
     "stayed locked by another's transaction: somebody holds one open that has written the same unique key "
     "or "
     "task"},
    {{1020, 1213, 1412}, ErrorKind::timed_out, "met other transactions in its way again and again"},
    {{1317, 1969, 3024}, ErrorKind::timed_out, "cancelled the call"},
    {{1053, 1927}, ErrorKind::unavailable, "is shutting down, or has ended the connection"},
    {{1153, 1301, 1406}, ErrorKind::invalid, "can't take a value of this size"},
};

}  // namespace

Error to_error(const mysql::Failure& failure, const std::string& where) {
  const auto error = [&](ErrorKind kind, std::string_view text) {
    return Error{kind, fmt::format("{} {} ({})", where, text, failure.what())};
  };
  if (failure.outcome() == mysql::Outcome::unknown)
    return error(ErrorKind::unknown_outcome, "was lost in mid-commit, and can't be asked what became of it");
  if (failure.timed_out()) return error(ErrorKind::timed_out, "did not answer in time");
  for (const Words& words : all_words) {
    const bool its =
        failure.number() != 0 && std::ranges::find(words.numbers, failure.number()) != words.numbers.end();
    if (its) return error(words.kind, words.text);
  }
  if (failure.lost() || failure.state().empty()) return error(ErrorKind::unavailable, "can't be reached");
  return error(ErrorKind::corrupt, "refused a statement");
}

}  // namespace tidemill::mysql_store
