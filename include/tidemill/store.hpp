#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>
#include <tidemill/task.hpp>

/// The port: all that the engine knows of a store. src/core decides states, delays and counts; a store writes
/// what it is told if the guard holds, and answers item by item. docs/architecture.md, section 3, has the
/// rules; tests/contract proves them on every store.
namespace tidemill {

class Documents;
class Groups;
class Locks;

/// The caller's own open transaction. Each SQL store has its subclass: sqlite.hpp, postgres.hpp,
/// mysql.hpp.
class Transaction {
 public:
  virtual ~Transaction() = default;
};

/// Goes with every call.
struct Call {
  /// The store's time as of its last answer, counted on from that answer's arrival by the steady clock: late
  /// by the way back, never ahead. A store compares times with this alone, so tests travel in time.
  TimePoint now{};
  /// Random; one for each lane of a process, with one call in flight.
  std::uint64_t session = 0;
  /// Counts the session's calls and stays when one is repeated. Where a commit can be in doubt the store
  /// keeps each session's last answer for a repeat; embedded stores have no such doubt and ignore both.
  std::uint64_t number = 0;
  /// When to give up, on the steady clock; the epoch: the store's own limit.
  std::chrono::steady_clock::time_point deadline = {};
};

enum class Put : std::uint8_t {
  created,
  replaced,
  exists,   ///< `id` holds the key, or was there before.
  busy,     ///< Told to replace, but the holder runs.
  fired,    ///< By another scheduler, or the schedule has changed.
  invalid,  ///< Refused; `why` says what would be right.
  failed,   ///< Nothing of it was written.
  unknown,  ///< Repeat the call.
};
std::string_view to_string(Put put) noexcept;

struct Enqueued {
  Put put = Put::created;
  std::string id = {};   ///< Of the task that is now in the queue: the new one, or the one that was there.
  std::string why = {};  ///< For people, unless created.
};

/// The right to run one attempt of one task. The holder counts `length`, less a margin, from when it sent the
/// call, on its steady clock. The token is made by the store and is like no other, even after a failover that
/// lost this claim; it is opaque to all but the store.
struct Lease {
  Task task = {};
  std::string token = {};
  Duration length{};
  bool started = false;  ///< In answers of `sweep`: the attempt had been marked as started (Beat::started).
};

struct Want {
  std::string_view queue;
  std::size_t count_max = 0;
};

struct Claim {
  std::string_view worker;
  std::span<const Want> wants;  ///< In the order to try.
  std::size_t count_max = 1;
  std::size_t bytes_max = 0;  ///< Of payloads; the first task comes however large; zero: no limit.
  Duration lease{};
};

struct Claimed {
  std::vector<Lease> leases = {};
  TimePoint now{};
  std::optional<TimePoint> next_due = {};  ///< When the next task of these queues falls due.
};

/// How the end of an attempt counts in the statistics.
enum class Tally : std::uint8_t { none, success, failure, crash };

/// The end of an attempt: the next state and every value to write.
struct Report {
  const Lease* lease = nullptr;
  State to = State::gone;
  Duration delay{};                   ///< scheduled, retry: until due, counted from `Call::now`.
  std::optional<Duration> keep = {};  ///< completed, archived: until purged; none: for good.
  std::int32_t attempt = 0, retries = 0, crashes = 0, deferrals = 0;
  Tally tally = Tally::none;
  bool front = false;        ///< To pending: keeps its old place in the line, as when given back.
  bool record = false;       ///< Keep an `Attempt` of it, with `error`, `started_at` and all its log lines.
  bool release_key = false;  ///< The unique key goes, unless it outlives the task.
  TimePoint started_at{};
  std::string result = {}, error = {}, reason = {};
  std::vector<LogLine> logs = {};  ///< Those that no beat has carried.
  std::vector<Task> then = {};     ///< Enqueued in the same write, if the report is applied.
};

enum class Reported : std::uint8_t {
  applied,
  lost,     ///< Another has the lease, or the task was changed meanwhile: nothing was written.
  ended,    ///< Over already; by whom is not kept.
  failed,   ///< Nothing was written.
  unknown,  ///< Repeat the call.
};
std::string_view to_string(Reported reported) noexcept;

/// A sign of life of one lease, with what its handler has said since the last.
struct Beat {
  const Lease* lease = nullptr;
  bool started = false;  ///< Marks the attempt as started, durably, before it runs (rule 3).
  std::optional<std::string> progress = {};
  std::vector<LogLine> logs = {};
};

/// Outcomes of one kind in one minute (or day) of one queue.
struct Stat {
  std::string queue = {}, kind = {};
  TimePoint at{};  ///< The start of the minute or day, UTC.
  std::uint64_t success = 0, failure = 0, crash = 0;
  Duration busy{};  ///< Run time of all these attempts together.
};

/// What an operator asks of a worker, or of the holder of a lease.
enum class Signal : std::uint8_t {
  none,
  cancel,
  hold,
  lost,
  quiet,
  resume,
  stop,
  unknown  ///< Only of a lease: whether it was renewed is not known. It is what it was; renew it again.
};
std::string_view to_string(Signal signal) noexcept;

struct WorkerInfo {
  std::string id = {};  ///< Random, one for each `Worker` object.
  std::string host = {};
  std::string state = {};                  ///< "running", "quiet", "stopping"; "gone" takes it off the list.
  std::map<std::string, int> queues = {};  ///< With their weights.
  std::int64_t pid = 0;
  std::int32_t slots = 0, busy = 0, stuck = 0;
  TimePoint started_at{};
  TimePoint beat_at{};  ///< In answers: its last sign of life.
};

struct Renewed {
  Signal worker = Signal::none;
  std::vector<Signal> leases = {};  ///< One a beat, in order.
  TimePoint now{};
};

struct Swept {
  std::vector<Lease> taken = {};  ///< Leases that had run out, now the caller's, under new tokens.
  std::size_t promoted = 0;       ///< Due tasks made pending.
  std::size_t purged = 0;         ///< Ended tasks past their retention, deleted.
  bool more = false;              ///< The limit was reached: call again soon.
};

enum class Wake : std::uint8_t { timeout, tasks, signals, stopped };

enum class Feature : std::uint8_t {
  list,
  search,
  order,  ///< Of claims, and of tasks of one queue and state in `Catalog::find`.
  delay,
  unique,
  priority,
  groups,
  schedules,
  hold,
  crashes,
  inside,
  locks,
  documents
};
std::string_view to_string(Feature feature) noexcept;

/// What is not as the contract says, in words for people: they go to command line, API and console unchanged.
struct Limit {
  bool absent = false;  ///< Asking for it is an `Error{unsupported}`.
  std::string text = {};
};

struct Capabilities {
  std::map<Feature, Limit> limits = {};     ///< A feature that isn't named here is there, whole.
  std::size_t batch_max = 1000;             ///< Items in one call.
  std::size_t task_bytes_max = 16U << 20U;  ///< Payload and headers of one task.

