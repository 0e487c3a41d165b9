#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <tidemill/groups.hpp>
#include <tidemill/store.hpp>

#include "stores/postgres/bell.hpp"
#include "stores/postgres/database.hpp"
#include "stores/postgres/documents.hpp"
#include "stores/postgres/fronts.hpp"
#include "stores/postgres/janitor.hpp"
#include "stores/postgres/locks.hpp"
#include "stores/postgres/postgres_store.hpp"
#include "stores/sql/hub.hpp"

namespace tidemill::postgres_store {

/// The port on PostgreSQL. Here is only how calls get to the lanes and to the readers; what they do there is
/// in the files named after the verbs.
class PostgresStore : public Store, public Catalog, public Groups {
 public:
  /// `where` names the place in messages.
  PostgresStore(postgres::Options server, std::string where, const Clock* clock);

  // Store
  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override;
  Claimed claim(const Claim& claim, const Call& call) override;
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override;
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override;
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override;
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  TimePoint now() override;
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  std::vector<Concern> concerns() override;
  Catalog* catalog() noexcept override { return this; }
  Locks* locks() noexcept override { return &locks_; }
  Documents* documents() noexcept override { return &documents_; }
  Groups* groups() noexcept override { return this; }

  // Groups
  Gathered gather(const Gather& gather, const Call& call) override;
  std::vector<Reported> settle(std::span<const Settle> ends, const Call& call) override;

  // Catalog
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
  Lane::Options lane_options(bool waits_for_keys = false) const;
  Lane::Publish publish();
  std::vector<Enqueued> enqueue_on(Lane& lane, std::span<const Task> tasks, const Call& call);
  std::int64_t identity(const Call& call);
  /// Of tasks of which some have keys that others' transactions may hold.
  std::vector<Enqueued> enqueue_keyed(std::span<const Task> tasks, const Call& call);

  const postgres::Options server_;
  const std::string where_;
  const Clock* const clock_;  // Null: the server's.
  Capabilities capabilities_;
  std::atomic<std::int64_t> identity_{0};  // Once it was needed.
  Naming naming_;
  Hub hub_;
  Janitor janitor_;
  Bell bell_;
  // Each is a connection, made with its first call: a renewal must not wait behind a bulk, nor a claim behind
  // reports.
  Lane puts_, more_puts_, keyed_, claims_, reports_, renewals_, rest_;
  Fronts fronts_;
  Readers readers_;
  PostgresLocks locks_{rest_, renewals_, readers_};
  PostgresDocuments documents_{rest_, readers_};
};

}  // namespace tidemill::postgres_store
