#pragma once

#include <filesystem>

#include "config/config.hpp"
#include "yaml/yaml.hpp"

/// The parts of a configuration, one file each.
namespace tidemill::config {

using yaml::Mistakes;
using yaml::Node;
using yaml::read_settings;
using yaml::Setting;

void read_tokens(Config& config, const Node& node);
void read_deliveries(Config& config, const Node& node);
void read_gateways(Config& config, const Node& node);
void read_schedules(Config& config, const Node& node);
void read_logging(Config& config, const Node& node);

/// How a delivery is made: its `http`, its `command`.
void read_http(Delivery& delivery, const Node& node);
void read_command(Delivery& delivery, const Node& node);

struct Secret {
  std::string text = {};
  std::string variable = {};  ///< Of the environment, that it comes from; empty: it doesn't.
};
/// A secret: a text, {env: VARIABLE} or {file: PATH}, whose first line it is. Empty after a mistake.
Secret read_secret(const Node& node);
/// Where a file is that the configuration names: beside it, unless the path begins with '/'.
std::filesystem::path beside(const Node& node, const std::string& path);
/// The whole file; a path that doesn't begin with '/' is looked for beside the configuration. Empty after a
/// mistake, which is said of `node`.
std::string read_file_beside(const Node& node, const std::string& path);
/// exponential: {base, factor, most, jitter}; or a list of delays.
std::optional<RetryPolicy> read_retry(const Node& node);

}  // namespace tidemill::config