  /// In whole or in part.
  bool has(Feature feature) const {
    const auto limit = limits.find(feature);
    return limit == limits.end() || !limit->second.absent;
  }
};

/// Which tasks; an empty field matches all.
struct Filter {
  std::string queue = {};
  std::string kind = {};  ///< Exact, or a prefix if it ends in '*'.
  std::string id = {};    ///< Begins so.
  std::string group = {};
  std::string text = {};  ///< Somewhere in id, payload or error, byte by byte.
  States states = States::all();
  std::optional<TimePoint> created_from = {};
  std::optional<TimePoint> created_before = {};
};

struct Page {
  std::vector<Task> tasks = {};
  std::string next = {};  ///< The cursor of the next page; empty on the last.
  bool complete = true;   ///< False: the budget ended before the page was full; `next` goes on from there.
};

/// What to make of tasks that no worker runs, and what to signal to those that run.
struct Change {
  States from = {};                   ///< Others answer `wrong_state`, and so do tasks of a gathered set.
  State to = State::gone;             ///< For those not active.
  std::optional<Duration> keep = {};  ///< As in `Report`.
  std::string reason = {};
  bool fresh = false;  ///< Retries, crashes and deferrals start at zero again.
  bool release_key = false;
  Signal signal = Signal::none;          ///< For active ones, if `from` has `active`.
  std::optional<TimePoint> run_at = {};  ///< scheduled: when it is due; none: now.
};

enum class Changed : std::uint8_t {
  changed,
  signalled,
  absent,
  wrong_state,
  failed,
  stale,     ///< Edited: it is no longer as it was seen.
  exists,    ///< Moved: the other queue has a task of that id.
  conflict,  ///< Edited or moved: another task of its queue has the unique key.
};
std::string_view to_string(Changed changed) noexcept;

/// Names what an edit may overwrite, and the state: another one with every change of these. Durations count
/// to the millisecond, as the API shows them.
std::string etag(const Task& task);

/// A task as it shall be, if it is still as it was seen.
struct Edit {
  /// `ref` says which. What is written is kind, payload, headers, priority, limits, times and, if it holds
  /// one, the unique key: another one takes over what is left of the window.
  Task task = {};
  States from = {};       ///< Others, and active and aggregating, answer `wrong_state`.
  std::string seen = {};  ///< The `etag` of the task as it was seen; for another the answer is `stale`.
};

struct QueueInfo {
  std::string name = {};
  std::map<State, std::uint64_t> counts = {};  ///< States without tasks may be left out.
  Duration oldest{};                           ///< How long the longest-waiting pending task has waited.
  bool paused = false;

