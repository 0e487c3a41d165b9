#pragma once

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "port.hpp"
#include "process.hpp"
#include "server_account.hpp"

/// Real servers of MariaDB, for tests. Each has a free port of this machine, a socket and a directory of its
/// own, and ends with its object.
namespace tidemill::testing {

inline constexpr const char* mariadb_program = "/usr/sbin/mariadbd";
inline constexpr const char* mariadb_installer = "/usr/bin/mariadb-install-db";

/// The first line of a test that needs a server, or of its SetUp: says so where there is none.
#define TIDEMILL_NEEDS_MYSQL()                                            \
  do {                                                                    \
    if (access(::tidemill::testing::mariadb_program, X_OK) != 0)          \
      GTEST_SKIP() << "MariaDB is not installed; ./dev test installs it"; \
  } while (false)

/// The files of a server that nobody has written to: made once, as that takes seconds, and copied. There are
/// the user root without a password, and the database test.
class MysqlTemplate : public ServerAccount {
 public:
  MysqlTemplate() : ServerAccount("mysql") {
    for (const char* const folder : {"data", "temporary"}) {
      std::filesystem::create_directory(*this / folder);
      give(*this / folder);
    }
    Process install = run({mariadb_installer, "--no-defaults", "--auth-root-authentication-method=normal",
                           "--datadir=" + (*this / "data").string(),
                           "--tmpdir=" + (*this / "temporary").string(), "--innodb-log-file-size=8M"});
    if (install.wait() != 0) throw std::runtime_error{"mariadb-install-db fails:\n" + read_file(log_file())};
  }
};

/// A server with some options of mariadbd, beside which all is as MariaDB has it by default.
class MysqlServer : public ServerAccount {
 public:
  using Options = std::vector<std::string>;

  /// Waits until it answers.
  explicit MysqlServer(Options options = {})
      : ServerAccount("mysql"), port_(free_port()), options_(std::move(options)) {
    static const MysqlTemplate files;
    Process copy{{"/bin/cp", "--archive", (files / "data").string(), data()}, {}};
    if (copy.wait() != 0) throw std::runtime_error{"the files of a new server can't be copied"};
    std::filesystem::create_directory(temporary());
    give(temporary());
    start();
  }
  ~MysqlServer() {
    if (process_.running()) process_.end(SIGKILL);
  }
  MysqlServer(const MysqlServer&) = delete;
  MysqlServer& operator=(const MysqlServer&) = delete;

  std::uint16_t port() const { return port_; }
  std::string socket() const { return (*this / "socket").string(); }
  /// `query` as "prefix=one_".
  std::string url(const std::string& query = {}) const { return url_at(port_, query); }
  /// Of something before it.
  static std::string url_at(std::uint16_t port, const std::string& query = {}) {
    return fmt::format("mysql://root@127.0.0.1:{}/test{}{}", port, query.empty() ? "" : "?", query);
  }
  std::string log() const { return read_file(log_file()); }

  /// SIGTERM waits for what is under way, SIGKILL for nothing, and then `start` repairs.
  void stop(int signal = SIGTERM) { process_.end(signal); }
  bool running() const { return process_.running(); }
  pid_t pid() const { return process_.pid(); }
  /// On the same port, with the same files.
  void start() {
    std::vector<std::string> arguments{mariadb_program,
                                       "--no-defaults",
                                       "--datadir=" + data(),
                                       "--tmpdir=" + temporary(),
                                       fmt::format("--port={}", port_),
                                       "--bind-address=127.0.0.1",
                                       "--socket=" + socket(),
                                       "--pid-file=" + (*this / "pid").string(),
                                       "--skip-name-resolve",
                                       "--innodb-log-file-size=8M"};
    arguments.insert(arguments.end(), options_.begin(), options_.end());
    process_ = run(std::move(arguments));
    const bool up = eventually([this] { return answers() || process_.ended(); }, std::chrono::seconds{60});
    if (up && !process_.ended()) return;
    process_.end(SIGKILL);
    throw std::runtime_error{"MariaDB does not start:\n" + log()};
  }
  void restart(int signal = SIGTERM) {
    stop(signal);
    start();
  }

 private:
  std::string data() const { return (*this / "data").string(); }
  /// Its own, as a server that starts deletes what looks like a temporary table there, whosever it is; and
  /// that one's server crashes.
  std::string temporary() const { return (*this / "tmp").string(); }
  bool answers() const {
    try {
      const mysql::Connection connection{mysql::parse_url(url())};
      return true;
    } catch (const mysql::Failure&) {
      return false;
    }
  }

  std::uint16_t port_;
  Options options_;
  Process process_;
};

/// One for all tests of a program that don't stop it: each takes a prefix of its own.
inline MysqlServer& shared_mysql() {
  static MysqlServer server;
  return server;
}

}  // namespace tidemill::testing
