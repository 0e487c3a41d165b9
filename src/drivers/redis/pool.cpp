#include "drivers/redis/pool.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace tidemill::redis {

Pool::Pool(Address address, Login login, const TlsContext* tls, std::chrono::milliseconds connect_timeout)
    : address_(std::move(address)), login_(std::move(login)), tls_(tls), connect_timeout_(connect_timeout) {
  idle_.reserve(idle_max);
}

std::unique_ptr<Connection> Pool::take_idle() {
  while (true) {
    std::unique_ptr<Connection> connection;
    {
      const std::lock_guard lock{mutex_};
      if (idle_.empty()) return {};
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    if (connection->idle()) return connection;
  }
}

/// After trouble, one at a time looks whether the server is back.
void Pool::check_turn() {
  const std::lock_guard lock{mutex_};
  if (!backoff_.ready()) throw Failure{reason_};
  if (backoff_.failures() > 0) backoff_.failed();
}

std::unique_ptr<Connection> Pool::take(Deadline deadline) {
  if (auto connection = take_idle()) return connection;
  check_turn();
  const auto now = std::chrono::steady_clock::now();
  try {
    return std::make_unique<Connection>(address_, login_, tls_, std::min(deadline, now + connect_timeout_));
  } catch (const Refused&) {
    throw;
  } catch (const std::exception& failure) {
    const std::string reason = fmt::format("{}: {}", shown(address_), failure.what());
    trouble(reason);
    throw Failure{reason};
  }
}

void Pool::put(std::unique_ptr<Connection> connection) noexcept {
  const std::lock_guard lock{mutex_};
  backoff_.reset();
  if (idle_.size() < idle_max) idle_.push_back(std::move(connection));
}

void Pool::trouble(const std::string& reason) {
  std::vector<std::unique_ptr<Connection>> dropped;
  const std::lock_guard lock{mutex_};
  dropped.swap(idle_);
  idle_.reserve(idle_max);
  reason_ = reason;
  backoff_.failed();
}

Deadline Pool::ready_at() const {
  const std::lock_guard lock{mutex_};
  return backoff_.ready_at();
}

}  // namespace tidemill::redis
