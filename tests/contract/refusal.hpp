#pragma once

#include <gtest/gtest.h>

#include <string>

#include <tidemill/error.hpp>

namespace tidemill::contract {

/// What the error says that `body` throws; its kind must be as given.
template <class F>
std::string refusal(F&& body, ErrorKind kind = ErrorKind::invalid) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace tidemill::contract
