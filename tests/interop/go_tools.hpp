#pragma once

#include <filesystem>
#include <string>

/// Programs of Go that the tests build once a run, in a temporary directory, with Go's own client of the
/// module proxy.
namespace tidemill::testing {

/// A program, or why there is none here.
struct GoBuild {
  std::filesystem::path program = {};
  std::string why_not = {};  ///< Empty: the program is there.
};

/// tests/interop/asynq. Throws std::runtime_error when it does not compile.
const GoBuild& asynq_peer();
/// That of tests/interop/persistent_queue.
const GoBuild& persistent_queue_peer();
/// Asynq's web page, of the last version.
const GoBuild& asynqmon();

/// The first line of a SetUp that needs a program. Without Go, and without a network that leads to one, its
/// tests are skipped.
#define TIDEMILL_NEEDS(build)                                                    \
  do {                                                                           \
    if (const auto& needed = (build); !needed.why_not.empty())                   \
      GTEST_SKIP() << "skipped what needs " << #build << ": " << needed.why_not; \
  } while (false)

}  // namespace tidemill::testing
