#pragma once

#include <any>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/json.hpp>
#include <tidemill/log.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

/// The tables of PersistentQueue, `async_job_tab` and `shedlock_tab`, shared with its Go nodes or taken over
/// from them. docs/moving-from-persistent-queue.md says what that promises, and what it can't.
namespace tidemill::persistent_queue {

// ---- A queue

/// Which of the rows that were there before are recovered, by the later of create_time and start_time.
class FirstPull {
 public:
  /// Those of so many days. Implicit, so that a number can be given.
  FirstPull(int days) : days_(days) {}  // NOLINT: meant to be implicit
  /// None that was created before this object: the README's -1.
  static FirstPull none() { return FirstPull{-1}; }
  /// All, however old: what Go's code does with -1.
  static FirstPull unlimited() { return FirstPull{-2}; }

  bool is_none() const noexcept { return days_ == -1; }
  bool is_unlimited() const noexcept { return days_ == -2; }
  int days() const noexcept { return days_; }

 private:
  int days_;
};

enum class ClaimMode : std::uint8_t {
  none,  ///< A row that runs stays at 0, so a Go node can take over: for tables with Go nodes that run jobs.
  mark,  ///< It is 3 meanwhile, which Go leaves alone for ever, and a C++ node resets. For Go producers.
};

/// One queue: the jobs of one type, run by whichever node holds the lease of one service.
struct TableOptions {
  /// As in the Go nodes that it shares the lease with; 1 to 128 bytes.
  std::string service_name = {};
  std::int32_t job_type = 0;
  /// Never closed but by whoever gave it. Without a second one below also for the lease, whose renewals then
  /// wait for the queue's statements.
  SqlHandle db = {};
  /// One of its own for the lease. Empty: `db`.
  SqlHandle lease_db = {};

  FirstPull first_pull_days = 7;
  std::size_t queue_size_max = 50'000;  ///< Rows known to this process, waiting and running.
  std::size_t load_limit = 10'000;      ///< Rows of one load.
  std::int32_t retries_max = 0;         ///< A job's runs are one more.
  Duration handler_timeout{};           ///< Longest run; zero: no limit.

  /// Length of the lease, in whole seconds: Go's nodes have 30 s. Renewed every `renew_interval`, and counted
  /// as lost `safety_margin` before it ends, by the steady clock.
  std::chrono::seconds lease{30};
  Duration renew_interval = std::chrono::seconds{8};
  Duration safety_margin = std::chrono::seconds{5};
  /// How often a node that doesn't hold the lease looks whether it is free.
  Duration contest_interval = std::chrono::seconds{1};
  /// After a release others get the lease so long after its last renewal, at the earliest. Zero: at once.
  std::chrono::seconds lease_min{0};
  /// After the lease of another who has not released it has run out: how long rows that were there already
  /// wait, as he may still run them. None: `handler_timeout`, at least 30 s.
  std::optional<Duration> takeover_grace = {};

