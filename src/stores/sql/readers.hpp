#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/sql/deadline.hpp"
#include "stores/sql/scope.hpp"

namespace tidemill::sql_store {

/// A few connections that only read, beside those that write: a slow page of a listing delays neither writes
/// nor other readers.
///
/// Thread safety: all members may be called from any thread.
template <class Database>
class Readers {
 public:
  using Connection = typename Database::Connection;
  using Options = typename Database::Options;
  using Failure = typename Database::Failure;
  using Naming = sql_store::Naming<Database>;

  /// `naming` must outlive it; `where` is for messages.
  Readers(Options server, std::string where, Naming& naming)
      : server_(std::move(server)), where_(std::move(where)), naming_(naming) {}

  /// Calls `use(Scope&)` in one read transaction, so that all it reads is of one moment; once more, when the
  /// connection turns out to have been cut while it was idle. Throws Error.
  template <class F>
  auto read(const Call& call, F&& use) {
    for (int tries = 0;; ++tries) {
      Borrowed borrowed{*this, call};
      try {
        Scope<Database> scope{*borrowed.db, naming_, Scope<Database>::Mode::transaction,
                              Database::opening_of_read()};
        auto result = use(scope);
        scope.commit();
        return result;
      } catch (const Failure& failure) {
        if (tries > 0 || borrowed.fresh || !failure.lost() || failure.timed_out()) fail(failure);
      }
    }
  }

 private:
  static constexpr std::size_t readers_max = 4;
  /// How long a call without a deadline waits for the server.
  static constexpr std::chrono::seconds patience{30};

  struct Borrowed {
    Borrowed(Readers& owner, const Call& call);
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { readers.give_back(std::move(db)); }

    Readers& readers;
    bool fresh = false;
    std::unique_ptr<Connection> db = {};
  };

  std::unique_ptr<Connection> take(bool& fresh, sql::Deadline until);
  void give_back(std::unique_ptr<Connection> db) noexcept;
  [[noreturn]] void fail(const Failure& failure) const;

  const Options server_;
  const std::string where_;
  Naming& naming_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;  // Guarded by mutex_.
  std::size_t lent_ = 0;                           // Guarded by mutex_.
};

}  // namespace tidemill::sql_store
