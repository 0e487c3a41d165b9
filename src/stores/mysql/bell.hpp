#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "stores/mysql/database.hpp"
#include "stores/mysql/layout.hpp"
#include "stores/sql/hub.hpp"

namespace tidemill::mysql_store {

using sql_store::Hub;
using sql_store::News;

/// Looks for what other processes have done, as no server of this kind tells anybody of it. What makes it
/// cheap is there anyhow: each transaction of ours moves on the number of its session, and those of others
/// append to a table. So a look reads some numbers; only if one of them has moved it goes on to the queues.
///
/// Thread safety: all members may be called from any thread.
class Bell {
 public:
  /// Both must outlive it. Nothing is begun before it is needed.
  Bell(mysql::Options server, Naming& naming, Hub& hub)
      : server_(std::move(server)), naming_(naming), hub_(hub) {}

  /// Something happens: the next looks come soon one after the other.
  void stir() noexcept { pause_ = 0; }
  /// Looks for tasks and signals, wakes those who wait for such, and returns when to look again. Doesn't
  /// throw.
  std::chrono::microseconds look();

 private:
  /// What moves with every commit.
  struct Marks {
    std::int64_t sessions = 0, deltas = 0, signals = 0;
    bool operator==(const Marks&) const = default;
  };

  void look_around();
  void look_at_queues();

  const mysql::Options server_;
  Naming& naming_;
  Hub& hub_;
  std::atomic<std::int64_t> pause_{0};  // Between looks, in microseconds.
  std::mutex looks_;
  std::unique_ptr<mysql::Connection> looker_;  // Guarded by looks_.
  std::optional<Marks> seen_;                  // Guarded by looks_.
};

}  // namespace tidemill::mysql_store
