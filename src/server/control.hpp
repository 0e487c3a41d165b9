#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "drivers/http/client.hpp"

namespace tidemill::server {

/// The server around the API: what only it knows, and can do.
///
/// Thread safety: all members may be called from any thread.
class Control {
 public:
  virtual ~Control() = default;
  /// The configuration in force as JSON, without secrets.
  virtual std::string configuration() const = 0;
  /// Reads the configuration anew and takes over what can change. Returns the settings that differ and wait
  /// for a restart. Throws Error{invalid}, and nothing has changed then.
  virtual std::vector<std::string_view> reload() = 0;
  /// What deliveries call at this moment.
  virtual std::vector<http::Client::HostLoad> hosts() const = 0;
};

}  // namespace tidemill::server
