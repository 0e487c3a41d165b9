#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include <tidemill/persistent_queue.hpp>
#include <tidemill/store.hpp>

namespace tidemill::persistent_queue {

/// Whose claims they are: written beside each job, and asked for by each write about it.
struct Claimant {
  std::string owner = {};
  std::uint64_t epoch = 0;
};

/// Which rows of the past are ours to run.
struct Horizon {
  std::int64_t since = 0;      ///< Unix seconds: of those before only ...
  std::uint64_t after_id = 0;  ///< ... the ones behind this id.
};

/// A row that may be run, as a load finds it.
struct Waiting {
  std::uint64_t id = 0;
  std::int64_t due = 0;    ///< Microseconds since 1970: not before; 0: at once.
  std::int64_t order = 0;  ///< The same, but of what is due at once when it came.
  bool with_null = false;  ///< Go's nodes can't read it.
};

/// What becomes of a job's row and of its row beside it.
struct Ending {
  std::int64_t status = 0;  ///< To write; 0: it goes on waiting.
  std::int64_t delay = 0;   ///< Microseconds, while it waits.
  std::int32_t attempts = 0, retries = 0, deferrals = 0;
  std::string error = {};
};

/// What `write` does on the connection is one transaction. Throws what it throws, and then none of it is
/// written; no other thread has the connection meanwhile.
void together(const SqlHandle& db, const std::function<void()>& write);

/// A job as a task, of columns that begin with id, params, start_time, create_time, attempts, retries,
/// deferrals, next_due. Its header start_time is the row's, its `run_at` when it is or was due, if that isn't
/// at once.
Task task_of(const SqlRow& row, std::int32_t type);

/// The statements about jobs of one type.
///
/// Thread safety: all members may be called from any thread. They throw Error.
class Jobs {
 public:
  Jobs(SqlHandle db, std::int32_t type, ClaimMode mode) : db_(std::move(db)), type_(type), mode_(mode) {}

  struct Look {
    std::uint64_t id_max = 0;
    std::int64_t now = 0;  ///< Microseconds since 1970, by the database's clock.
  };
  /// Costs next to nothing, however many rows there are.
  Look look();

  /// Those with status 0 that are due within `ahead` or are already, soonest first, `limit` at most.
  std::vector<Waiting> load(const Horizon& horizon, Duration ahead, std::size_t limit);

  /// Takes those of them that are due and still wait, and answers them as tasks, in no order.
  std::vector<Task> claim(std::span<const std::uint64_t> ids, const Claimant& claimant);

  enum class Ended : std::uint8_t { written, ended, lost };
  /// If the row is still as `claim` left it, and the claim is the claimant's: all of it, or nothing.
  /// Once more it has the effect of once.
  Ended end(std::uint64_t id, const Claimant& claimant, const Ending& ending);

  /// Marks of claimants up to this epoch are taken away, but for these jobs: those of the dead, and of a
  /// claim of ours whose answer was lost. How many there were. No claim may be under way.
  std::int64_t reap(std::uint64_t epoch, std::span<const std::uint64_t> but);
  /// Deletes what is kept beside jobs that have succeeded here, and beside those that are over or gone and
  /// that nobody has written about for a week. How many.
  std::int64_t clean(std::size_t limit);

 private:
  void load_part(const char* which, const Horizon& horizon, Duration ahead, std::size_t limit,
                 std::vector<Waiting>& to);
  std::unordered_set<std::uint64_t> ours(std::span<const Task> tasks, const Claimant& claimant);

  SqlHandle db_;
  std::int32_t type_;
  ClaimMode mode_;
};

/// The number of a new term of the lease: greater than its last one, and not less than the database's time in
/// microseconds since 1970, so that a service of another name, or a table that was emptied, begins behind
/// what jobs were claimed under before. `clean`: the owner before had released the lease.
std::uint64_t begin_term(const SqlHandle& db, const std::string& lock_name, const std::string& owner,
                         const std::string& before, bool& clean);
/// Says that the owner has released it.
void end_term_cleanly(const SqlHandle& db, const std::string& lock_name, const std::string& owner);

/// Inserts its row, in the transaction that is open on the connection if one is, and answers its id. Throws
/// Error.
std::uint64_t insert_job(const SqlHandle& db, const NewJob& job);
/// Why the table can't hold it; empty: it can.
std::string fault_of(const NewJob& job);

}  // namespace tidemill::persistent_queue
