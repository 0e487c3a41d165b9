#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "process.hpp"

namespace tidemill::testing {

/// An authority, and certificates of its own making, by the command openssl. All may read them, also the
/// keys: a server may run as somebody else.
class Certificates {
 public:
  Certificates() {
    run({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority", "-keyout",
         file("ca.key"), "-out", file("ca.crt")});
    issue("server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    issue("elsewhere", "subjectAltName=DNS:elsewhere.example");
    issue("client", "subjectAltName=DNS:client");
    using std::filesystem::perms;
    std::filesystem::permissions(directory_.path(), perms::others_read | perms::others_exec,
                                 std::filesystem::perm_options::add);
    for (const auto& entry : std::filesystem::directory_iterator{directory_.path()})
      std::filesystem::permissions(entry.path(), perms::others_read, std::filesystem::perm_options::add);
  }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

 private:
  void issue(const std::string& name, const std::string& extension) {
    write_file(file(name + ".ext"), extension);
    run({"req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name, "-keyout",
         file(name + ".key"), "-out", file(name + ".csr")});
    run({"x509", "-req", "-days", "2", "-in", file(name + ".csr"), "-CA", file("ca.crt"), "-CAkey",
         file("ca.key"), "-CAcreateserial", "-extfile", file(name + ".ext"), "-out", file(name + ".crt")});
  }
  static void run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    if (Process{arguments, {}}.wait() != 0) throw std::runtime_error{"openssl fails: " + arguments[1]};
  }

  TemporaryDirectory directory_;
};

}  // namespace tidemill::testing
