#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <string>

#include <tidemill/persistent_queue.hpp>

#include "gateways/persistent_queue/lease_keeper.hpp"

namespace tidemill::persistent_queue {

/// The lease of a service, for all its queues in this process: each by itself would shut the others out.
///
/// Thread safety: all members may be called from any thread.
class ServiceLease {
 public:
  /// Begins to compete. The tables must be there.
  explicit ServiceLease(const TableOptions& options);
  ~ServiceLease();
  ServiceLease(const ServiceLease&) = delete;
  ServiceLease& operator=(const ServiceLease&) = delete;

  /// From now on a queue needs it, which is told when a term begins or ends: by `told`, which must not block.
  void join(const void* who, std::function<void()> told);
  /// The queue runs no job any more. With the last of them the lease is released.
  void leave(const void* who) noexcept;

  const LeaseKeeper& keeper() const noexcept { return keeper_; }
  const std::string& owner() const noexcept { return keeper_.row().owner(); }

 private:
  struct Member {
    const void* who = nullptr;
    std::function<void()> told = {};
  };
  LeaseKeeper::Term begin(const std::optional<LeaseRow::State>& before);
  void tell();
  void release() noexcept;

  const Log log_;
  std::mutex mutex_;
  std::list<Member> members_;  // Guarded by mutex_.
  LeaseKeeper keeper_;         // Last: its thread calls back.
};

}  // namespace tidemill::persistent_queue
