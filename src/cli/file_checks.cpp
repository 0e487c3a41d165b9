// What is looked at of an SQLite store without opening it.
#include "cli/file_checks.hpp"

#include <unistd.h>

#include <array>
#include <fstream>

#include <fmt/format.h>

namespace tidemill::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t mebibyte = 1U << 20U;
constexpr std::uintmax_t space_little = 1024 * mebibyte;
constexpr std::uintmax_t space_none = 100 * mebibyte;
constexpr std::uintmax_t log_large = 256 * mebibyte;

/// SQLite's file format, section 1.3: bytes 18 and 19 are 2 for a file with a write-ahead log.
bool has_write_ahead_log(const fs::path& file) {
  std::array<char, 20> head{};
  std::ifstream in{file, std::ios::binary};
  return in.read(head.data(), head.size()) && head[18] == 2 && head[19] == 2;
}

Finding check_log(const fs::path& file) {
  if (!has_write_ahead_log(file)) {
    return {Verdict::problem, "write_ahead_log", fmt::format("{} has no write-ahead log", file.string()),
            "stop all that use it, and run: sqlite3 FILE 'PRAGMA journal_mode = wal'"};
  }
  std::error_code absent;
  const auto size = fs::file_size(file.string() + "-wal", absent);
  if (!absent && size > log_large) {
    return {Verdict::warning, "write_ahead_log",
            fmt::format("the write-ahead log has grown to {} MiB", size / mebibyte),
            "a reader that never ends its transaction keeps it from being emptied: find and end that one"};
  }
  return {Verdict::fine, "write_ahead_log", "writes go through a write-ahead log", ""};
}

Finding check_sync(bool full_sync) {
  if (full_sync) return {Verdict::fine, "synchronous", "what is acknowledged survives a power cut", ""};
  return {Verdict::warning, "synchronous",
          "with synchronous=normal a power cut may undo what was acknowledged",
          "leave it out of the store's URL, unless that is what you want"};
}

Finding check_permissions(const fs::path& file, const fs::path& folder) {
  // The log and its index are made beside the file.
  for (const fs::path& path : {file, folder}) {
    if (access(path.c_str(), W_OK) != 0) {
      return {Verdict::problem, "permissions", fmt::format("{} can't be written by this user", path.string()),
              fmt::format("chown or chmod it, or run as its owner (user {})", geteuid())};
    }
  }
  const bool sticky = (fs::status(folder).permissions() & fs::perms::sticky_bit) != fs::perms::none;
  for (const fs::path& path : {file, folder}) {
    if (path == folder && sticky) continue;
    if ((fs::status(path).permissions() & fs::perms::others_write) == fs::perms::none) continue;
    return {Verdict::warning, "permissions", fmt::format("{} can be written by everybody", path.string()),
            fmt::format("chmod o-w {}", path.string())};
  }
  return {Verdict::fine, "permissions", "file and folder can be written by this user, and not by everybody",
          ""};
}

Finding check_space(const fs::path& folder) {
  const std::uintmax_t left = fs::space(folder).available;
  const std::string what = fmt::format("{} MiB are free in {}", left / mebibyte, folder.string());
  if (left >= space_little) return {Verdict::fine, "space", what, ""};
  return {left < space_none ? Verdict::problem : Verdict::warning, "space", what,
          "make room: on a full disk nothing is acknowledged"};
}

}  // namespace

std::vector<Finding> examine_file(const fs::path& file, bool full_sync) {
  std::error_code failure;
  if (!fs::is_regular_file(file, failure)) return {};
  const fs::path folder = fs::absolute(file).parent_path();
  return {check_log(file), check_sync(full_sync), check_permissions(file, folder), check_space(folder)};
}

}  // namespace tidemill::cli
