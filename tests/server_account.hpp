#pragma once

#include <pwd.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "process.hpp"

namespace tidemill::testing {

/// A directory that belongs to whom a server runs as, and processes of his. Servers refuse to run as root:
/// then they run as the user that their package makes, or as nobody.
class ServerAccount {
 public:
  const std::filesystem::path& path() const { return directory_.path(); }
  std::filesystem::path operator/(const std::string& name) const { return directory_ / name; }

 protected:
  explicit ServerAccount(const char* user) {
    if (geteuid() != 0) return;
    for (const char* const name : {user, "nobody"}) {
      const passwd* const entry = getpwnam(name);
      if (entry == nullptr) continue;
      user_ = name;
      give(path());
      return;
    }
    throw std::runtime_error{
        fmt::format("servers refuse to run as root, and there is neither a user {} nor nobody", user)};
  }

  /// Of a file that was made here.
  void give(const std::filesystem::path& file) const {
    if (user_.empty()) return;
    const passwd* const entry = getpwnam(user_.c_str());
    if (chown(file.c_str(), entry->pw_uid, entry->pw_gid) != 0)
      throw std::runtime_error{fmt::format("{} can't be given to {}", file.string(), user_)};
  }
  /// Its output goes to the file `log`. The process is the program itself, whoever it runs as.
  Process run(std::vector<std::string> arguments) const {
    if (!user_.empty()) {
      arguments.insert(arguments.begin(),
                       {"/usr/bin/setpriv", "--reuid=" + user_, "--regid=" + group(), "--clear-groups"});
    }
    return Process{std::move(arguments), {.out = log_file(), .err = log_file()}};
  }
  std::filesystem::path log_file() const { return directory_ / "log"; }

 private:
  std::string group() const { return std::to_string(getpwnam(user_.c_str())->pw_gid); }

  TemporaryDirectory directory_;
  std::string user_;  ///< Empty: whoever runs the tests.
};

}  // namespace tidemill::testing
