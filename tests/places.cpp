// Also carries the precompiled header that all test programs share.
#include "places.hpp"

#include <string>
#include <string_view>

namespace tidemill::testing {

std::string command() { return built("src/cli/tidemill"); }

std::string built(std::string_view path) { return std::string{TIDEMILL_BINARY_DIR "/"}.append(path); }

std::string in_sources(std::string_view path) { return std::string{TIDEMILL_SOURCE_DIR "/"}.append(path); }

}  // namespace tidemill::testing