  ClaimMode claim_mode = ClaimMode::none;
  /// How often it looks for new rows.
  Duration poll_interval = std::chrono::milliseconds{500};
  /// Makes those of the four tables that are missing. Without it, or where the user may not create tables,
  /// they must be there.
  bool create_tables = true;
  /// Makes the index tidemill_due of (job_type, job_status, start_time, id): without one each load of rows
  /// reads the whole table, and where that takes long new rows start late. Writers go on meanwhile; it waits
  /// 2 s for open transactions on the table, and else does without, with a warning.
  bool create_index = true;
  Log log = {};
};

/// The queue's name in the store: "SERVICE/TYPE".
std::string queue_name(const TableOptions& options);
/// The kind of all its tasks: the type, "7".
std::string kind_name(std::int32_t job_type);

/// The tables as a store, for a worker and clients of ours: one queue of `queue_name`, tasks of `kind_name`,
/// whose ids are the rows' and whose payloads are `params`. A thread of its own holds the lease, from the
/// first claim on: who only enqueues or looks leaves it to others. The database's clock decides what is due.
/// `Capabilities` says what these tables don't have. An Inspector finds the jobs, makes them run, retries,
/// cancels, deletes and reschedules them, whichever node leads.
///
/// A worker over it must take `worker_lease` into its options. When the store is destroyed the lease is
/// released: stop the worker before.
///
/// Throws Error{invalid} for options that make no sense, Error{unavailable} if the database can't be reached
/// or a table is missing or takes no writes, Error{corrupt} if a table of that name is another's.
std::unique_ptr<Store> open_tables(TableOptions options);

/// Several queues, in their order. Those of one service in one database share its lease, by the first one's
/// connection for it, so they lead together; it is released when the last of their stores is destroyed. (Two
/// calls compete as two nodes do: all jobs are those of the one that has the lease.)
///
/// Throws as above, and Error{invalid} for one job type twice in a database, or two lengths of one lease.
std::vector<std::unique_ptr<Store>> open_tables(std::vector<TableOptions> queues);

/// What `WorkerOptions` must have, so that no job runs past the lease of the service.
struct WorkerLease {
  Duration lease{}, beat{}, margin{};
};
WorkerLease worker_lease(const TableOptions& options);

/// A row whose job_status or start_time is NULL stops every Go node; ours takes it for 0. Writes the 0, and
/// answers into how many rows. Throws Error.
std::int64_t repair_nulls(const SqlHandle& db);

/// The two tables as PersistentQueue's own files have them, for who creates them by hand; and the two of ours
/// beside them, which only nodes that run jobs need.
std::string_view async_job_table();
std::string_view shedlock_table();
std::string_view tidemill_async_job_table();
std::string_view tidemill_shedlock_table();

// ---- Producers

struct NewJob {
  std::int32_t job_type = 0;
  /// Stored as it is, up to 4096 characters: JSON by custom, which `add_job` of a value makes.
  std::string params = {};
  std::int64_t start_time = 0;  ///< Unix seconds; 0: at once.
};

/// Inserts a row, in the transaction that is open on the connection if one is, and answers its id. Throws
/// Error{invalid} for params that the table can't hold; else, as Go's helper, "add async job error: …".
std::uint64_t add_job(const SqlHandle& db, const NewJob& job);
/// With the value's JSON for params; a `nullptr` gives "null".
template <class T>
std::uint64_t add_job(const SqlHandle& db, std::int32_t job_type, const T& params,
                      std::int64_t start_time = 0) {
  if constexpr (std::is_same_v<T, std::nullptr_t>) {
    return add_job(db, {job_type, "null", start_time});
  } else {
    return add_job(db, {job_type, Codec<T>::encode(params), start_time});
  }
}

// ---- Queues with handlers

/// The numbers are stored: never renumber.
enum class Status : std::int32_t { init = 0, success = 1, failed = 2, again = 3, retry = 4 };

/// One run of a job. The handler sets `status`: what it leaves decides. init or retry: runs again after
/// `wait_time` while retries are left, else failed. again (Go: continue): runs again after `wait_time`, and
/// uses up no retry. Any other value is failed. As with Go it begins as it was left: retry or again in later
/// runs, init in the first.
struct Job {
  const std::uint64_t id;
  Status status;
  const std::int32_t retries;            ///< That were used up before this run.
  const std::int64_t next_execute_time;  ///< Unix seconds: for when this run was due; 0: at once.
  const std::int32_t job_type;
  const std::string params;
  const std::int64_t start_time;  ///< Unix seconds, as the row has it.
  const std::any context;         ///< What the logger's `new_context` gave for this run.
  const std::stop_token stop;     ///< Fires when the lease is in doubt, at a timeout, at the end.
  std::string error = {};         ///< Goes to the log and the side table; decides nothing.
};
/// What it throws is logged; the status that it has set by then stands.
using JobHandler = std::function<void(Job& job)>;

/// PersistentQueue's five callbacks. Those that are empty do nothing, and without `new_context` the context
/// is empty. They may be called from any thread, must not throw, and should not block.
struct Logger {
  std::function<std::any(const std::string& service_name)> new_context = {};
  using Line = std::function<void(const std::any& context, std::string_view text)>;
  Line info = {}, warn = {}, error = {}, debug = {};

