#pragma once

#include "config/config.hpp"
#include "wire/json_write.hpp"

namespace tidemill::server {

/// What a token may do, as members of an object that is open: its role, and its limits if it has any.
inline void write_limits(json::Writer& writer, const config::Token& token) {
  writer.member("role", to_string(token.role));
  if (!token.queues.empty()) writer.member("queues", token.queues);
  if (token.requests_per_minute > 0) writer.member("requests_per_minute", token.requests_per_minute);
}

}  // namespace tidemill::server
