#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "drivers/redis/backoff.hpp"
#include "drivers/redis/connection.hpp"

namespace tidemill::redis {

/// The connections to one server.
///
/// Thread safety: all members may be called from any thread.
class Pool {
 public:
  static constexpr std::size_t idle_max = 8;

  /// The context must outlive this.
  Pool(Address address, Login login, const TlsContext* tls, std::chrono::milliseconds connect_timeout);

  /// The connection that was used last, or a new one. Throws Refused, or Failure: then, `ready_at` says when
  /// it is worth another try. Before that no connection is tried, and the reason is the last one.
  std::unique_ptr<Connection> take(Deadline deadline);
  /// All that was sent on it has been answered.
  void put(std::unique_ptr<Connection> connection) noexcept;
  /// A connection broke, or the server is not what it was: none of the others is to be trusted.
  void trouble(const std::string& reason);
  Deadline ready_at() const;

 private:
  std::unique_ptr<Connection> take_idle();
  void check_turn();

  const Address address_;
  const Login login_;
  const TlsContext* const tls_;
  const std::chrono::milliseconds connect_timeout_;

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
  Backoff backoff_;
  std::string reason_;
};

}  // namespace tidemill::redis
