#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/persistent_queue.hpp>
#include <tidemill/store.hpp>

#include "gateways/persistent_queue/catalog.hpp"
#include "gateways/persistent_queue/jobs.hpp"
#include "gateways/persistent_queue/line.hpp"
#include "gateways/persistent_queue/service_lease.hpp"

namespace tidemill::persistent_queue {

/// One queue of `async_job_tab`, behind the port. Rows are loaded by status, never by a cursor; each is
/// looked at once more when it is claimed.
class TablesStore final : public Store {
 public:
  /// The tables must have been prepared, and the lease be that of the options' service.
  TablesStore(TableOptions options, std::shared_ptr<ServiceLease> lease);
  ~TablesStore() override;

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
  Catalog* catalog() noexcept override { return &catalog_; }

  // ---- For the handlers of this gateway

  bool leads() const { return keeper().term().has_value(); }
  /// Between the two the job is not claimed again here, though its lease may be lost meanwhile.
  void entered(std::uint64_t id);
  void left(std::uint64_t id);
  /// Writes what the engine drops, as its lease was in doubt: if the row is still this run's.
  void end_late(std::uint64_t id, bool success, const std::string& error);
  /// No job runs here any more: the lease may be released, if no other queue needs it.
  void leave() noexcept { lease_->leave(this); }

 private:
  const LeaseKeeper& keeper() const noexcept { return lease_->keeper(); }
  void begin_epoch(const LeaseKeeper::Term& term);
  std::uint64_t held_up_to() const;
  void look(std::size_t wanted);
  void load();
  std::vector<Lease> take(const LeaseKeeper::Term& term, const Claim& claim, std::size_t count);
  std::vector<std::optional<Jobs::Ended>> write_each(std::span<const Report> reports,
                                                     const std::function<Jobs::Ended(const Report&)>& write);
  Reported landed(const Report& report, Jobs::Ended ended);
  std::int64_t estimate() const;
  Claimant claimant(std::uint64_t epoch) const { return {lease_->owner(), epoch}; }
  void warn_of_nulls(const std::vector<Waiting>& rows);
  bool tell(std::uint64_t id, Signal signal);

  const TableOptions options_;
  const std::string queue_;
  const WorkerLease worker_lease_;
  const Capabilities capabilities_;
  const bool indexed_;
  Jobs jobs_;
  JobCatalog catalog_;

  std::mutex looking_;  ///< One claim or sweep at a time asks the database.
  mutable std::mutex mutex_;
  std::condition_variable bell_;
  // Guarded by mutex_:
  Line line_;
  bool rung_ = false;
  bool signalled_ = false;
  bool changed_ = false;     ///< Rows were changed by an operator.
  std::uint64_t epoch_ = 0;  ///< Of the term that `line_` is of.
  Horizon horizon_;
  std::uint64_t held_up_to_ = 0;  ///< The greatest id at the take-over; those up to it wait for the grace.
  Steady held_until_{};
  std::int64_t clock_offset_ = 0;  ///< The database's time less the steady clock's, in microseconds.
  bool warned_of_nulls_ = false;
  // Guarded by looking_:
  Jobs::Look first_look_;
  std::uint64_t id_max_ = 0;
  bool complete_ = false;  ///< The last load found all that there was.
  Steady next_look_{};
  Steady next_load_{};
  Duration load_pause_{};
  Steady next_clean_{};
  Steady next_reap_{};

  const std::shared_ptr<ServiceLease> lease_;
};

}  // namespace tidemill::persistent_queue
