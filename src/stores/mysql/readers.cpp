#include "stores/mysql/readers.hpp"

#include "stores/mysql/errors.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr std::size_t readers_max = 4;
/// How long a call without a deadline waits for the server.
constexpr auto patience = std::chrono::seconds{30};

// Of all transactions of the connection.
constexpr Sql one_moment{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"};
// What is sorted by names is sorted by all of their bytes, and not by 1024.
constexpr Sql whole_names{"SET SESSION max_sort_length = 8192"};

}  // namespace

Readers::Borrowed::Borrowed(Readers& owner, const Call& call) : readers(owner) {
  const auto until =
      call.deadline == mysql::Deadline{} ? std::chrono::steady_clock::now() + patience : call.deadline;
  db = readers.take(fresh, until);
  db->give_up_at(until);
}

std::unique_ptr<mysql::Connection> Readers::take(bool& fresh, mysql::Deadline until) {
  {
    std::unique_lock lock{mutex_};
    if (!returned_.wait_until(lock, until, [&] { return lent_ < readers_max; })) {
      throw Error{ErrorKind::timed_out,
                  where_ + " is read by others, who have not come to an end before this call's deadline"};
    }
    ++lent_;
    if (!idle_.empty()) {
      auto db = std::move(idle_.back());
      idle_.pop_back();
      return db;
    }
  }
  fresh = true;
  try {
    auto db = std::make_unique<mysql::Connection>(server_, "tidemill", until);
    db->run(one_moment);
    db->run(whole_names);
    return db;
  } catch (const mysql::Failure& failure) {
    give_back(nullptr);
    fail(failure);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void Readers::give_back(std::unique_ptr<mysql::Connection> db) noexcept {
  if (db && db->usable() && db->in_transaction()) db->rollback();
  const std::lock_guard lock{mutex_};
  --lent_;
  if (db && db->usable()) idle_.push_back(std::move(db));
  returned_.notify_one();
}

void Readers::fail(const mysql::Failure& failure) const { throw to_error(failure, where_); }

}  // namespace tidemill::mysql_store
