#pragma once

#include <string>

#include "config/config.hpp"

namespace tidemill::server {

/// For admins to look at: all that is in force, also what the file leaves to us, under the file's names and
/// in its notation. Secrets, and what may hold some (values of headers and variables, the user and password
/// of a URL), are left out; a delivery's own retry rule is only named.
std::string to_json(const config::Config& config);

}  // namespace tidemill::server
