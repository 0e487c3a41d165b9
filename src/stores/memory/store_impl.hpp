#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include <tidemill/groups.hpp>
#include <tidemill/store.hpp>

#include "stores/memory/documents.hpp"
#include "stores/memory/locks.hpp"
#include "stores/memory/memory_store.hpp"
#include "stores/memory/rows.hpp"

namespace tidemill::memory {

/// Not to be guessed and never the same, also not for the same task.
std::string make_token();

/// A worker as it waits and beats.
struct Member {
  std::optional<WorkerInfo> info = {};  ///< None until it has beaten.
  Signal signal = Signal::none;
  TimePoint called_at{};           ///< Its last claim or renew.
  std::uint64_t seen = 0;          ///< The last change that it knew of when its last claim or wait returned.
  std::uint64_t signals = 0;       ///< How many there have been for it and its leases …
  std::uint64_t signals_seen = 0;  ///< … and when a wait told of them: a renew may leave some leases out.
};

/// A set that a worker has gathered.
struct LeasedSet {
  std::string queue = {}, group = {};
  TimePoint lease_end{};
};

/// The verbs are in memory_store.cpp, how tasks come in in enqueue.cpp, how attempts end in report.cpp,
/// groups in groups.cpp, the catalogue in catalog.cpp, edits and moves in edit.cpp.
class MemoryStore final : public Store, public Catalog, public Groups {
 public:
  explicit MemoryStore(const MemoryOptions& options);

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override;
  Claimed claim(const Claim& claim, const Call& call) override;
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override;
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override;
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override;
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  TimePoint now() override { return clock_.now(); }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Catalog* catalog() noexcept override { return this; }
  Locks* locks() noexcept override { return &locks_; }
  Documents* documents() noexcept override { return &documents_; }
  Groups* groups() noexcept override { return this; }

  Gathered gather(const Gather& gather, const Call& call) override;
  std::vector<Reported> settle(std::span<const Settle> ends, const Call& call) override;

  Page find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
            const Call& call) override;
  std::vector<std::optional<Task>> get(std::span<const Ref> refs, const Call& call) override;
  std::vector<Attempt> attempts(const Ref& ref, const Call& call) override;
  std::vector<Changed> change(std::span<const Ref> refs, const Change& change, const Call& call) override;
  Changed edit(const Edit& edit, const Call& call) override;
  std::vector<Changed> move(std::span<const Ref> refs, States from, std::string_view queue,
                            const Call& call) override;
  std::vector<QueueInfo> queues(const Call& call) override;
  void pause(std::string_view queue, bool paused, const Call& call) override;
  Changed erase_queue(std::string_view queue, const Call& call) override;
  std::vector<GroupInfo> groups(std::string_view queue, std::string_view after, std::size_t limit,
                                const Call& call) override;
  std::vector<WorkerInfo> workers(const Call& call) override;
  bool signal(std::string_view worker, Signal signal, const Call& call) override;
  std::vector<StoredSchedule> schedules(std::optional<TimePoint> due_by, const Call& call) override;
  std::vector<bool> put_schedules(std::span<const PutSchedule> puts, const Call& call) override;
  std::size_t erase_schedules(std::span<const std::string> ids, const Call& call) override;
  std::vector<Stat> stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                          const Call& call) override;

 private:
  using StatName = std::tuple<Span, TimePoint, std::string, std::string>;

  // All of these want the mutex held.
  Enqueued put(const Task& task, TimePoint now);
  Enqueued put_task(const Task& task, TimePoint now);
  std::optional<Enqueued> put_over_key(const Task& task, TimePoint now);
  bool fires(const Firing& firing) const;
  void create(const Task& task, TimePoint now);
  void promote(std::span<Row* const> due);
  Lease lease(Row& row, std::string_view worker, Duration length, TimePoint now);
  Reported end_attempt(const Report& report, TimePoint now);
  void enter_state(Row& row, const Report& report, TimePoint now);
  TaskSet lease_set(std::span<Row* const> rows, const Gather& gather, TimePoint now);
  Reported settle_one(const Settle& end, TimePoint now);
  void regroup(std::span<Row* const> rows);
  void regroup_lapsed(TimePoint now);
  Signal beat(const Beat& beat, Duration lease, TimePoint now);
  void add(const Stat& stat);
  void purge_history(TimePoint now);
  Wake look(const Member& member, std::span<const std::string_view> queues) const;
  Changed change_one(const Ref& ref, const Change& change, TimePoint now);
  Changed edit_one(const Edit& edit, TimePoint now);
  Changed move_one(const Ref& ref, States from, const std::string& queue, TimePoint now);
  Task shown(const Row& row, TimePoint now) const;

  const Clock& clock_;
  Capabilities capabilities_;
  MemoryLocks locks_;
  MemoryDocuments documents_;

  std::mutex mutex_;  ///< Guards all that follows.
  std::condition_variable_any changed_;
  Rows rows_;
  std::map<std::string, Member, std::less<>> members_;
  std::map<std::string, StoredSchedule, std::less<>> schedules_;
  std::map<StatName, Stat> stats_;
  std::map<std::string, LeasedSet> sets_;  ///< By token.
};

}  // namespace tidemill::memory
