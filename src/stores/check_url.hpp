#pragma once

#include <string_view>

namespace tidemill {

/// Throws Error{invalid} as `open` does for a URL that it can't read. Opens nothing and asks nobody.
void check_store_url(std::string_view text);

}  // namespace tidemill
