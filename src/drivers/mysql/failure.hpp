#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <string>
#include <utility>

namespace tidemill::mysql {

/// Whether the client library says so, and no server.
inline bool is_of_library(unsigned number) noexcept {
  return (number >= 2000 && number < 3000) || (number >= 5000 && number < 6000);
}

/// Whether the server or the library says with it that the connection has ended: the server shuts down, the
/// connection was killed, it can't read what comes, or has waited too long for it.
inline bool ends_connection(unsigned number) noexcept {
  constexpr unsigned numbers[] = {1053, 1153, 1156, 1157, 1158, 1159, 1160, 1927, 4031};
  return is_of_library(number) ||
         std::find(std::begin(numbers), std::end(numbers), number) != std::end(numbers);
}

/// What is known of the writes of a call that failed.
enum class Outcome : std::uint8_t {
  refused,  ///< The server answered with an error, or nothing was sent, as it is too long or the deadline had
            ///< passed: nothing of it is written. The connection goes on.
  undone,   ///< The connection can't be had, or was lost before a commit was sent: nothing is written.
  unknown,  ///< The connection was lost after a commit was sent: it is written as a whole or not at all.
};

/// MariaDB or MySQL refused, or can't be reached. The message is the server's own or the client library's; it
/// never holds a password.
class Failure : public std::exception {
 public:
  static constexpr std::size_t no_statement = static_cast<std::size_t>(-1);

  Failure(Outcome outcome, unsigned number, std::string state, std::string message, bool timed_out = false)
      : outcome_(outcome),
        timed_out_(timed_out),
        number_(number),
        state_(std::move(state)),
        message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  Outcome outcome() const noexcept { return outcome_; }
  /// The server's, from 1000, or from 2000 to 2999 the client library's; 0 where it is the driver that says
  /// so.
  unsigned number() const noexcept { return number_; }
  /// SQLSTATE, five letters; empty where no server said anything.
  const std::string& state() const noexcept { return state_; }

  /// The connection is of no use any more.
  bool lost() const noexcept { return outcome_ != Outcome::refused; }
  /// The deadline passed.
  bool timed_out() const noexcept { return timed_out_; }
  /// The same transaction may succeed if it is begun again: a row that has changed, a lock that was waited
  /// for too long, a deadlock, interrupted by somebody, out of time by a setting of the server, a table that
  /// has changed, or a lock that was not waited for.
  bool retryable() const noexcept {
    return outcome_ == Outcome::refused && is({1020, 1205, 1213, 1317, 1412, 1969, 3024, 3572});
  }
  /// A unique key has this value.
  bool duplicate() const noexcept { return is({1022, 1062, 1586}); }
  /// A lock was waited for too long, or not at all, as the statement wished it.
  bool lock_timed_out() const noexcept { return is({1205, 3572}); }
  /// The server takes no writes, as a replica does; or this transaction takes none.
  bool read_only() const noexcept { return is({1290, 1792, 1836}); }
  /// The server's disk or a table is full.
  bool full() const noexcept { return is({1021, 1114}); }
  /// This user may not do that, may not have this database, or may not connect.
  bool forbidden() const noexcept { return is({1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698}); }
  /// There is no such table, column, or database.
  bool missing() const noexcept { return is({1049, 1054, 1146}); }

  /// Which statement of a batch, from 0; no_statement where none is to blame.
  std::size_t statement() const noexcept { return statement_; }

 private:
  friend class Connection;
  template <std::size_t Size>
  bool is(const unsigned (&numbers)[Size]) const noexcept {
    return std::find(std::begin(numbers), std::end(numbers), number_) != std::end(numbers);
  }

  Outcome outcome_;
  bool timed_out_;
  unsigned number_;
  std::size_t statement_ = no_statement;
  std::string state_;
  std::string message_;
};

}  // namespace tidemill::mysql
