#include "drivers/redis/socket.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <future>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t tls_record = std::size_t{16} << 10U;

[[noreturn]] void fail(int error) { throw Failure{std::generic_category().message(error)}; }

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

/// False at the deadline.
bool wait_for(int fd, short events, Deadline deadline) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  while (true) {
    const int count = ::poll(&entry, 1, milliseconds_until(deadline));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) fail(errno);
    if (Clock::now() >= deadline) return false;
  }
}

/// Where to connect.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;
};

struct Found {
  std::vector<Endpoint> endpoints = {};
  int error = 0;
};

Found look_up(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  Found found;
  found.error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (found.error != 0) return found;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    Endpoint& endpoint = found.endpoints.emplace_back();
    std::memcpy(&endpoint.address, at->ai_addr, at->ai_addrlen);
    endpoint.size = at->ai_addrlen;
  }
  ::freeaddrinfo(list);
  return found;
}

/// A name is looked up in a thread of its own, which may stay behind: the system's call knows no deadline.
Found look_up(const Address& address, Deadline deadline) {
  Found found = look_up(address.host, address.port, AI_NUMERICHOST);
  if (found.error != EAI_NONAME) return found;
  std::promise<Found> promise;
  std::future<Found> future = promise.get_future();
  std::thread{[address, promise = std::move(promise)]() mutable {
    promise.set_value(look_up(address.host, address.port, 0));
  }}.detach();
  if (future.wait_until(deadline) != std::future_status::ready)
    throw Failure{"the look-up of the host's name took too long"};
  return future.get();
}

Endpoint unix_endpoint(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) throw Failure{"the path is too long for a unix socket"};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  Endpoint endpoint;
  std::memcpy(&endpoint.address, &address, sizeof address);
  endpoint.size = sizeof address;
  return endpoint;
}

/// Finds out by itself when the other machine is gone.
void keep_alive(int fd) {
  const auto set = [fd](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Fd connect_to(const Endpoint& endpoint, Deadline deadline) {
  const int family = endpoint.address.ss_family;
  Fd fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (fd.get() < 0) fail(errno);
  if (family != AF_UNIX) keep_alive(fd.get());
  const auto* const address = reinterpret_cast<const sockaddr*>(&endpoint.address);
  if (::connect(fd.get(), address, endpoint.size) == 0) return fd;
  if (errno != EINPROGRESS) fail(errno);
  if (!wait_for(fd.get(), POLLOUT, deadline)) fail(ETIMEDOUT);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) fail(error);
  return fd;
}

Fd connect_to(const Address& address, Deadline deadline) {
  if (address.port == 0) return connect_to(unix_endpoint(address.host), deadline);
  const Found found = look_up(address, deadline);
  if (found.error != 0) throw Failure{::gai_strerror(found.error)};
  std::string reason = "the name has no address";
  for (std::size_t i = 0; i < found.endpoints.size(); ++i) {
    const auto now = Clock::now();
    const auto share = (deadline - now) / static_cast<std::ptrdiff_t>(found.endpoints.size() - i);
    try {
      return connect_to(found.endpoints[i], now + share);
    } catch (const Failure& failure) {
      reason = failure.what();
    }
  }
  throw Failure{reason};
}

}  // namespace

std::string shown(const Address& address) {
  if (address.port == 0) return address.host;
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port)
            : fmt::format("{}:{}", address.host, address.port);
}

int milliseconds_until(Deadline deadline) noexcept {
  const auto now = Clock::now();
  if (deadline <= now) return 0;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<int>(std::min<decltype(left)>(left, INT_MAX));
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Socket::Socket(const Address& address, const TlsContext* tls, Deadline deadline)
    : fd_(connect_to(address, deadline)) {
  if (tls == nullptr) return;
  tls_ = std::make_unique<TlsStream>(*tls, fd_.get(), address.host);
  while (!tls_->shake_hands()) {
    if (!wait_for(fd_.get(), tls_->reading_needs(), deadline))
      throw Failure{"TLS: the server does not answer"};
  }
}

std::size_t Socket::read(std::span<char> into) {
  if (tls_) return tls_->read(into);
  const ssize_t count = ::recv(fd_.get(), into.data(), into.size(), 0);
  if (count > 0) return static_cast<std::size_t>(count);
  if (count == 0) throw Failure{"the server has closed the connection"};
  if (!would_block()) fail(errno);
  return 0;
}

std::size_t Socket::write(std::span<const iovec> pieces) {
  if (tls_) {
    // One record of many small pieces. When it has to wait, the next call begins with the same bytes.
    std::array<char, tls_record> record;
    std::size_t size = 0;
    for (const iovec& piece : pieces) {
      const std::size_t part = std::min(piece.iov_len, record.size() - size);
      std::memcpy(record.data() + size, piece.iov_base, part);
      size += part;
      if (size == record.size()) break;
    }
    return tls_->write({record.data(), size});
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  const ssize_t count = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (!would_block()) fail(errno);
  return 0;
}

short Socket::events(bool writes) const noexcept {
  const short reading = tls_ ? tls_->reading_needs() : short{POLLIN};
  if (!writes) return reading;
  return static_cast<short>(reading | (tls_ ? tls_->writing_needs() : short{POLLOUT}));
}

bool Socket::quiet() const noexcept {
  char byte = 0;
  return ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && would_block();
}

}  // namespace tidemill::redis
