#pragma once

#include <stdexcept>

namespace tidemill::redis {

/// What is wrong, for people: with a URL, a file of TLS, or the bytes of a server. Never holds a password.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace tidemill::redis
