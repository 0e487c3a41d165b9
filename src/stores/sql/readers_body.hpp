#pragma once

#include "stores/sql/readers.hpp"

namespace tidemill::sql_store {

template <class Database>
Readers<Database>::Borrowed::Borrowed(Readers& owner, const Call& call) : readers(owner) {
  const auto until =
      call.deadline == sql::Deadline{} ? std::chrono::steady_clock::now() + patience : call.deadline;
  db = readers.take(fresh, until);
  db->give_up_at(until);
}

template <class Database>
auto Readers<Database>::take(bool& fresh, sql::Deadline until) -> std::unique_ptr<Connection> {
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
    auto db = std::make_unique<Connection>(server_, "tidemill", until);
    Database::set_up_reader(*db);
    return db;
  } catch (const Failure& failure) {
    give_back(nullptr);
    fail(failure);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

template <class Database>
void Readers<Database>::give_back(std::unique_ptr<Connection> db) noexcept {
  if (db && db->usable() && db->in_transaction()) db->rollback();
  const std::lock_guard lock{mutex_};
  --lent_;
  if (db && db->usable()) idle_.push_back(std::move(db));
  returned_.notify_one();
}

template <class Database>
void Readers<Database>::fail(const Failure& failure) const {
  throw Database::to_error(failure, where_);
}

}  // namespace tidemill::sql_store
