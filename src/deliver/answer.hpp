#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <tidemill/handler.hpp>

#include "drivers/http/client.hpp"

namespace tidemill::deliver {

/// What a header Retry-After asks for: seconds, or a date; 24 hours at most, and none of it has passed yet.
/// None when it is neither, or asks for no delay at all.
std::optional<Duration> retry_after(std::string_view value, TimePoint now);

/// What an answer means for the task: 2xx is a success with the body as its result, 410 archives, and all
/// else fails, to be tried again when Retry-After says so. `call` names the call in the error:
/// "POST http://host/path".
Outcome outcome_of(http::CallResult result, std::string_view call, TimePoint now);

}  // namespace tidemill::deliver
