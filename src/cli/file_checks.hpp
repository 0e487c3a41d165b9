#pragma once

#include <filesystem>
#include <vector>

#include "server/checks.hpp"

namespace tidemill::cli {

using server::Finding;
using server::Verdict;

/// Of the file of an SQLite store and the disk below it; the file need not be there. `full_sync`: the store
/// is used with synchronous=full.
std::vector<Finding> examine_file(const std::filesystem::path& file, bool full_sync);

}  // namespace tidemill::cli
