#pragma once

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "drivers/postgres/postgres.hpp"
#include "port.hpp"
#include "process.hpp"
#include "server_account.hpp"

/// Real servers of PostgreSQL, for tests, and PgBouncer before them. Each has a free port of this machine and
/// a directory of its own, and ends with its object.
namespace tidemill::testing {

/// Where the programs of PostgreSQL are: $TIDEMILL_POSTGRES, which is a directory that has `bin` in it; or
/// the newest that is installed. Empty: there are none.
inline std::filesystem::path postgres_directory() {
  const auto is_one = [](const std::filesystem::path& directory) {
    return access((directory / "bin/initdb").c_str(), X_OK) == 0;
  };
  if (const char* const chosen = std::getenv("TIDEMILL_POSTGRES"); chosen != nullptr && *chosen != '\0') {
    if (!is_one(chosen))
      throw std::runtime_error{fmt::format("TIDEMILL_POSTGRES: there is no {}/bin/initdb", chosen)};
    return chosen;
  }
  std::filesystem::path newest;
  int version = 0;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator{"/usr/lib/postgresql", none}) {
    const int its = std::atoi(entry.path().filename().c_str());
    if (its <= version || !is_one(entry.path())) continue;
    version = its;
    newest = entry.path();
  }
  return newest;
}

inline constexpr const char* pgbouncer_program = "/usr/sbin/pgbouncer";

/// The first line of a test that needs a server, or of its SetUp: says so where there is none.
#define TIDEMILL_NEEDS_POSTGRES()                                            \
  do {                                                                       \
    if (::tidemill::testing::postgres_directory().empty())                   \
      GTEST_SKIP() << "PostgreSQL is not installed; ./dev test installs it"; \
  } while (false)

#define TIDEMILL_NEEDS_PGBOUNCER()                                          \
  do {                                                                      \
    TIDEMILL_NEEDS_POSTGRES();                                              \
    if (access(::tidemill::testing::pgbouncer_program, X_OK) != 0)          \
      GTEST_SKIP() << "PgBouncer is not installed; ./dev test installs it"; \
  } while (false)

/// The files of a server that nobody has written to: made once, as that takes seconds, and copied.
class PostgresTemplate : public ServerAccount {
 public:
  PostgresTemplate() : ServerAccount("postgres") {
    Process initdb =
        run({(postgres_directory() / "bin/initdb").string(), "--pgdata", (*this / "data").string(),
             "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"});
    if (initdb.wait() != 0) throw std::runtime_error{"initdb fails:\n" + read_file(log_file())};
  }
};

inline bool postgres_answers(const std::string& url) {
  try {
    const postgres::Connection connection{postgres::parse_url(url)};
    return true;
  } catch (const postgres::Failure&) {
    return false;
  }
}

/// A server with some lines of postgresql.conf, beside which all is as PostgreSQL has it by default.
class PostgresServer : public ServerAccount {
 public:
  using Lines = std::vector<std::string>;

  /// Waits until it answers.
  explicit PostgresServer(const Lines& lines = {}) : ServerAccount("postgres"), port_(free_port()) {
    static const PostgresTemplate files;
    Process copy{{"/bin/cp", "--archive", (files / "data").string(), data()}, {}};
    if (copy.wait() != 0) throw std::runtime_error{"the files of a new server can't be copied"};
    std::string text = read_file(data() + "/postgresql.conf");
    text += fmt::format("\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n", port_);
    for (const std::string& line : lines) text += line + "\n";
    write_file(data() + "/postgresql.conf", text);
    start();
  }
  ~PostgresServer() {
    if (process_.running()) process_.end(SIGQUIT);
  }
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  std::uint16_t port() const { return port_; }
  /// `query` as "schema=one&prepared=no".
  std::string url(const std::string& query = {}) const { return url_at(port_, query); }
  /// Of something before it.
  static std::string url_at(std::uint16_t port, const std::string& query = {}) {
    return fmt::format("postgres://postgres@127.0.0.1:{}/postgres{}{}", port, query.empty() ? "" : "?",
                       query);
  }
  std::string log() const { return read_file(log_file()); }

  /// SIGQUIT is what `pg_ctl stop -m immediate` sends, SIGINT is fast, SIGTERM waits for all clients. After
  /// SIGKILL the processes of its connections end by themselves, some milliseconds later.
  void stop(int signal = SIGQUIT) { process_.end(signal); }
  bool running() const { return process_.running(); }
  /// On the same port, with the same files.
  void start() {
    while (true) {
      const std::size_t before = log().size();
      process_ = run({(postgres_directory() / "bin/postgres").string(), "-D", data()});
      const bool up = eventually([this] { return postgres_answers(url()) || process_.ended(); },
                                 std::chrono::seconds{60});
      if (up && !process_.ended()) return;
      const std::string said = log().substr(before);
      process_.end(SIGQUIT);
      if (said.find("shared memory block") == std::string::npos)
        throw std::runtime_error{"PostgreSQL does not start:\n" + said};
      // Others of its processes are still there after a SIGKILL.
    }
  }
  void restart(int signal = SIGQUIT) {
    stop(signal);
    start();
  }

 private:
  std::string data() const { return (*this / "data").string(); }
  std::uint16_t port_;
  Process process_;
};

/// One for all tests of a program that don't stop it: each takes a schema of its own.
inline PostgresServer& shared_postgres() {
  static PostgresServer server;
  return server;
}

/// PgBouncer in transaction mode, with some lines of its section [pgbouncer].
class PgBouncer : public ServerAccount {
 public:
  using Lines = std::vector<std::string>;

  /// Waits until it answers. The server must outlive it.
  explicit PgBouncer(const PostgresServer& server, const Lines& lines = {})
      : ServerAccount("postgres"), port_(free_port()) {
    std::string text = fmt::format(
        "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        "listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n",
        server.port(), port_);
    for (const std::string& line : lines) text += line + "\n";
    write_file(*this / "pgbouncer.ini", text);
    process_ = run({pgbouncer_program, (*this / "pgbouncer.ini").string()});
    const bool up = eventually([this] { return postgres_answers(url()) || process_.ended(); });
    if (!up || process_.ended())
      throw std::runtime_error{"PgBouncer does not start:\n" + read_file(log_file())};
  }
  ~PgBouncer() {
    if (process_.running()) process_.end(SIGKILL);
  }
  PgBouncer(const PgBouncer&) = delete;
  PgBouncer& operator=(const PgBouncer&) = delete;

  std::uint16_t port() const { return port_; }
  std::string url(const std::string& query = {}) const { return PostgresServer::url_at(port_, query); }
  std::string log() const { return read_file(log_file()); }

 private:
  std::uint16_t port_;
  Process process_;
};

}  // namespace tidemill::testing
