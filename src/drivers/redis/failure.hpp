#pragma once

#include <stdexcept>

namespace tidemill::redis {

/// What is wrong, for people: with a URL, a file of TLS, or the bytes of a server. Never holds a password.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A server refused to let us in, or we to go in, and so it will be again: wrong password, no such database,
/// a certificate that isn't its own. `what` begins with the server's code.
class Refused : public Failure {
 public:
  using Failure::Failure;
};

}  // namespace tidemill::redis
