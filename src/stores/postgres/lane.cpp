#include "stores/postgres/lane.hpp"

#include <algorithm>
#include <thread>

#include "core/uuid.hpp"
#include "stores/postgres/errors.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

// What one transaction may take: enough that the cost of a commit is spread thin, and so little that what
// waits for it is not late.
constexpr std::size_t tasks_max = 1000;
constexpr std::size_t bytes_max = 1U << 20U;
constexpr auto time_max = 50ms;
/// How long a call without a deadline waits for the server.
constexpr auto patience = 10s;
/// How often a transaction that met a deadlock or the like is begun again.
constexpr int tries_max = 20;
/// How long the lane may be idle before its session's row is written anew: sweeps delete those that nobody
/// has used for a day.
constexpr auto idle_max = 1h;
constexpr Sql put_session_sql{
    "INSERT INTO main.tidemill_session (id, number, used_at) VALUES ($1, 0, now()) ON CONFLICT (id) DO "
    "UPDATE SET used_at = now()"};
// NULL, which is refused, where the number is not less: somebody has resolved this transaction meanwhile.
constexpr Sql next_number{
    "UPDATE main.tidemill_session SET number = CASE WHEN number < $2 THEN $2 END, used_at = now() "
    "WHERE id = $1"};
constexpr Sql void_number{
    "UPDATE main.tidemill_session SET number = CASE WHEN number < $2 THEN $2 + 1 ELSE number END "
    "WHERE id = $1 RETURNING number"};
constexpr Sql no_sync{"SELECT set_config('synchronous_commit', 'off', true)"};
constexpr Sql wait_shortly{"SELECT set_config('lock_timeout', '2s', true)"};

}  // namespace

Lane::Lane(Options options, Naming& naming, Publish publish)
    : options_(std::move(options)),
      naming_(naming),
      publish_(std::move(publish)),
      session_(static_cast<std::int64_t>(random_bits() >> 1U)),
      group_([this](std::span<Operation* const> operations) { flush(operations); }, &Lane::fits) {}

void Lane::submit(Operation& operation) {
  group_.run(operation, operation.load.urgent);
  if (operation.error) std::rethrow_exception(operation.error);
}

/// The first that brings tasks fits always, so whoever leads finds his own operation among those that he
/// takes.
bool Lane::fits(std::span<Operation* const> gathered, const Operation& next) {
  std::size_t tasks = 0;
  std::size_t bytes = 0;
  for (const Operation* const operation : gathered) {
    tasks += operation->load.tasks;
    bytes += operation->load.bytes;
  }
  return tasks == 0 || (tasks + next.load.tasks <= tasks_max && bytes + next.load.bytes <= bytes_max);
}

void Lane::flush(std::span<Operation* const> operations) noexcept {
  std::vector<Operation*> rest;
  try {
    rest.assign(operations.begin(), operations.end());
    expire(rest);
    if (doubt_) resolve_earlier(rest);
    answer_from_memory(rest);
    answer_by_reading(rest);
    while (!rest.empty()) write_some(rest);
  } catch (const postgres::Failure& failure) {
    // One for each: they are thrown in threads of their own.
    for (Operation* const operation : rest)
      operation->error = std::make_exception_ptr(to_error(failure, options_.where));
  } catch (...) {
    for (Operation* const operation : rest) operation->error = std::current_exception();
  }
}

