#include "stores/sqlite/lane.hpp"

#include <sqlite3.h>

#include <algorithm>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::sqlite_store {

namespace {

// What one transaction may take: enough that the cost of a commit is spread thin, and so little that a
// renewal that waits for it is not late.
constexpr std::size_t tasks_max = 1000;
constexpr std::size_t bytes_max = 1U << 20U;
constexpr auto time_max = std::chrono::milliseconds{50};

constexpr sqlite::Sql data_version{"PRAGMA main.data_version"};
constexpr sqlite::Sql get_signals{"SELECT value FROM main.tidemill_meta WHERE name = 'signals'"};

}  // namespace

std::unique_ptr<sqlite::Connection> open_connection(const std::string& path,
                                                    const sqlite::ConnectionOptions& options) {
  try {
    auto db = std::make_unique<sqlite::Connection>(path, options);
    // secure_delete overwrites what is deleted with zeros, and some distributions turn it on: it doubles what
    // a report writes. The log may keep 64 MiB after a burst, instead of all that it ever had.
    db->execute(
        "PRAGMA main.secure_delete = off; PRAGMA main.cache_size = -32768; PRAGMA main.wal_autocheckpoint = "
        "4000; "
        "PRAGMA main.journal_size_limit = 67108864; PRAGMA temp_store = memory");
    return db;
  } catch (const sqlite::Failure& failure) {
    throw to_error(failure, path);
  }
}

Error to_error(const sqlite::Failure& failure, const std::string& path) {
  const auto text = [&](std::string_view what) {
    return fmt::format("{} {} ({})", path, what, failure.what());
  };
  switch (failure.code()) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorKind::timed_out, text("stayed locked by another writer. If this thread has a "
                                         "transaction open on the same file, hand it "
                                         "over (enqueue(SqliteTransaction{db}, …)) or end it first; a call "
                                         "without it waits for itself")};
    case SQLITE_FULL:
      return {ErrorKind::unavailable, text("can't grow: the disk is full; nothing was written")};
    case SQLITE_IOERR:
      return {ErrorKind::unavailable, text("can't be read or written; nothing was written")};
    case SQLITE_CANTOPEN:
      return {ErrorKind::unavailable,
              text("can't be opened: its directory must exist, and file and directory must be writable")};
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return {ErrorKind::unavailable, text("is read-only: file and directory must be writable for this user, "
                                           "as the log lies beside the file")};
    case SQLITE_NOTADB:
      return {ErrorKind::corrupt,
              text("is no SQLite database: give the path of one, or of a file that is not there yet")};
    case SQLITE_CORRUPT:
      return {ErrorKind::corrupt,
              text("is damaged: check it with `PRAGMA integrity_check`, and restore a backup")};
    case SQLITE_NOMEM:
      return {ErrorKind::unavailable, text("could not be used: no memory is left")};
    case SQLITE_TOOBIG:
      return {ErrorKind::invalid, text("can't take a value of this size")};
    default:
      return {ErrorKind::corrupt, text("refused a statement")};
  }
}

Lane::Lane(Options options, NameCache& cache, Hub& hub)
    : options_(std::move(options)),
      cache_(cache),
      hub_(hub),
      group_([this](std::span<Operation* const> operations) { flush(operations); }, &Lane::fits) {
  open();
  notice_foreign_writes();
}

void Lane::run(Operation operation) {
  group_.run(operation, operation.urgent);
  if (operation.error) std::rethrow_exception(operation.error);
}

/// The first that brings tasks fits always, so whoever leads finds his own operation among those that he
/// takes.
bool Lane::fits(std::span<Operation* const> gathered, const Operation& next) {
  std::size_t tasks = 0;
  std::size_t bytes = 0;
  for (const Operation* const operation : gathered) {
    tasks += operation->tasks;
    bytes += operation->bytes;
  }
  return tasks == 0 || (tasks + next.tasks <= tasks_max && bytes + next.bytes <= bytes_max);
}

void Lane::flush(std::span<Operation* const> operations) noexcept {
  std::vector<Operation*> rest;
  try {
    rest.assign(operations.begin(), operations.end());
    expire(rest);
    patience_end_ = Steady::now() + options_.busy_timeout;
    if (!db_) open();
    answer_by_reading(rest);
    while (!rest.empty()) write_some(rest);
  } catch (const sqlite::Failure& failure) {
    // One for each: they are thrown in threads of their own.
    for (Operation* const operation : rest)
      operation->error = std::make_exception_ptr(to_error(failure, options_.path));
    recover(failure);
  } catch (...) {
    for (Operation* const operation : rest) operation->error = std::current_exception();
  }
}

bool Lane::expire(std::vector<Operation*>& operations) const {
  const auto now = Steady::now();
  const std::size_t expired = std::erase_if(operations, [&](Operation* operation) {
    if (operation->deadline == Steady::time_point{} || operation->deadline > now) return false;
    operation->error = std::make_exception_ptr(Error{
        ErrorKind::timed_out, fmt::format("{} did not get to this call before its deadline", options_.path)});
    return true;
  });
  return expired > 0;
}

