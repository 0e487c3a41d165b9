#pragma once

#include <string>
#include <string_view>

/// Where things are that tests start and read. One source knows, so that the others compile to the same in
/// any folder.
namespace tidemill::testing {

/// The command, `tidemill`.
std::string command();

/// What lies at `path` below the build directory: "example_asynq".
std::string built(std::string_view path);

/// What lies at `path` in the sources: "docs/tidemill.yaml".
std::string in_sources(std::string_view path);

}  // namespace tidemill::testing
