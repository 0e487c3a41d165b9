#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/mysql/mysql.hpp"
#include "stores/mysql/scope.hpp"

namespace tidemill::mysql_store {

/// A few connections that only read, beside those that write: a slow page of a listing delays neither writes
/// nor other readers.
///
/// Thread safety: all members may be called from any thread.
class Readers {
 public:
  /// `naming` must outlive it; `where` is for messages.
  Readers(mysql::Options server, std::string where, Naming& naming)
      : server_(std::move(server)), where_(std::move(where)), naming_(naming) {}

  /// Calls `use(Scope&)` in one read transaction, so that all it reads is of one moment; once more, when the
  /// connection turns out to have been cut while it was idle. Throws Error.
  template <class F>
  auto read(const Call& call, F&& use) {
    for (int tries = 0;; ++tries) {
      Borrowed borrowed{*this, call};
      try {
        Scope scope{*borrowed.db, naming_, Scope::Mode::transaction, {}};
        auto result = use(scope);
        scope.commit();
        return result;
      } catch (const mysql::Failure& failure) {
        if (tries > 0 || borrowed.fresh || !failure.lost() || failure.timed_out()) fail(failure);
      }
    }
  }

 private:
  struct Borrowed {
    Borrowed(Readers& owner, const Call& call);
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { readers.give_back(std::move(db)); }

    Readers& readers;
    bool fresh = false;
    std::unique_ptr<mysql::Connection> db = {};
  };

  std::unique_ptr<mysql::Connection> take(bool& fresh, mysql::Deadline until);
  void give_back(std::unique_ptr<mysql::Connection> db) noexcept;
  [[noreturn]] void fail(const mysql::Failure& failure) const;

  const mysql::Options server_;
  const std::string where_;
  Naming& naming_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<mysql::Connection>> idle_;  // Guarded by mutex_.
  std::size_t lent_ = 0;                                  // Guarded by mutex_.
};

}  // namespace tidemill::mysql_store
