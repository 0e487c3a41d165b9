#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <tidemill/persistent_queue.hpp>

#include "gateways/persistent_queue/lease_keeper.hpp"

namespace tidemill::persistent_queue {

/// The lease of a service, for all its queues in this process: each by itself would shut the others out.
///
/// Thread safety: all members may be called from any thread.
class ServiceLease {
 public:
  /// The tables must be there.
  explicit ServiceLease(const TableOptions& options);
  ~ServiceLease();
  ServiceLease(const ServiceLease&) = delete;
  ServiceLease& operator=(const ServiceLease&) = delete;

  /// From now on a queue needs it, which is told when a term begins or ends: by `told`, which must not block.
  void join(const void* who, std::function<void()> told);
  /// The queue runs no job any more. With the last of them the lease is released.
  void leave(const void* who) noexcept;

  /// A queue has work to do: from now on it is taken whenever it is free.
  void compete() { keeper_.compete(); }

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

/// Prepares the tables of all these queues, then makes their leases: one for those of one service in one
/// database, by the options of the first. In the order of the queues. Throws Error{invalid} for queues that
/// can't be beside each other, before anything is made; and what `prepare_tables` throws.
std::vector<std::shared_ptr<ServiceLease>> share_leases(std::span<const TableOptions> queues);

}  // namespace tidemill::persistent_queue