bool Lane::expire(std::vector<Operation*>& operations) const {
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

Lane::Steady::time_point Lane::patience_of(std::span<Operation* const> operations) const {
  auto until = Steady::now() + patience;
  for (const Operation* const operation : operations) {
    if (operation->call->deadline != Steady::time_point{}) until = std::min(until, operation->call->deadline);
  }
  return until;
}

void Lane::answer_from_memory(std::vector<Operation*>& operations) {
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

void Lane::answer_by_reading(std::vector<Operation*>& operations) {
  const auto writes = [](const Operation* operation) { return !operation->look; };
  if (operations.empty() || std::any_of(operations.begin(), operations.end(), writes)) return;
  const auto until = patience_of(operations);
  for (int tries = 0;; ++tries) {
    try {
      open(until);
      Batch settings;
      settings.add(plan_by_index);
      Scope scope{*db_, naming_, Scope::Mode::each, settings};
      std::erase_if(operations, [&](Operation* operation) { return operation->look(scope); });
      return;
    } catch (const postgres::Failure& failure) {
      if (give_up_after(failure, tries, until)) throw;
    }
  }
}

void Lane::write_some(std::vector<Operation*>& operations) {
  const auto until = patience_of(operations);
  for (int tries = 0;; ++tries) {
    std::size_t done = 0;
    try {
      done = transaction(operations);
      operations.erase(operations.begin(), operations.begin() + static_cast<std::ptrdiff_t>(done));
      return;
    } catch (const postgres::Failure& failure) {
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

bool Lane::give_up_after(const postgres::Failure& failure, int tries, Steady::time_point until) {
  if (Steady::now() >= until) return true;
  if (failure.lost()) {
    // It may have been cut while it was idle. A server that is away is the caller's to wait for.
    const bool had_one = db_ != nullptr;
    db_.reset();
    return !had_one || tries > 1 || failure.timed_out();
  }
  // A unique violation is another's commit between look and write.
  if (!(failure.retryable() && failure.state() != lock_not_available) && failure.state() != unique_violation)
    return true;
  return tries >= tries_max;
}

/// One of them may be to blame for what went wrong, which must not harm the others.
void Lane::each_alone(std::span<Operation* const> operations) {
  for (Operation* const operation : operations) {
    try {
      std::vector<Operation*> one{operation};
      while (!one.empty()) write_some(one);
    } catch (const postgres::Failure& failure) {
      operation->error = std::make_exception_ptr(to_error(failure, options_.where));
    } catch (...) {
      operation->error = std::current_exception();
    }
  }
}

/// Takes operations in order until all are written or the time is up, and returns how many.
std::size_t Lane::transaction(std::span<Operation* const> operations) {
  const auto patient = patience_of(operations);
  open(patient);
  number_ += 2;
  used_ = Steady::now();
  Write write{*db_, naming_, opening(operations), options_.number};
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
  } catch (const postgres::Failure& failure) {
    if (failure.outcome() != postgres::Outcome::unknown) throw;
    doubt_ = {number_, {}};
    for (const Operation* const operation : operations.first(done))
      doubt_->answers[operation->call->session] = {operation->call->number, operation->answer};
    const auto committed = resolve(patient);
    if (!committed) throw;
    doubt_.reset();
    if (!*committed) throw postgres::Failure{postgres::Outcome::undone, "", failure.what()};
  }
  publish_(std::move(news), write.died());
  return done;
}

std::optional<bool> Lane::resolve(Steady::time_point until) {
  for (auto pause = 10ms;; pause = std::min(2 * pause, 500ms)) {
    try {
      open(until);
      auto row = db_->query(void_number, session_, doubt_->number);
      return row.step() && row.integer(0) == doubt_->number;
    } catch (const postgres::Failure&) {
      if (Steady::now() + pause >= until) return {};
    }
    std::this_thread::sleep_for(pause);
  }
}

void Lane::resolve_earlier(std::vector<Operation*>& operations) {
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

Batch Lane::opening(std::span<Operation* const> operations) const {
  Batch batch;
  batch.add(next_number, session_, number_);
  batch.add(plan_by_index);
  if (options_.waits_for_keys) batch.add(wait_shortly);
  const auto syncs = [](const Operation* operation) { return operation->load.sync; };
  if (std::none_of(operations.begin(), operations.end(), syncs)) batch.add(no_sync);
  return batch;
}

void Lane::open(Steady::time_point until) {
  if (db_ && !db_->usable()) db_.reset();
  const bool fresh = !db_;
  if (fresh) db_ = std::make_unique<postgres::Connection>(options_.server, "tidemill", until);
  db_->give_up_at(until);
  if (fresh || Steady::now() - used_ > idle_max) {
    db_->run(put_session_sql, session_);
    used_ = Steady::now();
  }
}

}  // namespace tidemill::postgres_store
