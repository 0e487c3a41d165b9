// How a connection begins and ends.
#include <errmsg.h>
#include <fcntl.h>
#include <mysql.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "drivers/mysql/text.hpp"

namespace tidemill::mysql {

namespace {

/// For the calls that are gone on with: they run on a stack of their own, where names of hosts are resolved.
constexpr std::size_t stack_bytes = std::size_t{256} << 10U;

constexpr Sql read_server{"SELECT @@max_allowed_packet, CONCAT(@@hostname, ':', @@port)"};
constexpr Sql read_borrowed{
    "SELECT @@max_allowed_packet, @@character_set_client, COALESCE(@@character_set_results, 'binary')"};

void set(MYSQL* connection, mysql_option option, const std::string& file) {
  if (!file.empty()) mysql_options(connection, option, file.c_str());
}

void set_options(MYSQL* connection, const Options& options, const std::string& application_name,
                 Deadline deadline) {
  mysql_options(connection, MYSQL_OPT_NONBLOCK, &stack_bytes);
  mysql_options(connection, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  // A server must not ask for files of this machine.
  const unsigned int no_files = 0;
  mysql_options(connection, MYSQL_OPT_LOCAL_INFILE, &no_files);
  // For the library "localhost" would be a socket.
  const unsigned int protocol = options.socket.empty() ? MYSQL_PROTOCOL_TCP : MYSQL_PROTOCOL_SOCKET;
  mysql_options(connection, MYSQL_OPT_PROTOCOL, &protocol);
  // For the beginning of TLS, where the library does wait; all else waits until the deadline itself.
  const auto left = std::chrono::ceil<std::chrono::seconds>(deadline - std::chrono::steady_clock::now());
  const auto seconds = static_cast<unsigned int>(std::max<std::int64_t>(left.count(), 1));
  mysql_options(connection, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
  mysql_options4(connection, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", application_name.c_str());
  if (options.tls == Tls::none) return;
  const my_bool yes = 1;
  const my_bool verify = options.tls == Tls::verify ? 1 : 0;
  mysql_options(connection, MYSQL_OPT_SSL_ENFORCE, &yes);
  mysql_options(connection, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
  set(connection, MYSQL_OPT_SSL_CA, options.tls_ca);
  set(connection, MYSQL_OPT_SSL_CERT, options.tls_certificate);
  set(connection, MYSQL_OPT_SSL_KEY, options.tls_key);
}

}  // namespace

Connection::Connection(const Options& options, const std::string& application_name, Deadline deadline)
    : options_(options), main_(options.prefix) {
  if (options.sessions) {
    try {
      session_ = options.sessions();
      check_session();
      for (const std::string& text : sql::statements_of(session_settings)) session_->execute(text);
    } catch (const sql::Session::Refusal& refusal) {
      throw Failure{Outcome::undone, static_cast<unsigned>(refusal.number), refusal.state, refusal.what()};
    }
    return;
  }
  deadline_ = std::min(deadline, std::chrono::steady_clock::now() + options.connect_timeout);
  try {
    connect(application_name);
    set_up();
  } catch (...) {
    close(false);
    throw;
  }
  deadline_ = Deadline::max();
}

Connection::Connection(st_mysql* borrowed, std::string_view prefix, std::string_view database)
    : connection_(borrowed), owns_(false) {
  if (!database.empty()) main_ = sql::quoted(database, '`') + ".";
  main_ += prefix;
  const auto unfit = [](const std::string& why) { throw Failure{Outcome::refused, 0, {}, why}; };
  if (borrowed == nullptr || mysql_get_socket(borrowed) == MARIADB_INVALID_SOCKET)
    unfit("the connection is not open");
  if (borrowed->status != MYSQL_STATUS_READY || mysql_more_results(borrowed) != 0)
    unfit("the connection is in the middle of a statement: read its results first");
  mariadb_ = mariadb_connection(borrowed) != 0;
  together_ = (borrowed->client_flag & CLIENT_MULTI_STATEMENTS) != 0;
  Query row = query(read_borrowed);
  row.step();
  text_bytes_max_ = static_cast<std::size_t>(row.integer(0));
  for (const int column : {1, 2}) {
    const std::string_view charset = row.bytes(column);
    if (charset != "utf8mb4" && charset != "binary")
      unfit("the connection has the character set " + std::string{charset} +
            "; right is utf8mb4, as by mysql_set_character_set(connection, \"utf8mb4\")");
  }
}

Connection::~Connection() { close(false); }

void Connection::connect(const std::string& application_name) {
  static const int library = mysql_library_init(0, nullptr, nullptr);
  connection_ = library == 0 ? mysql_init(nullptr) : nullptr;
  if (connection_ == nullptr) throw std::bad_alloc{};
  set_options(connection_, options_, application_name, deadline_);
  const auto text_or_null = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
  MYSQL* connected = nullptr;
  wait(
      [&] {
        return mysql_real_connect_start(&connected, connection_, options_.host.c_str(), options_.user.c_str(),
                                        options_.password.c_str(), text_or_null(options_.database),
                                        options_.port, text_or_null(options_.socket),
                                        CLIENT_MULTI_STATEMENTS | CLIENT_FOUND_ROWS);
      },
      [&](int ready) { return mysql_real_connect_cont(&connected, connection_, ready); });
  if (connected == nullptr) {
    const bool late = gave_up_ || std::chrono::steady_clock::now() >= deadline_;
    if (late) throw Failure{Outcome::undone, 0, {}, "no connection to " + shown(options_) + " in time", true};
    const unsigned number = mysql_errno(connection_);
    throw Failure{Outcome::undone, number, is_of_library(number) ? "" : mysql_sqlstate(connection_),
                  mysql_error(connection_)};
  }
  // The library goes on without TLS.
  if (options_.tls != Tls::none && mysql_get_ssl_cipher(connection_) == nullptr)
    throw Failure{Outcome::undone, CR_SSL_CONNECTION_ERROR, {}, "the server does not speak TLS (SSL)"};
  // With TLS it counts on that, and else waits in the middle of a read.
  const int socket = mysql_get_socket(connection_);
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
}

void Connection::set_up() {
  mariadb_ = mariadb_connection(connection_) != 0;
  try {
    execute(fmt::format("SET NAMES utf8mb4;{}", session_settings));
    Query row = query(read_server);
    row.step();
    text_bytes_max_ = static_cast<std::size_t>(row.integer(0));
    server_ = row.bytes(1);
  } catch (const Failure& failure) {
    throw Failure{Outcome::undone, failure.number(), failure.state(), failure.what(), failure.timed_out()};
  }
}

/// At the deadline it ends the connection, so that the library comes back from what it has begun, and nothing
/// is left to wait for when it is closed.
int Connection::until_ready(int wanted) {
  while (true) {
    pollfd entry{.fd = mysql_get_socket(connection_), .events = 0, .revents = 0};
    if ((wanted & MYSQL_WAIT_READ) != 0) entry.events |= POLLIN;
    if ((wanted & MYSQL_WAIT_WRITE) != 0) entry.events |= POLLOUT;
    if ((wanted & MYSQL_WAIT_EXCEPT) != 0) entry.events |= POLLPRI;
    if (::poll(&entry, 1, milliseconds_until(deadline_)) > 0)
      return wanted & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE | MYSQL_WAIT_EXCEPT);
    if (std::chrono::steady_clock::now() < deadline_) continue;
    gave_up_ = true;
    ::shutdown(entry.fd, SHUT_RDWR);
    return MYSQL_WAIT_TIMEOUT;
  }
}

void Connection::close(bool kill) noexcept {
  if (session_ && owns_ && open_) rollback();
  usable_ = false;
  if (!owns_ || connection_ == nullptr) return;
  if (kill) kill_from_aside();
  mysql_close(std::exchange(connection_, nullptr));
}

/// A server goes on with a statement although nobody waits for its answer, and holds locks for it. It is told
/// by another connection, in a thread that nobody waits for and that touches nothing but what it is given.
void Connection::kill_from_aside() noexcept {
  static std::atomic<int> under_way = 0;
  constexpr int under_way_max = 16;
  if (!kills_ || server_.empty() || under_way >= under_way_max) return;
  ++under_way;
  try {
    std::thread{[options = options_, server = server_, id = id()] {
      try {
        Connection aside{options};
        aside.kills_ = false;
        aside.give_up_at(std::chrono::steady_clock::now() + options.connect_timeout);
        // Behind a balancer the number may be another's, on another server.
        if (aside.server_ == server) aside.execute(fmt::format("KILL {}", id));
      } catch (const std::exception&) {  // Then it is closed only.
      }
      --under_way;
    }}.detach();
  } catch (const std::exception&) {  // No thread.
    --under_way;
  }
}

unsigned long Connection::server_version() const noexcept {
  return session_ ? version_ : mysql_get_server_version(connection_);
}

unsigned long Connection::id() const noexcept { return session_ ? id_ : mysql_thread_id(connection_); }

void close_borrowed(st_mysql* connection) noexcept { mysql_close(connection); }

}  // namespace tidemill::mysql
