#pragma once

#include <filesystem>

#include "config/config.hpp"
#include "config/yaml.hpp"

/// The parts of a configuration, one file each.
namespace tidemill::config {

void read_tokens(Config& config, const Node& node);
void read_deliveries(Config& config, const Node& node);
void read_schedules(Config& config, const Node& node);
void read_logging(Config& config, const Node& node);

/// A secret: a text, {env: VARIABLE} or {file: PATH}, whose first line it is. Empty after a mistake.
std::string read_secret(const Node& node);
/// A whole file of a configuration's size at most; none when it can't be read, or is larger.
std::optional<std::string> read_file(const std::filesystem::path& path);
/// The whole file; a path that doesn't begin with '/' is looked for beside the configuration. Empty after a
/// mistake, which is said of `node`.
std::string read_file_beside(const Node& node, const std::string& path);
/// exponential: {base, factor, most, jitter}; or a list of delays.
std::optional<RetryPolicy> read_retry(const Node& node);

}  // namespace tidemill::config
