#pragma once

#include <gtest/gtest.h>

#include <string>

#include <tidemill/error.hpp>

namespace tidemill::tests {

/// What the error says that `call` throws. The test fails where it throws none, or one of another kind.
template <class F>
std::string refusal(F&& call, ErrorKind kind = ErrorKind::invalid) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace tidemill::tests
