#include "gateways/persistent_queue/jobs.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "gateways/persistent_queue/rows.hpp"
#include "gateways/persistent_queue/texts.hpp"

namespace tidemill::persistent_queue {

namespace {

constexpr std::int64_t second = 1'000'000;
constexpr std::int64_t kept_for = 7LL * 24 * 3600;

constexpr auto look_text = sql::join("SELECT IFNULL((SELECT MAX(id) FROM async_job_tab), 0), ", now_us);
constexpr auto load_text =
    sql::join("SELECT j.id, IFNULL(j.start_time, 0), IFNULL(s.next_due, 0), j.create_time, ", now_us,
              " FROM ", both_if_any,
              " WHERE j.job_type = ? AND (GREATEST(j.create_time, IFNULL(j.start_time, 0)) >= ? OR j.id > ?) "
              "AND IFNULL(s.next_due, 0) <= ",
              now_us, " + ? AND ");
constexpr auto read_text = sql::join(
    "SELECT j.id, j.params, IFNULL(j.start_time, 0), j.create_time, IFNULL(s.attempts, 0), "
    "IFNULL(s.retries, 0), IFNULL(s.deferrals, 0), IFNULL(s.next_due, 0) FROM ",
    both_if_any, " WHERE j.id IN (");
constexpr auto still_due_text = sql::join(
    ") AND j.job_type = ? AND IFNULL(j.job_status, 0) = 0 AND IFNULL(j.start_time, 0) <= UNIX_TIMESTAMP() "
    "AND IFNULL(s.next_due, 0) <= ",
    now_us);
constexpr auto mark_text =
    sql::join("UPDATE ", both, " SET j.job_status = 3, j.update_time = UNIX_TIMESTAMP()");
constexpr auto ours_text = sql::join("SELECT j.id FROM ", both);
constexpr auto end_text = sql::join(
    "UPDATE ", both,
    " SET j.job_status = ?, j.update_time = IF(? = 0, j.update_time, UNIX_TIMESTAMP()), s.owner = '', "
    "s.attempts = ?, s.retries = ?, s.deferrals = ?, s.next_due = IF(? = 0, 0, ",
    now_us,
    " + ?), s.last_error = ?, s.updated_at = IF(? = 1, 0, UNIX_TIMESTAMP()) "
    "WHERE j.id = ? AND IFNULL(j.job_status, 0) = ? AND s.owner = ? AND s.epoch = ?");
constexpr auto ended_text =
    sql::join("SELECT IFNULL(j.job_status, 0), s.owner, s.epoch, s.attempts, s.retries, s.deferrals FROM ",
              both_if_any, " WHERE j.id = ?");
constexpr auto reap_text = sql::join(
    "UPDATE ", both_if_any,
    " SET j.job_status = 0 WHERE j.job_type = ? AND j.job_status = 3 AND (s.job_id IS NULL OR s.epoch <= ?)");

// A part each, so that each reads from one place of the index in its order.
constexpr const char* at_once = "j.job_status = 0 AND j.start_time = 0 ORDER BY j.id";
constexpr const char* timed =
    "j.job_status = 0 AND j.start_time BETWEEN 1 AND UNIX_TIMESTAMP() + ? ORDER BY j.start_time, j.id";
constexpr const char* with_nulls =
    "((j.job_status IS NULL AND IFNULL(j.start_time, 0) <= UNIX_TIMESTAMP() + ?) OR "
    "(j.job_status = 0 AND j.start_time IS NULL)) ORDER BY j.id";

TimePoint time_at(std::int64_t unix_seconds) { return TimePoint{std::chrono::seconds{unix_seconds}}; }

std::vector<SqlValue> values_of(std::span<const std::uint64_t> ids) {
  std::vector<SqlValue> values;
  values.reserve(ids.size() + 4);
  for (const std::uint64_t id : ids) values.emplace_back(static_cast<std::int64_t>(id));
  return values;
}

}  // namespace

Task task_of(const SqlRow& row, std::int32_t type) {
  Task task;
  task.ref.id = text_of(row, 0);
  task.kind = kind_name(type);
  task.payload = text_of(row, 1);
  const std::int64_t start = integer_of(row, 2);
  const std::int64_t due = std::max(start * second, integer_of(row, 7));
  if (due > 0) task.run_at = TimePoint{Duration{due}};
  task.headers["start_time"] = std::to_string(start);
  task.created_at = time_at(integer_of(row, 3));
  task.attempt = static_cast<std::int32_t>(integer_of(row, 4));
  task.retries = static_cast<std::int32_t>(integer_of(row, 5));
  task.deferrals = static_cast<std::int32_t>(integer_of(row, 6));
  task.state = State::active;
  return task;
}

Jobs::Look Jobs::look() {
  const SqlRow row = db_.query(look_text.data()).at(0);
  return {static_cast<std::uint64_t>(integer_of(row, 0)), integer_of(row, 1)};
}

// ---- Loading

std::vector<Waiting> Jobs::load(const Horizon& horizon, Duration ahead, std::size_t limit) {
  std::vector<Waiting> found;
  for (const char* const which : {at_once, timed, with_nulls}) load_part(which, horizon, ahead, limit, found);
  std::ranges::sort(found, {}, [](const Waiting& each) { return std::pair{each.order, each.id}; });
  if (found.size() > limit) found.resize(limit);
  return found;
}

void Jobs::load_part(const char* which, const Horizon& horizon, Duration ahead, std::size_t limit,
                     std::vector<Waiting>& to) {
  std::vector<SqlValue> values{std::int64_t{type_}, horizon.since,
                               static_cast<std::int64_t>(horizon.after_id), ahead.count()};
  if (which != at_once) values.emplace_back(ahead.count() / second);
  values.emplace_back(static_cast<std::int64_t>(limit));
  for (const SqlRow& row : db_.query(std::string{load_text.data()} + which + " LIMIT ?", values)) {
    Waiting one{.id = static_cast<std::uint64_t>(integer_of(row, 0)), .with_null = which == with_nulls};
    one.due = std::max(integer_of(row, 1) * second, integer_of(row, 2));
    one.order = one.due > 0 ? one.due : std::min(integer_of(row, 3) * second, integer_of(row, 4));
    to.push_back(one);
  }
}

// ---- Claiming

std::vector<Task> Jobs::claim(std::span<const std::uint64_t> ids, const Claimant& claimant) {
  if (ids.empty()) return {};
  std::vector<SqlValue> values = values_of(ids);
  values.emplace_back(std::int64_t{type_});
  // A row that is to be marked and that somebody has locked is left out: the mark would wait for it, and all
  // others with it.
  const std::string text = read_text.data() + marks(ids.size()) + still_due_text.data() +
                           (mode_ == ClaimMode::mark ? " FOR UPDATE SKIP LOCKED" : "");
  const std::vector<SqlRow> rows = db_.query(text, values);
  std::vector<Task> tasks;
  for (const SqlRow& row : rows) tasks.push_back(task_of(row, type_));
  if (tasks.empty()) return {};

  std::string claims;
  values.clear();
  for (const Task& task : tasks) {
    claims += claims.empty() ? "" : ", ";
    claims += fmt::format("({}, {}, ?, {}, UNIX_TIMESTAMP())", task.ref.id, type_, claimant.epoch);
    values.emplace_back(claimant.owner);
  }
  // A leader that woke up too late does not overwrite what the next one has claimed.
  db_.execute("INSERT INTO tidemill_async_job (job_id, job_type, owner, epoch, updated_at) VALUES " + claims +
                  " ON DUPLICATE KEY UPDATE owner = IF(epoch <= VALUES(epoch), VALUES(owner), owner), "
                  "epoch = GREATEST(epoch, VALUES(epoch)), updated_at = UNIX_TIMESTAMP()",
              values);
  const std::unordered_set<std::uint64_t> claimed = ours(tasks, claimant);
  std::erase_if(tasks, [&](const Task& task) { return !claimed.contains(std::stoull(task.ref.id)); });
  return tasks;
}

/// Marks them if they are to be marked. Those that are the claimant's now, and that nobody has ended
/// meanwhile.
std::unordered_set<std::uint64_t> Jobs::ours(std::span<const Task> tasks, const Claimant& claimant) {
  std::vector<std::uint64_t> ids;
  for (const Task& task : tasks) ids.push_back(std::stoull(task.ref.id));
  std::vector<SqlValue> values = values_of(ids);
  values.emplace_back(claimant.owner);
  values.emplace_back(static_cast<std::int64_t>(claimant.epoch));
  const std::string which = " WHERE j.id IN (" + marks(ids.size()) +
                            ") AND s.owner = ? AND s.epoch = ? AND IFNULL(j.job_status, 0) = ";
  if (mode_ == ClaimMode::mark) db_.execute(mark_text.data() + which + "0", values);
  const std::string status = mode_ == ClaimMode::mark ? "3" : "0";
  std::unordered_set<std::uint64_t> found;
  for (const SqlRow& row : db_.query(ours_text.data() + which + status, values))
    found.insert(static_cast<std::uint64_t>(integer_of(row, 0)));
  return found;
}

// ---- Ending

Jobs::Ended Jobs::end(std::uint64_t id, const Claimant& claimant, const Ending& ending) {
  const auto number = [](auto value) { return SqlValue{static_cast<std::int64_t>(value)}; };
  const std::vector<SqlValue> values{number(ending.status),
                                     number(ending.status),
                                     number(ending.attempts),
                                     number(ending.retries),
                                     number(ending.deferrals),
                                     number(ending.delay),
                                     number(ending.delay),
                                     SqlValue{ending.error},
                                     number(ending.status),
                                     number(id),
                                     number(mode_ == ClaimMode::mark ? 3 : 0),
                                     SqlValue{claimant.owner},
                                     number(claimant.epoch)};
  if (db_.execute(end_text.data(), values) > 0) return Ended::written;
  const SqlValue key = number(id);
  const std::vector<SqlRow> rows = db_.query(ended_text.data(), {&key, 1});
  if (rows.empty()) return Ended::ended;
  const auto is = [&](std::size_t column, auto value) {
    return integer_of(rows[0], column) == static_cast<std::int64_t>(value);
  };
  // Nobody else writes our term's number, so then it is this very write, whose answer was lost.
  const bool by_us = rows[0][1] == "" && is(0, ending.status) && is(2, claimant.epoch) &&
                     is(3, ending.attempts) && is(4, ending.retries) && is(5, ending.deferrals);
  if (by_us) return Ended::written;
  return is(0, 1) || is(0, 2) ? Ended::ended : Ended::lost;
}

void together(const SqlHandle& db, const std::function<void()>& write) {
  const auto lock = db.lock();
  db.execute("START TRANSACTION");
  try {
    write();
    db.execute("COMMIT");
  } catch (...) {
    try {
      db.execute("ROLLBACK");
    } catch (const std::exception&) {
      // The connection is gone, and the transaction with it.
    }
    throw;
  }
}

// ---- After others

std::int64_t Jobs::reap(std::uint64_t epoch, std::span<const std::uint64_t> but) {
  if (mode_ != ClaimMode::mark) return 0;
  std::vector<SqlValue> values = values_of(but);
  values.insert(values.begin(), {SqlValue{std::int64_t{type_}}, SqlValue{static_cast<std::int64_t>(epoch)}});
  const std::string others = but.empty() ? "" : " AND j.id NOT IN (" + marks(but.size()) + ")";
  return db_.execute(reap_text.data() + others, values);
}

std::int64_t Jobs::clean(std::size_t limit) {
  const std::vector<SqlValue> values{SqlValue{std::int64_t{type_}}, SqlValue{kept_for},
                                     SqlValue{static_cast<std::int64_t>(limit)}};
  const std::vector<SqlRow> rows = db_.query(
      "SELECT s.job_id FROM tidemill_async_job s LEFT JOIN async_job_tab j ON j.id = s.job_id "
      "WHERE s.job_type = ? AND s.updated_at < UNIX_TIMESTAMP() - ? AND "
      "(j.id IS NULL OR j.job_status IN (1, 2)) LIMIT ?",
      values);
  if (rows.empty()) return 0;
  std::vector<SqlValue> ids;
  for (const SqlRow& row : rows) ids.emplace_back(integer_of(row, 0));
  return db_.execute("DELETE FROM tidemill_async_job WHERE job_id IN (" + marks(ids.size()) + ")", ids);
}

}  // namespace tidemill::persistent_queue