  std::uint64_t count(State state) const {
    const auto found = counts.find(state);
    return found == counts.end() ? 0 : found->second;
  }
};

/// The tasks that wait in a group: those of a set that a worker has gathered are not among them.
struct GroupInfo {
  std::string name = {};
  std::uint64_t size = 0;
  TimePoint first_at{}, last_at{};  ///< When the first and the last of them came.
};

/// A schedule at rest. Stores keep `rule` as they get it; core reads and writes it.
struct StoredSchedule {
  std::string id = {};
  std::string owner = {};  ///< Who syncs it; empty: made by hand.
  std::string rule = {};   ///< The `Schedule` as JSON, with the task that it enqueues.
  bool paused = false;
  TimePoint next{};
  std::optional<TimePoint> last = {};  ///< The instant that fired last.
  /// In answers: it is of another program's scheduler, which alone fires and changes it. Its zone may be
  /// unknown (empty).
  bool read_only = false;
};

struct PutSchedule {
  StoredSchedule schedule = {};
  /// The next instant that the caller saw; none: there must be no schedule with that id. If another is
  /// stored, nothing is written and the answer is false: read again.
  std::optional<TimePoint> expected_next = {};
};

enum class Span : std::uint8_t { minute, day };

/// The operator's side of a store. Counts come from counters; `find` stops at its budget and says so.
///
/// Thread safety: all members may be called from any thread.
class Catalog {
 public:
  virtual ~Catalog() = default;

  /// Tasks in the order of queue (by name), state (by number), then that state's own: pending by priority and
  /// place in the line, scheduled and retry by due time, active by the end of the lease, all others by when
  /// they came into it.
  virtual Page find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                    const Call& call) = 0;
  virtual std::vector<std::optional<Task>> get(std::span<const Ref> refs, const Call& call) = 0;
  /// The kept attempts of a task, oldest first; empty when there is no such task.
  virtual std::vector<Attempt> attempts(const Ref& ref, const Call& call) = 0;
  virtual std::vector<Changed> change(std::span<const Ref> refs, const Change& change, const Call& call) = 0;
  /// Keeps the task's place, unless its priority is another. Throws Error{invalid} for what the store can't
  /// hold.
  virtual Changed edit(const Edit& edit, const Call& call) = 0;
  /// Into another queue, with id, key, history and due time; a pending one goes to the end of the line there.
  /// A task is never lost by it, nor can it be claimed in two queues. States that `from` lacks, and
  /// active and aggregating, answer `wrong_state`.
  virtual std::vector<Changed> move(std::span<const Ref> refs, States from, std::string_view queue,
                                    const Call& call) = 0;

  /// All queues that have ever had a task, and were not erased since, by name.
  virtual std::vector<QueueInfo> queues(const Call& call) = 0;
  /// Nothing is claimed from a paused queue, and no group of it gathered.
  virtual void pause(std::string_view queue, bool paused, const Call& call) = 0;
  /// Takes a queue without tasks off the list, and ends its pause; the next task puts it there again. What
  /// was counted in statistics stays for its time, and so do keys that outlive their tasks. `wrong_state`
  /// when it has tasks, `absent` when it isn't listed.
  virtual Changed erase_queue(std::string_view queue, const Call& call) = 0;
  /// Groups of the queue that have tasks, by name, after the name `after`; `limit` at most.
  virtual std::vector<GroupInfo> groups(std::string_view queue, std::string_view after, std::size_t limit,
                                        const Call& call) = 0;

