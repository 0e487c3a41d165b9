#pragma once

#include <exception>
#include <string>
#include <utility>

namespace tidemill {

/// Why an operation could not be carried out. The kinds are few on purpose: each one is a different thing
/// for the caller to do.
enum class ErrorKind : unsigned char {
  unavailable,      ///< The store can't be reached or can't work; the same call may succeed later.
  timed_out,        ///< The call's time passed before the store got to it: nothing happened. Repeat it later.
  unknown_outcome,  ///< The connection died in mid-commit: it may or may not have happened.
  invalid,          ///< The request itself is wrong; repeating it can't help.
  conflict,         ///< Something with that key or id exists already.
  unsupported,      ///< This store can't do that; `Store::capabilities()` says what it can.
  corrupt,          ///< Stored data or a payload does not decode; a human must look.
  closed,           ///< The object was stopped and takes no more calls.
};

/// The one exception type that this library throws.
///
/// What a queue expects to happen (a duplicate, a task that is gone, an empty queue) is a return value and
/// never an exception. The message says what, where, and what would be right.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const noexcept { return kind_; }
  /// Whether the same call may succeed later, unchanged.
  bool retryable() const noexcept { return kind_ == ErrorKind::unavailable || kind_ == ErrorKind::timed_out; }

 private:
  ErrorKind kind_;
  std::string message_;
};

}  // namespace tidemill
