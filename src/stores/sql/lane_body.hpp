#pragma once

#include <algorithm>
#include <thread>

#include "core/uuid.hpp"
#include "stores/sql/lane.hpp"

namespace tidemill::sql_store {

template <class Database>
Lane<Database>::Lane(Options options, Naming& naming, Publish publish)
    : options_(std::move(options)),
      naming_(naming),
      publish_(std::move(publish)),
      session_(static_cast<std::int64_t>(random_bits() >> 1U)),
      group_([this](std::span<Operation* const> operations) { flush(operations); }, &Lane::fits) {}

template <class Database>
void Lane<Database>::submit(Operation& operation) {
  group_.run(operation, operation.load.urgent);
  if (operation.error) std::rethrow_exception(operation.error);
}

/// The first that brings tasks fits always, so whoever leads finds his own operation among those that he
/// takes.
template <class Database>
bool Lane<Database>::fits(std::span<Operation* const> gathered, const Operation& next) {
  std::size_t tasks = 0;
  std::size_t bytes = 0;
  for (const Operation* const operation : gathered) {
    tasks += operation->load.tasks;
    bytes += operation->load.bytes;
  }
  return tasks == 0 || (tasks + next.load.tasks <= tasks_max && bytes + next.load.bytes <= bytes_max);
}

template <class Database>
void Lane<Database>::flush(std::span<Operation* const> operations) noexcept {
  std::vector<Operation*> rest;
  try {
    rest.assign(operations.begin(), operations.end());
    expire(rest);
    if (doubt_) resolve_earlier(rest);
    answer_from_memory(rest);
    answer_by_reading(rest);
    while (!rest.empty()) write_some(rest);
  } catch (const Failure& failure) {
    // One for each: they are thrown in threads of their own.
    for (Operation* const operation : rest)
      operation->error = std::make_exception_ptr(Database::to_error(failure, options_.where));
  } catch (...) {
    for (Operation* const operation : rest) operation->error = std::current_exception();
  }
}

template <class Database>
bool Lane<Database>::expire(std::vector<Operation*>& operations) const {
  const auto now = Steady::now();
  const std::size_t expired = std::erase_if(operations, [&](Operation* operation) {
    const auto deadline = operation->call->deadline;
    if (deadline == Steady::time_point{} || deadline > now) return false;
    operation->error = std::make_exception_ptr(
        Error{ErrorKind::timed_out, options_.where + " did not get to this call before its deadline"});
    return true;
  });
  return expired > 0;
}

template <class Database>
auto Lane<Database>::patience_of(std::span<Operation* const> operations) const -> Steady::time_point {
  auto until = Steady::now() + patience;
  for (const Operation* const operation : operations) {
    if (operation->call->deadline != Steady::time_point{}) until = std::min(until, operation->call->deadline);
  }
  return until;
}

template <class Database>
void Lane<Database>::answer_from_memory(std::vector<Operation*>& operations) {
  if (remembered_.empty()) return;
  std::erase_if(operations, [&](Operation* operation) {
    const auto found = remembered_.find(operation->call->session);
    if (found == remembered_.end() || operation->call->session == 0) return false;
    const bool repeated = found->second.number == operation->call->number;
    if (repeated) operation->answer = found->second.answer;
    remembered_.erase(found);  // Another number: the session has gone on.
    return repeated;
  });
}

template <class Database>
void Lane<Database>::answer_by_reading(std::vector<Operation*>& operations) {
  const auto writes = [](const Operation* operation) { return !operation->look; };
  if (operations.empty() || std::any_of(operations.begin(), operations.end(), writes)) return;
  const auto until = patience_of(operations);
  for (int tries = 0;; ++tries) {
    try {
      open(until);
      Scope scope{*db_, naming_, Scope::Mode::each, Database::opening_of_look()};
      std::erase_if(operations, [&](Operation* operation) { return operation->look(scope); });
      return;
    } catch (const Failure& failure) {
      if (give_up_after(failure, tries, until)) throw;
    }
  }
}

template <class Database>
void Lane<Database>::write_some(std::vector<Operation*>& operations) {
  const auto until = patience_of(operations);
  for (int tries = 0;; ++tries) {
    std::size_t done = 0;
    try {
      done = transaction(operations, tries > 0);
      operations.erase(operations.begin(), operations.begin() + static_cast<std::ptrdiff_t>(done));
      return;
    } catch (const Failure& failure) {
      if (doubt_) throw;
      if (!give_up_after(failure, tries, until)) continue;
      if (expire(operations)) return;  // The others may have more time.
      if (operations.size() == 1 || failure.lost()) throw;
    } catch (...) {
      if (db_) db_->rollback();
      if (operations.size() == 1) throw;
    }
    each_alone(operations);
    operations.clear();
    return;
  }
}

template <class Database>
bool Lane<Database>::give_up_after(const Failure& failure, int tries, Steady::time_point until) {
  if (Steady::now() >= until) return true;
  if (failure.lost()) {
    // It may have been cut while it was idle. A server that is away is the caller's to wait for.
    const bool had_one = db_ != nullptr;
    db_.reset();
    return !had_one || tries > 1 || failure.timed_out();
  }
  return !Database::may_succeed_again(failure, options_.waits_for_keys) || tries >= tries_max;
}

/// One of them may be to blame for what went wrong, which must not harm the others.
template <class Database>
void Lane<Database>::each_alone(std::span<Operation* const> operations) {
  for (Operation* const operation : operations) {
    try {
      std::vector<Operation*> one{operation};
      while (!one.empty()) write_some(one);
    } catch (const Failure& failure) {
      operation->error = std::make_exception_ptr(Database::to_error(failure, options_.where));
    } catch (...) {
      operation->error = std::current_exception();
    }
  }
}

/// Takes operations in order until all are written or the time is up, and returns how many.
template <class Database>
std::size_t Lane<Database>::transaction(std::span<Operation* const> operations, bool careful) {
  const auto patient = patience_of(operations);
  open(patient);
  number_ += 2;
  used_ = Steady::now();
  Write write{*db_, naming_, opening(operations), options_.number};
  if (careful) write.be_careful();
  const auto until = Steady::now() + time_max;
  bool gathered = false;
  for (const Operation* const operation : operations) {
    if (operation->gather) operation->gather(write);
    gathered = gathered || operation->gather;
  }
  std::size_t done = 0;
  while (done < operations.size() && (done == 0 || gathered || Steady::now() < until))
    operations[done++]->apply(write);
  write.finish();
  News news = write.news();
  try {
    write.commit();
  } catch (const Failure& failure) {
    if (failure.outcome() != Database::Outcome::unknown) throw;
    doubt_ = {number_, {}};
    for (const Operation* const operation : operations.first(done))
      doubt_->answers[operation->call->session] = {operation->call->number, operation->answer};
    const auto committed = resolve(patient);
    if (!committed) throw;
    doubt_.reset();
    if (!*committed) throw Database::undone(failure);
  }
  publish_(std::move(news), write.died());
  return done;
}

template <class Database>
std::optional<bool> Lane<Database>::resolve(Steady::time_point until) {
  for (auto pause = shortest_pause;; pause = std::min(2 * pause, longest_pause)) {
    try {
      open(until);
      return Database::void_number(*db_, session_, doubt_->number) == doubt_->number;
    } catch (const Failure&) {
      if (Steady::now() + pause >= until) return {};
    }
    std::this_thread::sleep_for(pause);
  }
}

template <class Database>
void Lane<Database>::resolve_earlier(std::vector<Operation*>& operations) {
  const auto committed = resolve(patience_of(operations));
  if (committed) {
    if (*committed) remembered_ = std::move(doubt_->answers);
    doubt_.reset();
    return;
  }
  for (Operation* const operation : operations) {
    const auto found = doubt_->answers.find(operation->call->session);
    const bool repeated = found != doubt_->answers.end() && found->second.number == operation->call->number;
    operation->error = std::make_exception_ptr(
        repeated ? Error{ErrorKind::unknown_outcome, options_.where + " still can't be asked about this call"}
                 : Error{ErrorKind::unavailable, options_.where + " can't be reached"});
  }
  operations.clear();
}

template <class Database>
auto Lane<Database>::opening(std::span<Operation* const> operations) const -> Batch {
  Batch batch;
  batch.add(Database::move_session, session_, number_);
  const auto syncs = [](const Operation* operation) { return operation->load.sync; };
  const bool sync = std::any_of(operations.begin(), operations.end(), syncs);
  batch.append(Database::settings_of_write(options_.waits_for_keys, sync));
  return batch;
}

template <class Database>
void Lane<Database>::open(Steady::time_point until) {
  if (db_ && !db_->usable()) db_.reset();
  const bool fresh = !db_;
  if (fresh) db_ = std::make_unique<Connection>(options_.server, "tidemill", until);
  db_->give_up_at(until);
  if (fresh) Database::set_up_writer(*db_, options_.waits_for_keys);
  if (fresh || Steady::now() - used_ > idle_max) {
    db_->run(Database::put_session, session_);
    used_ = Steady::now();
  }
}

}  // namespace tidemill::sql_store