  /// Those that have beaten within the last minute.
  virtual std::vector<WorkerInfo> workers(const Call& call) = 0;
  /// False when there is no such worker.
  virtual bool signal(std::string_view worker, Signal signal, const Call& call) = 0;

  /// By id; with `due_by`, only those that aren't paused and whose next instant is not after it: a scheduler
  /// asks so as long as it runs.
  virtual std::vector<StoredSchedule> schedules(std::optional<TimePoint> due_by, const Call& call) = 0;
  virtual std::vector<bool> put_schedules(std::span<const PutSchedule> puts, const Call& call) = 0;
  /// How many of them there were.
  virtual std::size_t erase_schedules(std::span<const std::string> ids, const Call& call) = 0;

  /// By time, queue and kind; from included, to not. An empty queue: all. Minutes are kept for two days, days
  /// for a year.
  virtual std::vector<Stat> stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                  const Call& call) = 0;
};

/// How the database is set up where that endangers tasks, in words for people.
struct Concern {
  std::string what = {};
  std::string advice = {};  ///< What to do.
};

/// What the database shows of itself in numbers, for those who watch how it grows.
struct Gauge {
  std::string name = {};  ///< With its unit at the end, in a metric's letters: "oldest_transaction_seconds".
  std::string help = {};  ///< What it is, in a sentence.
  double value = 0;
};

/// Where tasks rest and change state.
///
/// Every call takes a batch, costs O(batch), and blocks until `Call::deadline` at most. What concerns one
/// item is in its answer, index for index; what concerns the whole call is an `Error`. After an
/// `Error{unknown_outcome}` the same call may be repeated with the same number.
///
/// Thread safety: all members may be called from any thread.
class Store {
 public:
  virtual ~Store() = default;

  /// Answers one item each. Inside the caller's transaction the outcome is the caller's.
  virtual std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call,
                                        Transaction* inside = nullptr) = 0;
  /// Makes pending what is due in these queues, then leases what is pending.
  virtual Claimed claim(const Claim& claim, const Call& call) = 0;
  virtual std::vector<Reported> report(std::span<const Report> reports, const Call& call) = 0;
  /// Tells that a worker lives, also with no beats; extends its leases; adds up statistics.
  virtual Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                        std::span<const Stat> stats, const Call& call) = 0;
  /// Takes lost leases over, lets sets whose lease has run out go back to their groups, makes due tasks
  /// pending, purges tasks, locks and documents; `limit` of each at most, but for sets.
  virtual Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) = 0;
  /// Returns when one of the queues may have a task to claim, when a signal may wait for `worker` or one of
  /// its leases, at the timeout, or when stopped. Only a hint: it may return for nothing.
  virtual Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                    std::stop_token stop) = 0;
  /// The store's clock; a round trip at most.
  virtual TimePoint now() = 0;

  virtual const Capabilities& capabilities() const noexcept = 0;
  /// None when all is well, or the store can't know. Throws Error{unavailable}.
  virtual std::vector<Concern> concerns() { return {}; }
  /// None where the store has none, or may not see them. A few round trips. Throws Error{unavailable}.
  virtual std::vector<Gauge> gauges() { return {}; }
  /// Null for what the store doesn't have; it belongs to the store.
  virtual Catalog* catalog() noexcept { return nullptr; }
  virtual Locks* locks() noexcept { return nullptr; }          ///< locks.hpp
  virtual Documents* documents() noexcept { return nullptr; }  ///< documents.hpp
  virtual Groups* groups() noexcept { return nullptr; }        ///< groups.hpp
};

struct OpenOptions {
  /// Creates what is missing and brings an older schema up to date. Off: an older schema is an error.
  bool migrate = true;
  /// For embedded stores: where their time comes from. Must outlive the store.
  const Clock* clock = &Clock::system();
};

/// Opens the store that the URL names: `memory:`, `sqlite:jobs.db`,
/// `sqlite:/var/lib/app/jobs.db?synchronous=normal`. Throws Error{invalid} for a URL that it can't read, with
/// the schemes and options that there are, and Error{unavailable} or {corrupt} for a store that it can't
/// open.
std::unique_ptr<Store> open(std::string_view url, const OpenOptions& options = {});

/// What `open` would do to the schema, and does. Throws as `open` does.
struct Migration {
  int from = 0;  ///< Zero: there was nothing.
  int to = 0;
};
Migration migrate(std::string_view url);

}  // namespace tidemill
