#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "drivers/redis/backoff.hpp"
#include "drivers/redis/connection.hpp"
#include "drivers/redis/options.hpp"
#include "drivers/redis/pool.hpp"
#include "drivers/redis/tls.hpp"

namespace tidemill::redis {

/// Which server has what, as it was when somebody asked. Never changes.
struct Layout {
  static constexpr std::uint16_t nobody = 0xffff;

  std::vector<Address> masters = {};
  /// Of a cluster: for each slot an index in `masters`; else empty.
  std::vector<std::uint16_t> owners = {};

  bool operator==(const Layout&) const = default;
  /// The master of a slot; none when nobody has it. For `Wire::any_slot` one of them, another for each
  /// `turn`.
  const Address* master_of(int slot, std::size_t turn) const noexcept;
  /// For each master a slot of its own; `Wire::any_slot` when there are no slots.
  std::vector<int> slot_of_each() const;
};

/// The servers of a client, how to find them, and the connections to them.
///
/// Thread safety: all members may be called from any thread.
class Servers {
 public:
  /// Throws Failure when a file of TLS can't be read.
  explicit Servers(Options options);

  const Options& options() const noexcept { return options_; }

  /// Asks Sentinel or the cluster when nobody has done so yet, or after doubt, but not at once again: then
  /// `ready_at` says when. Asks Sentinel each second in any case. Throws Refused or Failure when nothing is
  /// known.
  std::shared_ptr<const Layout> layout(Deadline deadline);
  /// Without asking; null when nobody has done so yet.
  std::shared_ptr<const Layout> known() const;
  /// This layout has led to the wrong server, or to none.
  void doubt(const std::shared_ptr<const Layout>& layout);
  Deadline ready_at() const;
  /// For `Layout::master_of`, of commands that any server can answer: the same until its server is in
  /// trouble.
  std::size_t turn() const noexcept { return any_turn_; }
  void leave_turn(std::size_t turn) noexcept { any_turn_.compare_exchange_strong(turn, turn + 1); }

  /// What was written last on this master is on none of its replicas. True when it counts all the same: it
  /// has been so for some seconds, longer than a replica takes to be known as the new master, and most of
  /// those that know say that this one is the master still.
  bool counts_alone(const Address& address, Deadline deadline);
  /// Whether that has been so for long enough.
  bool is_alone(const Address& address) const;
  /// A replica has it.
  void in_company(const Address& address);

  std::shared_ptr<Pool> pool(const Address& address);
  /// A connection that belongs to no pool, and speaks RESP3. Throws Refused or Failure.
  std::unique_ptr<Connection> connect(const Address& address, Deadline deadline);

 private:
  /// Since when no replica has had what was written, and when that was seen last.
  struct Alone {
    Deadline since{}, seen{};
  };

  std::shared_ptr<const Layout> ask(Deadline deadline);
  /// One of those that know; none: this one doesn't, for the reason.
  std::optional<Layout> ask_one(const Address& address, Deadline deadline, std::string& reason);
  std::vector<Address> who_know() const;
  bool is_master_still(const Address& address, Deadline deadline);
  void drop_pools_beyond(const Layout& layout);
  const TlsContext* tls() const noexcept { return tls_ ? &*tls_ : nullptr; }

  const Options options_;
  std::optional<TlsContext> tls_;
  Login login_;

  mutable std::mutex mutex_;
  std::condition_variable asked_;
  std::map<Address, std::shared_ptr<Pool>> pools_;
  std::shared_ptr<const Layout> layout_;
  bool doubted_ = false;
  Deadline look_at_ = Deadline::max();  ///< When to ask in any case.
  bool asking_ = false;
  Backoff backoff_;
  std::size_t turn_ = 0;  ///< Whom to ask first.
  std::string reason_;
  std::map<Address, Alone> alone_;
  std::atomic<std::size_t> any_turn_{0};
};

}  // namespace tidemill::redis
