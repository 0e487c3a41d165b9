#pragma once

#include <string_view>

namespace tidemill {

/// Of the library that the program is linked with: "0.1.0".
std::string_view version() noexcept;

}  // namespace tidemill
