#include <tidemill/version.hpp>

namespace tidemill {

// TIDEMILL_VERSION is the project's version in CMakeLists.txt, the one place where it is written.
std::string_view version() noexcept { return TIDEMILL_VERSION; }

}  // namespace tidemill
