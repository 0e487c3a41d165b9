#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "core/group_commit.hpp"
#include "stores/sql/write.hpp"

namespace tidemill::sql_store {

/// How much one call brings to a transaction.
struct Load {
  std::size_t tasks = 1;
  std::size_t bytes = 0;
  bool urgent = false;  ///< Goes into the very next transaction.
  bool sync = true;     ///< False: a crash of the server may undo it even after it was acknowledged,
                        ///< where the database makes such a difference.
};

/// A connection that writes, for one sort of call. Callers' operations gather while a transaction is under
/// way, and the next one takes what has gathered; each caller gets its answer when that has been committed.
///
/// When the connection is lost while a commit is under way, nobody has told what became of it. So a lane has
/// a session, a row with the number of its last transaction, which each transaction moves on by two. To find
/// out, the number in doubt is moved on by one, unless the transaction has done so: then it is committed; or
/// else it never will be, as it can't pass that number any more. An answer whose caller could not wait for
/// this is kept for the repeated call.
///
/// Thread safety: all members may be called from any thread.
template <class Database>
class Lane {
 public:
  using Write = sql_store::Write<Database>;
  using Scope = sql_store::Scope<Database>;
  using Naming = sql_store::Naming<Database>;

  struct Options {
    typename Database::Options server = {};
    std::string where = {};       ///< For messages.
    std::int64_t number = 0;      ///< Of the counters that it writes.
    bool waits_for_keys = false;  ///< Another's transaction may hold what it wants: it gives up soon.
  };
  using Publish = std::function<void(News, std::int64_t died)>;

  /// Connects with the first call. `naming` must outlive it; `publish` gets what was committed, and how many
  /// rows died by that.
  Lane(Options options, Naming& naming, Publish publish);

  /// Returns the answer of `apply(Write&)` when it is committed. `apply` may be called again after a
  /// rollback. `look(Scope&, Answer&)` may answer by reading alone and return true, if there is nothing to
  /// write. `gather(Write&)` is called for all operations of a transaction before any is applied. Throws
  /// Error.
  template <class Apply, class Look = std::nullptr_t>
  auto run(const Call& call, const Load& load, Apply&& apply, Look look = nullptr,
           std::function<void(Write&)> gather = {}) {
    using Answer = std::invoke_result_t<Apply&, Write&>;
    auto answer = std::make_shared<Answer>();
    Operation operation{.call = &call, .load = load, .answer = answer};
    operation.apply = [&apply, to = answer.get()](Write& write) { *to = apply(write); };
    operation.gather = std::move(gather);
    if constexpr (!std::is_same_v<Look, std::nullptr_t>)
      operation.look = [&look, to = answer.get()](Scope& scope) { return look(scope, *to); };
    submit(operation);
    return std::move(*std::static_pointer_cast<Answer>(operation.answer));
  }

 private:
  using Connection = typename Database::Connection;
  using Failure = typename Database::Failure;
  using Batch = typename Database::Batch;
  using Steady = std::chrono::steady_clock;

  // What one transaction may take: enough that the cost of a commit is spread thin, and so little that what
  // waits for it is not late.
  static constexpr std::size_t tasks_max = 1000;
  static constexpr std::size_t bytes_max = 1U << 20U;
  static constexpr std::chrono::milliseconds time_max{50};
  /// How long a call without a deadline waits for the server.
  static constexpr std::chrono::seconds patience{10};
  /// How often a transaction that met a deadlock or the like is begun again.
  static constexpr int tries_max = 20;
  /// Between questions what became of a transaction.
  static constexpr std::chrono::milliseconds shortest_pause{10}, longest_pause{500};
  /// How long the lane may be idle before its session's row is written anew: sweeps delete those that nobody
  /// has used for a day.
  static constexpr std::chrono::hours idle_max{1};

  /// What one caller wants written.
  struct Operation {
    const Call* call = nullptr;
    Load load = {};
    std::shared_ptr<void> answer = {};
    std::function<void(Write&)> apply = {};
    std::function<void(Write&)> gather = {};
    std::function<bool(Scope&)> look = {};
    std::exception_ptr error = {};
  };
  /// The answers of a transaction, by the sessions of the calls.
  struct Told {
    std::uint64_t number = 0;
    std::shared_ptr<void> answer = {};
  };
  using Answers = std::map<std::uint64_t, Told>;
  /// A transaction of which nobody knows whether it was committed.
  struct Doubt {
    std::int64_t number = 0;
    Answers answers = {};
  };

  void submit(Operation& operation);
  static bool fits(std::span<Operation* const> gathered, const Operation& next);
  void flush(std::span<Operation* const> operations) noexcept;
  bool expire(std::vector<Operation*>& operations) const;
  Steady::time_point patience_of(std::span<Operation* const> operations) const;
  /// Takes out those whose answers are there from a transaction that was in doubt.
  void answer_from_memory(std::vector<Operation*>& operations);
  void answer_by_reading(std::vector<Operation*>& operations);
  /// Takes out the first operations, those that went into one transaction.
  void write_some(std::vector<Operation*>& operations);
  std::size_t transaction(std::span<Operation* const> operations, bool careful);
  void each_alone(std::span<Operation* const> operations);
  /// False when another try may succeed.
  bool give_up_after(const Failure& failure, int tries, Steady::time_point until);
  void open(Steady::time_point until);
  /// Finds out what became of the transaction in doubt; none: the server can't be asked, and the doubt stays.
  std::optional<bool> resolve(Steady::time_point until);
  /// Resolves a doubt that an earlier call left behind, or gives all of these up.
  void resolve_earlier(std::vector<Operation*>& operations);
  Batch opening(std::span<Operation* const> operations) const;

  const Options options_;
  Naming& naming_;
  const Publish publish_;
  // All below belongs to whoever leads.
  std::unique_ptr<Connection> db_;
  const std::int64_t session_;
  std::int64_t number_ = 0;
  Steady::time_point used_{};
  std::optional<Doubt> doubt_;
  Answers remembered_;
  GroupCommit<Operation> group_;
};

}  // namespace tidemill::sql_store
