// How a connection begins and ends.
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <system_error>
#include <thread>

#include "drivers/postgres/postgres.hpp"
#include "drivers/postgres/text.hpp"

namespace tidemill::postgres {

namespace {

using Parameter = std::pair<const char*, const char*>;

/// Ours that the user's come before. A peer that is gone is noticed within a minute.
constexpr std::array<Parameter, 4> defaults = {{{"keepalives_idle", "30"},
                                                {"keepalives_interval", "10"},
                                                {"keepalives_count", "3"},
                                                {"tcp_user_timeout", "30000"}}};

PGconn* start(const Options& options, const std::string& application_name) {
  std::vector<const char*> names;
  std::vector<const char*> values;
  const auto add = [&](const char* name, const char* value) {
    names.push_back(name);
    values.push_back(value);
  };
  const auto given = [&](std::string_view name) {
    return std::any_of(options.parameters.begin(), options.parameters.end(),
                       [&](const auto& parameter) { return parameter.first == name; });
  };
  for (const auto& [name, value] : options.parameters) {
    if (name != "client_encoding") add(name.c_str(), value.c_str());
  }
  for (const auto& [name, value] : defaults) {
    if (!given(name)) add(name, value);
  }
  if (!given("application_name")) add("application_name", application_name.c_str());
  add("client_encoding", "UTF8");
  add(nullptr, nullptr);
  return PQconnectStartParams(names.data(), values.data(), 0);
}

/// Of a message that libpq has made with all words: "FATAL:  28P01: password …". It gives the code of a
/// connection that failed in no other way.
std::string take_state(std::string& message) {
  constexpr std::size_t size = 5;
  if (const std::size_t place = message.find("\nLOCATION:"); place != std::string::npos)
    message.resize(place);
  for (std::size_t at = message.find(":  "); at != std::string::npos; at = message.find(":  ", at + 1)) {
    const std::string state = message.substr(at + 3, size);
    const bool is_state = state.size() == size && message.substr(at + 3 + size, 2) == ": " &&
                          std::all_of(state.begin(), state.end(), [](char c) {
                            return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
                          });
    if (!is_state) continue;
    message.erase(at + 3, size + 2);
    return state;
  }
  return {};
}

void drop_notice(void*, const PGresult*) {}

/// Cancels what the server is at, and closes. libpq's cancelling blocks, for ever if the server hangs, so a
/// thread does it that nobody waits for; it touches nothing but what it is given.
void cancel_and_close(PGconn* connection) noexcept {
  static std::atomic<int> under_way = 0;
  constexpr int under_way_max = 16;
  PGcancel* const cancel = under_way < under_way_max ? PQgetCancel(connection) : nullptr;
  if (cancel == nullptr) return PQfinish(connection);
  ++under_way;
  try {
    std::thread{[connection, cancel] {
      std::array<char, 256> message{};
      PQcancel(cancel, message.data(), static_cast<int>(message.size()));
      PQfreeCancel(cancel);
      PQfinish(connection);
      --under_way;
    }}.detach();
  } catch (...) {  // No thread: then it is closed only.
    --under_way;
    PQfreeCancel(cancel);
    PQfinish(connection);
  }
}

}  // namespace

Connection::Connection(const Options& options, const std::string& application_name, Deadline deadline)
    : prepares_(options.prepared), schema_(quoted(options.schema)) {
  if (options.sessions) {
    try {
      session_ = options.sessions();
      check_session();
    } catch (const sql::Session::Refusal& refusal) {
      throw Failure{Outcome::undone, refusal.state, refusal.what()};
    }
  } else {
    connect(options, application_name, deadline);
  }
}

Connection::Connection(pg_conn* borrowed, std::string schema)
    : connection_(borrowed), owns_(false), prepares_(false), schema_(quoted(schema)) {
  const auto unfit = [](const char* why) { throw Failure{Outcome::refused, {}, why}; };
  if (borrowed == nullptr || PQstatus(borrowed) != CONNECTION_OK) unfit("the connection is not open");
  if (PQtransactionStatus(borrowed) == PQTRANS_ACTIVE || PQpipelineStatus(borrowed) != PQ_PIPELINE_OFF)
    unfit("the connection is in the middle of a statement or in pipeline mode: read its results first");
  const std::string_view encoding = PQparameterStatus(borrowed, "client_encoding");
  if (encoding != "UTF8") unfit("the connection has another client_encoding than UTF8");
}

Connection::~Connection() { close(false); }

void Connection::connect(const Options& options, const std::string& application_name, Deadline deadline) {
  const Deadline end = std::min(deadline, std::chrono::steady_clock::now() + options.connect_timeout);
  connection_ = start(options, application_name);
  if (connection_ == nullptr) throw std::bad_alloc{};
  PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(connection_, &drop_notice, nullptr);
  const auto fail = [&](std::string message, bool timed_out) {
    const std::string state = take_state(message);
    close(false);
    throw Failure{Outcome::undone, state, trimmed(message), timed_out};
  };
  PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;
  if (PQstatus(connection_) == CONNECTION_BAD) wanted = PGRES_POLLING_FAILED;
  while (wanted != PGRES_POLLING_OK) {
    if (wanted == PGRES_POLLING_FAILED) fail(PQerrorMessage(connection_), false);
    pollfd entry{.fd = PQsocket(connection_), .events = 0, .revents = 0};
    entry.events = wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    ::poll(&entry, 1, milliseconds_until(end));
    if (entry.revents == 0 && std::chrono::steady_clock::now() >= end)
      fail("no connection to " + shown(options) + " in time", true);
    if (entry.revents != 0) wanted = PQconnectPoll(connection_);
  }
  PQsetErrorVerbosity(connection_, PQERRORS_DEFAULT);
  PQsetnonblocking(connection_, 1);
}

void Connection::close(bool cancel) noexcept {
  if (session_ && owns_) rollback();
  usable_ = false;
  if (!owns_ || connection_ == nullptr) return;
  PGconn* const connection = std::exchange(connection_, nullptr);
  if (cancel) {
    cancel_and_close(connection);
  } else {
    PQfinish(connection);
  }
}

int Connection::server_version() const noexcept { return session_ ? version_ : PQserverVersion(connection_); }

int Connection::backend() const noexcept { return session_ ? backend_ : PQbackendPID(connection_); }

Scissors::Scissors(const Connection& connection)
    : socket_(::fcntl(PQsocket(connection.handle()), F_DUPFD_CLOEXEC, 0)) {
  if (socket_ < 0) throw std::system_error{errno, std::generic_category(), "fcntl"};
}

Scissors::~Scissors() { ::close(socket_); }

void Scissors::cut() const noexcept { ::shutdown(socket_, SHUT_RDWR); }

}  // namespace tidemill::postgres