  /// One that writes to a log of ours.
  static Logger to(const Log& log);
};

/// PersistentQueue's configuration, with the defaults of its README.
struct QueueConfig {
  std::string service_name = {};
  std::int32_t job_type = 0;
  bool need_retry = false;
  std::int32_t max_retries = 0;  ///< Runs are one more.
  Duration wait_time{};          ///< Before a retry, and before a job that is to go on runs again.
  std::int32_t worker_pool_capacity = 100;
  std::chrono::seconds worker_expiry{60};  ///< A thread that was idle for so long ends.
  SqlHandle db = {};
  FirstPull first_pull_days = 7;
  std::size_t queue_max_size = 50'000;
  std::size_t load_limit = 10'000;
  JobHandler handler = {};

  /// Runs in a row that a job may go on for without success or failure; 0: no limit. Then it has failed.
  std::int32_t continues_max = 0;
  /// On stop, how long running handlers have before `Job::stop` fires.
  Duration shutdown_timeout = std::chrono::seconds{30};
  /// All that is not above: lease, claim mode, tables. What is above counts in its place.
  TableOptions table = {};
};

/// Queues that run. Destroying it is `stop`.
///
/// Thread safety: all members may be called from any thread.
class Queues {
 public:
  ~Queues();
  Queues(const Queues&) = delete;
  Queues& operator=(const Queues&) = delete;

  /// Takes no more jobs, waits for those that run, however long, writes what became of them, and only then
  /// releases the leases, which are renewed meanwhile.
  void stop();
  /// Until SIGINT or SIGTERM, then `stop`.
  void run();
  /// Whether this node holds the lease of a service now.
  bool leads(std::string_view service_name) const;

 private:
  friend std::unique_ptr<Queues> init(std::vector<QueueConfig> configs, const Logger& logger);
  struct Impl;
  explicit Queues(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Starts all queues, or none: throws Error{invalid} with PersistentQueue's words and which queue is meant
/// ("wrong db engine", "handJobFunc is nil", "empty service name"), or for two services with one job type in
/// one database, which would run each job twice. Queues of one service in one database share its lease, so
/// they lead together; with Go, whose queues shut each other out, give each a service of its own.
std::unique_ptr<Queues> init(std::vector<QueueConfig> configs, const Logger& logger = Logger::to(Log{}));

// ---- The lock by itself

struct LockConfig {
  SqlHandle db = {};
  std::string service_name = {};
  std::chrono::seconds lock_seconds{30};  ///< More than 1.
  /// How long it is held at least, from the last renewal on. None: 5 s less than its length, or 1 s less if
  /// that is 5 s or shorter.
  std::optional<std::chrono::seconds> min_lock_seconds = {};
  /// None: a quarter of the length, 8 s at most.
  std::optional<Duration> renew_interval = {};
  Log log = {};
};

/// A row of `shedlock_tab`, held for a name and renewed by a thread. Not re-entrant: who holds it can't take
/// it once more, and is told so by `try_lock`'s true without effect.
///
/// Thread safety: all members may be called from any thread.
class ShedLock {
 public:
  /// Throws Error{invalid}: "bad session", "empty service name", "lock second less than 1".
  explicit ShedLock(LockConfig config);
  /// As `unlock`.
  ~ShedLock();
  ShedLock(const ShedLock&) = delete;
  ShedLock& operator=(const ShedLock&) = delete;

  /// One attempt. Throws Error{unavailable} if the database can't be asked.
  bool try_lock();
  /// Until it has the lock, with pauses of `pause`, 5 s if that is zero; through failures of the database
  /// too. False if `stop` fires before.
  bool lock(Duration pause = {}, std::stop_token stop = {});
  /// The same for `timeout` at most. A zero timeout is false at once.
  bool lock_with_timeout(Duration pause, Duration timeout);
  /// Fires when the lock is lost: a renewal found another owner, or none succeeded in time. Of the lock as
  /// it was taken last.
  std::stop_token extend_failed() const;
  /// Whether it is held now, by the steady clock: exact also while the database doesn't answer.
  bool held() const;
  /// Releases what is still this object's own, and no other's. May close the connection too.
  void unlock(bool close_handle = false);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::persistent_queue
