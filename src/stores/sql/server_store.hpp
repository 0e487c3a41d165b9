#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tidemill/groups.hpp>
#include <tidemill/store.hpp>

#include "stores/sql/documents.hpp"
#include "stores/sql/hub.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/locks.hpp"
#include "stores/sql/naming.hpp"
#include "stores/sql/readers.hpp"

namespace tidemill::sql_store {

/// The port on a database of a server. Here is only how calls get to the lanes and to the readers; what they
/// do there is in the files named after the verbs, of this folder or the database's own.
template <class Database>
class ServerStore : public Store, public Catalog, public Groups {
 public:
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

 protected:
  using Options = typename Database::Options;
  using Lane = sql_store::Lane<Database>;
  using Naming = sql_store::Naming<Database>;
  using Readers = sql_store::Readers<Database>;
  using Scope = sql_store::Scope<Database>;
  using Write = sql_store::Write<Database>;
  using ClaimAnswer = typename Database::ClaimAnswer;

  /// `where` names the place in messages; `clock` may be null: then it is the server's that counts.
  ServerStore(Options server, std::string where, std::size_t task_bytes_max, const Clock* clock);

  /// What was committed, and how many rows of tasks died by that.
  virtual void publish(News news, std::int64_t died) = 0;
  /// As Hub::Look.
  virtual std::chrono::microseconds look() = 0;
  virtual bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) = 0;
  virtual ClaimAnswer claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now) = 0;

  /// Made with the tables: wherever it is read, there they are.
  std::int64_t identity(const Call& call);

  const Options server_;
  const std::string where_;
  const Clock* const clock_;  // Null: the server's.
  const Capabilities capabilities_;
  Naming naming_;
  Hub hub_;

 private:
  typename Lane::Options lane_options(bool waits_for_keys = false) const;
  typename Lane::Publish publisher();
  std::vector<Enqueued> enqueue_on(Lane& lane, std::span<const Task> tasks, const Call& call);
  /// Of tasks of which some have keys that others' transactions may hold.
  std::vector<Enqueued> enqueue_keyed(std::span<const Task> tasks, const Call& call);

  /// Counters that are written beside each other, so that their writers don't wait for each other.
  static constexpr std::uint64_t counter_lanes = 64;
  /// How long a claim waits for the locks of others, from the first try to the last.
  static constexpr std::chrono::microseconds locked_least{500}, locked_most{16'000};
  /// A worker that has been silent for longer is taken for dead.
  static constexpr std::chrono::minutes worker_alive{1};

  std::atomic<std::int64_t> identity_{0};  // Once it was needed.
  // Each is a connection, made with its first call: a renewal must not wait behind a bulk, nor a claim behind
  // reports.
  Lane puts_, more_puts_, keyed_, claims_, reports_, renewals_, rest_;

 protected:
  Readers readers_;

 private:
  SqlLocks<Database> locks_{rest_, renewals_, readers_};
  SqlDocuments<Database> documents_{rest_, readers_};
};

}  // namespace tidemill::sql_store
