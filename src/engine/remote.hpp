#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <tidemill/handler.hpp>
#include <tidemill/log.hpp>
#include <tidemill/retry.hpp>
#include <tidemill/store.hpp>

#include "engine/store_clock.hpp"
#include "engine/worker_stats.hpp"

/// Claim, renew and report for workers that are not of this process. What an attempt needs to be ended is in
/// its token and in the store, so a lease outlives the process that gave it out.
namespace tidemill::engine {

struct RemoteWorker {
  std::string id = {};
  std::string host = {};
  std::int32_t slots = 0;
  std::vector<std::pair<std::string, std::int32_t>> queues = {};  ///< With their weights.
  bool strict = false;                                            ///< In the order given.
};

struct RemoteLease {
  std::string token = {};  ///< Names the lease in all later calls.
  TimePoint until{};       ///< By the store's time.
  Task task = {};
};

struct RemoteClaimed {
  std::vector<RemoteLease> leases = {};
  TimePoint now{};
  std::optional<TimePoint> next_due = {};
};

struct RemoteBeat {
  std::string token = {};
  std::optional<std::string> progress = {};
  std::vector<LogLine> logs = {};
};

enum class RemoteSignal : std::uint8_t { none, cancel, hold, stop, lost };
std::string_view to_string(RemoteSignal signal) noexcept;

struct RemoteRenewed {
  Signal worker = Signal::none;
  std::vector<RemoteSignal> leases = {};  ///< One a beat. stop: the task's time is over.
  TimePoint until{};
};

/// The end of an attempt. No outcome: given back; held: put aside until somebody resumes it.
struct RemoteReport {
  std::string token = {};
  std::optional<Outcome> outcome = {};
  bool held = false;
  std::vector<LogLine> logs = {};
};

/// Thread safety: all members may be called from any thread.
class RemoteLeases {
 public:
  /// `store` must outlive it, and have a catalog.
  RemoteLeases(Store& store, RetryPolicy retry, Log log);

  /// Doesn't wait for tasks. One suspect at a time goes to a worker, and is marked as started.
  RemoteClaimed claim(const RemoteWorker& worker, std::size_t limit, Duration lease);
  /// Shows the worker as alive, though it has nothing to do; more than once in 8 s does nothing.
  void announce(const RemoteWorker& worker);
  /// Also the sign of life of a worker that has nothing to do.
  RemoteRenewed renew(const RemoteWorker& worker, std::span<const RemoteBeat> beats, Duration lease);
  /// One answer each. A report that was applied lately is answered so again.
  std::vector<Reported> report(std::span<const RemoteReport> reports);
  /// The leases were not taken in by the worker: back to where they were.
  void give_back(std::span<const RemoteLease> leases);

  /// Sends what outcomes have gathered in statistics, in the name of `worker`.
  void flush(const WorkerInfo& worker);

 private:
  struct Ticket;
  struct Suspect {
    std::string token = {};
    TimePoint until{};  ///< The end of its lease.
  };
  struct Known {
    WorkerInfo info = {};
    Steady told = {};  ///< When the store last heard of it.
  };
  Call call();
  /// What is known of the worker, from this call and those before.
  WorkerInfo info_of(const RemoteWorker& worker, std::optional<std::size_t> busy);
  std::vector<RemoteLease> sort_out(const RemoteWorker& worker, std::vector<Lease>&& leases, Duration lease);
  void mark(const RemoteWorker& worker, std::span<const Lease> leases, Duration lease);
  void send(std::span<const Report> reports);
  /// True if the worker has no other suspect whose lease is alive.
  bool take_suspect(const std::string& worker, const std::string& token, TimePoint until);
  bool was_applied(const std::string& token);
  void remember(const std::string& token);
  Report report_of(const RemoteReport& wanted, const Lease& lease, TimePoint now) const;
  void end_overdue(std::span<const Ticket> tickets);

  Store& store_;
  const RetryPolicy retry_;
  const Log log_;
  StoreClock clock_;
  WorkerStats stats_;
  std::mutex mutex_;
  std::map<std::string, Known> known_;       // Workers, by id. Guarded by mutex_.
  std::map<std::string, Suspect> suspects_;  // By worker. Guarded by mutex_.
  std::unordered_set<std::string> applied_;  // Guarded by mutex_.
  std::deque<std::string> applied_order_;    // Guarded by mutex_.
};

}  // namespace tidemill::engine
