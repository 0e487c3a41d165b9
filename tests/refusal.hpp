#pragma once

#include <gtest/gtest.h>

#include <string>

#include <tidemill/error.hpp>

namespace tidemill::tests {

/// The error that `call` throws. The test fails where it throws none.
template <class F>
Error thrown_by(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorKind::closed, ""};
}

/// What the error says that `call` throws. The test fails where it throws none, or one of another kind.
template <class F>
std::string refusal(F&& call, ErrorKind kind = ErrorKind::invalid) {
  const Error error = thrown_by(call);
  EXPECT_EQ(error.kind(), kind) << error.what();
  return error.what();
}

}  // namespace tidemill::tests
