#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace tidemill::postgres {

/// What is known of the writes of a call that failed.
enum class Outcome : std::uint8_t {
  refused,  ///< The server answered with an error, or nothing was sent as the deadline had passed: nothing of
            ///< it is written. The connection goes on.
  undone,   ///< The connection can't be had, or was lost before a commit was sent: nothing is written.
  unknown,  ///< The connection was lost after a commit was sent: it is written as a whole or not at all.
};

/// PostgreSQL refused, or can't be reached. The message is the server's own or libpq's; it never holds a
/// password.
class Failure : public std::exception {
 public:
  static constexpr std::size_t no_statement = static_cast<std::size_t>(-1);

  Failure(Outcome outcome, std::string state, std::string message, bool timed_out = false)
      : outcome_(outcome), timed_out_(timed_out), state_(std::move(state)), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  Outcome outcome() const noexcept { return outcome_; }
  /// Five letters, "23505" for a unique violation; empty where no server said anything.
  const std::string& state() const noexcept { return state_; }
  /// The two letters that say what sort of thing it is: "08", "53" …
  std::string_view state_class() const noexcept { return std::string_view{state_}.substr(0, 2); }

  /// The connection is of no use any more.
  bool lost() const noexcept { return outcome_ != Outcome::refused; }
  /// The deadline passed.
  bool timed_out() const noexcept { return timed_out_; }
  /// The same transaction may succeed if it is begun again: serialization, deadlock, lock time-out, cancelled
  /// by somebody, or prepared statements that a pooler between has mixed up.
  bool retryable() const noexcept {
    for (const std::string_view state : {"40001", "40P01", "55P03", "57014", "26000", "42P05"}) {
      if (state_ == state) return outcome_ == Outcome::refused;
    }
    return false;
  }
  /// Which statement of a batch, from 0; no_statement where none is to blame.
  std::size_t statement() const noexcept { return statement_; }

 private:
  friend class Connection;
  Outcome outcome_;
  bool timed_out_;
  std::size_t statement_ = no_statement;
  std::string state_;
  std::string message_;
};

}  // namespace tidemill::postgres
