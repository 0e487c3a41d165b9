#include "stores/postgres/readers.hpp"

#include "stores/postgres/errors.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr std::size_t readers_max = 4;
/// How long a call without a deadline waits for the server.
constexpr auto patience = std::chrono::seconds{30};

constexpr Sql one_moment{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"};

}  // namespace

Readers::Borrowed::Borrowed(Readers& owner, const Call& call) : readers(owner) {
  const auto until =
      call.deadline == postgres::Deadline{} ? std::chrono::steady_clock::now() + patience : call.deadline;
  db = readers.take(fresh, until);
  db->give_up_at(until);
}

Batch Readers::settings() {
  Batch batch;
  batch.add(one_moment);
  batch.add(plan_by_index);
  return batch;
}

std::unique_ptr<postgres::Connection> Readers::take(bool& fresh, postgres::Deadline until) {
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
    return std::make_unique<postgres::Connection>(server_, "tidemill", until);
  } catch (const postgres::Failure& failure) {
    give_back(nullptr);
    fail(failure);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void Readers::give_back(std::unique_ptr<postgres::Connection> db) noexcept {
  if (db && db->usable() && db->in_transaction()) db->rollback();
  const std::lock_guard lock{mutex_};
  --lent_;
  if (db && db->usable()) idle_.push_back(std::move(db));
  returned_.notify_one();
}

void Readers::fail(const postgres::Failure& failure) const { throw to_error(failure, where_); }

}  // namespace tidemill::postgres_store