void Lane::answer_by_reading(std::vector<Operation*>& operations) {
  const auto writes = [](const Operation* operation) { return !operation->read; };
  if (operations.empty() || std::any_of(operations.begin(), operations.end(), writes)) return;
  db_->give_up_at(patience_end_);
  db_->execute("BEGIN");
  try {
    std::erase_if(operations, [&](Operation* operation) { return operation->read(*write_); });
  } catch (...) {
    roll_back();
    throw;
  }
  db_->execute("COMMIT");
}

void Lane::write_some(std::vector<Operation*>& operations) {
  std::size_t done = operations.size();
  try {
    done = transaction(operations);
  } catch (const sqlite::Failure& failure) {
    roll_back();
    if (failure.code() == SQLITE_BUSY && expire(operations)) return;  // The others may have more time.
    if (operations.size() == 1 || failure.code() == SQLITE_BUSY) throw;
    each_alone(operations);
  } catch (...) {
    roll_back();
    if (operations.size() == 1) throw;
    each_alone(operations);
  }
  operations.erase(operations.begin(), operations.begin() + static_cast<std::ptrdiff_t>(done));
}

/// One of them may be to blame for what went wrong, which must not harm the others.
void Lane::each_alone(std::span<Operation* const> operations) {
  for (Operation* const& operation : operations) {
    try {
      if (!db_) open();
      transaction({&operation, 1});
    } catch (const sqlite::Failure& failure) {
      roll_back();
      operation->error = std::make_exception_ptr(to_error(failure, options_.path));
      recover(failure);
    } catch (...) {
      roll_back();
      operation->error = std::current_exception();
    }
  }
}

/// Takes operations in order until all are written or the time is up, and returns how many.
std::size_t Lane::transaction(std::span<Operation* const> operations) {
  set_sync(std::any_of(operations.begin(), operations.end(), [](const Operation* o) { return o->sync; }));
  begin(operations);
  const auto until = Steady::now() + time_max;
  std::size_t done = 0;
  while (done < operations.size() && (done == 0 || Steady::now() < until)) operations[done++]->apply(*write_);
  write_->finish();
  db_->execute("COMMIT");
  publish();
  return done;
}

/// What has been committed must not be taken for failed, and written again, because of what comes after it.
void Lane::publish() noexcept {
  try {
    hub_.publish(write_->committed());
  } catch (...) {
    write_->rolled_back();  // No memory: names are looked up again, and waiters wake at their time-outs.
  }
}

/// Gives up when the first of the callers must.
void Lane::begin(std::span<Operation* const> operations) {
  auto until = patience_end_;
  for (const Operation* const operation : operations) {
    if (operation->deadline != Steady::time_point{}) until = std::min(until, operation->deadline);
  }
  db_->give_up_at(until);
  db_->execute("BEGIN IMMEDIATE");
  if (hub_.watched()) notice_foreign_writes();
}

void Lane::roll_back() noexcept {
  if (!db_) return;
  try {
    if (db_->in_transaction()) db_->execute("ROLLBACK");
  } catch (const sqlite::Failure&) {
    // SQLite has rolled back by itself, or the connection is lost: `recover` replaces it.
  }
  write_->rolled_back();
}

void Lane::open() {
  write_.reset();
  db_ = open_connection(options_.path, {.busy_timeout = options_.busy_timeout});
  write_ = std::make_unique<Write>(*db_, cache_, true);
  synced_.reset();
  data_version_.reset();
  log_header_.reset();
}

/// NORMAL leaves out the sync at each commit, but not the order of commits: what is lost in a power failure
/// is the last of them.
void Lane::set_sync(bool full) {
  full = full && options_.full_sync;
  if (synced_ == full) return;
  db_->execute(full ? "PRAGMA main.synchronous = full" : "PRAGMA main.synchronous = normal");
  synced_ = full;
}

/// data_version changes when another connection has written: another process, the application's own
/// transaction, a plain INSERT. Its numbers mean nothing on a new connection, so at first all there is counts
/// as seen. To read it takes locks; while nobody has committed at all, the log's header spares that.
void Lane::notice_foreign_writes() {
  if (data_version_) {
    const auto header = db_->log_header();
    if (header && header == log_header_) return;
    log_header_ = header;
  }
  std::int64_t version = 0;
  {
    auto row = db_->query(data_version);
    row.step();
    version = row.integer(0);
  }
  if (version == data_version_) return;
  const bool first = !data_version_;
  auto row = db_->query(get_signals);
  const std::int64_t signals = row.step() ? row.integer(0) : 0;
  if (!first) hub_.foreign(signals != signals_);
  data_version_ = version;
  signals_ = signals;
}

void Lane::look() noexcept {
  group_.try_alone([this] {
    try {
      if (!db_) open();
      notice_foreign_writes();
    } catch (...) {
      // Whoever writes next meets the same and has a caller to tell.
    }
  });
}

/// After a failed read or write nothing that the connection holds in memory can be trusted.
void Lane::recover(const sqlite::Failure& failure) {
  if (failure.code() != SQLITE_IOERR && failure.code() != SQLITE_CORRUPT && failure.code() != SQLITE_NOTADB)
    return;
  write_.reset();
  db_.reset();
}

}  // namespace tidemill::sqlite_store
