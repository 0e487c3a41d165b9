#pragma once

#include <string_view>

namespace tidemill::sql {

/// Bytes of no character set, as a parameter of a statement; a std::string_view is text.
struct Blob {
  std::string_view bytes;
};

}  // namespace tidemill::sql
