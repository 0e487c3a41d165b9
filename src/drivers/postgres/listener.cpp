#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "drivers/postgres/postgres.hpp"
#include "drivers/postgres/text.hpp"

namespace tidemill::postgres {

namespace {

std::vector<Notification> take_notifications(PGconn* connection) {
  std::vector<Notification> taken;
  while (PGnotify* const one = PQnotifies(connection)) {
    taken.push_back({.channel = one->relname, .payload = one->extra});
    PQfreemem(one);
  }
  return taken;
}

}  // namespace

Listener::Listener(const Options& options, std::span<const std::string> channels, Deadline deadline)
    : connection_(options, "tidemill listener", deadline) {
  std::string script;
  for (const std::string& channel : channels) script += "LISTEN " + quoted(channel) + ";";
  connection_.give_up_at(deadline);
  connection_.execute(script);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
}

Listener::~Listener() { ::close(wake_); }

void Listener::wake() noexcept {
  const std::uint64_t one = 1;
  // It fails only when it is full, and then it wakes anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

std::vector<Notification> Listener::wait(Deadline until) {
  PGconn* const connection = connection_.handle();
  while (true) {
    if (PQconsumeInput(connection) == 0)
      throw Failure{Outcome::undone, {}, trimmed(PQerrorMessage(connection))};
    std::vector<Notification> taken = take_notifications(connection);
    if (!taken.empty()) return taken;
    std::array<pollfd, 2> entries{{{.fd = PQsocket(connection), .events = POLLIN, .revents = 0},
                                   {.fd = wake_, .events = POLLIN, .revents = 0}}};
    const int ready = ::poll(entries.data(), entries.size(), milliseconds_until(until));
    if (ready < 0 && errno != EINTR) throw std::system_error{errno, std::generic_category(), "poll"};
    if (entries[1].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t read = ::read(wake_, &count, sizeof count);
      return {};
    }
    if (ready == 0 && std::chrono::steady_clock::now() >= until) return {};
  }
}

}  // namespace tidemill::postgres
