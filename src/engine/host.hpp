#pragma once

#include <string>

namespace tidemill::engine {

/// What this machine calls itself; "unknown" when it doesn't say.
std::string host_name();

}  // namespace tidemill::engine
