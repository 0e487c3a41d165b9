#include "stores/mysql/keyed.hpp"

#include <algorithm>
#include <set>

#include "stores/sql/keyed.hpp"

namespace tidemill::mysql_store {

namespace {

// A key whose window has run out is anybody's. `until` comes last, as what follows an assignment sees it.
constexpr Sql take_keys{
    "INSERT INTO main.key (queue, unique_key, id, seq, until, length, outlives) VALUES $1 ON DUPLICATE KEY "
    "UPDATE id = IF(until <= $2, VALUES(id), id), seq = IF(until <= $2, VALUES(seq), seq), length = IF(until "
    "<= $2, VALUES(length), length), outlives = IF(until <= $2, VALUES(outlives), outlives), until = "
    "IF(until <= $2, VALUES(until), until)"};
constexpr char taken_keys[] =
    "$1 AS t STRAIGHT_JOIN main.key k FORCE INDEX (PRIMARY) ON k.queue = t.queue AND k.unique_key = "
    "t.unique_key AND k.seq = $2";
constexpr auto get_taken_text = join("SELECT t.n FROM ", taken_keys);
constexpr Sql get_taken{get_taken_text.data()};
constexpr auto give_text =
    join("UPDATE ", taken_keys,
         " STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND j.id = t.id SET k.seq = j.seq");
constexpr Sql give_keys{give_text.data()};
constexpr auto drop_text = join("DELETE k FROM ", taken_keys);
constexpr Sql drop_keys{drop_text.data()};
constexpr auto lock_text = join("SELECT ", job_columns, " FROM main.job j WHERE j.seq = $1 FOR UPDATE");
constexpr Sql lock_key{
    "SELECT 1 FROM main.key WHERE queue = $1 AND unique_key = $2 AND seq = $3 AND (until IS NULL OR until > "
    "$4) FOR UPDATE"};
constexpr Sql add_member{
    "INSERT INTO main.member (queue, name, holder, at, seq) VALUES ($1, $2, $3, $4, $5)"};
constexpr Sql renew_held{
    "UPDATE main.key SET until = $3, length = $4, outlives = $5 WHERE queue = $1 AND unique_key = $2"};
constexpr char holders_text[] =
    "SELECT t.n, k.id, k.seq, j.line, j.attempt, j.crashes, k.outlives FROM $1 AS t STRAIGHT_JOIN main.key k "
    "FORCE INDEX (PRIMARY) ON k.queue = t.queue AND k.unique_key = t.unique_key LEFT JOIN main.job j ON "
    "j.seq = k.seq WHERE k.until IS NULL OR k.until > $2";
// As they are now: a caller's transaction sees all else as it was when that began.
constexpr auto holders_now_text = join(holders_text, " LOCK IN SHARE MODE");

}  // namespace

const sql_store::KeyStatements Mysql::keys{
    .has_ids = {"SELECT t.n FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND "
                "j.id = t.id"},
    .get_holders = {holders_text},
    .get_holders_now = {holders_now_text.data()},
    .lock_task = {lock_text.data()},
    .overwrite = {"UPDATE main.job SET line = $2, at = $3, since = $3, was_due = NULL, kind = $4, payload = "
                  "$5, priority = $6, retries_max = $7, crashes_max = $8, timeout = $9, retention = $10, "
                  "deadline = $11, expires_at = $12, task_group = $13, headers = $14 WHERE seq = $1"},
    .get_schedule = {"SELECT next, paused FROM main.schedule WHERE id = $1 FOR UPDATE"},
    .move_schedule = {"UPDATE main.schedule SET next = $2, last = $3 WHERE id = $1"},
};

bool Mysql::renew_key(Write& write, const Entry& entry, std::int64_t holder, TimePoint now) {
  const Unique& unique = *entry.task->unique;
  if (!write.any(lock_key, entry.queue, Blob{unique.key}, holder, stored(now))) return false;
  write.tell(renew_held, entry.queue, Blob{unique.key}, sql_store::until_of(unique, now),
             stored(unique.window), unique.outlives_task);
  return true;
}

void Mysql::join_members(Write& write, const Entry& entry, std::int64_t seq, TimePoint at) {
  write.tell(add_member, entry.queue, Blob{entry.task->group}, no_claim, stored(at), seq);
}

/// What `taken_keys` joins.
KeyTaking::Keys KeyTaking::keys_of(const std::vector<Entry*>& entries) {
  Keys keys;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Task& task = *entries[i]->task;
    keys.add(i, entries[i]->queue, Blob{task.unique->key}, Blob{stored_id(task.ref.id)});
  }
  return keys;
}

void KeyTaking::take(std::vector<Entry*> entries, std::vector<Entry*>& to, std::vector<Entry*>& again) {
  // In the order in which everybody takes keys, so that no two wait for each other.
  std::ranges::sort(entries, [](const Entry* a, const Entry* b) {
    return std::pair{a->queue, std::string_view{a->task->unique->key}} <
           std::pair{b->queue, std::string_view{b->task->unique->key}};
  });
  Rows rows;
  for (const Entry* const entry : entries) {
    const Unique& unique = *entry->task->unique;
    rows.add(entry->queue, Blob{unique.key}, Blob{stored_id(entry->task->ref.id)}, mark_,
             sql_store::until_of(unique, now_), stored(unique.window), unique.outlives_task);
  }
  Batch batch;
  batch.add(take_keys, rows, stored(now_));
  batch.add(get_taken, keys_of(entries), mark_);
  auto row = std::move(write_.ask_all(std::move(batch)).back());
  std::set<std::int64_t> taken;
  while (row.step()) taken.insert(row.integer(0));
  for (std::size_t i = 0; i < entries.size(); ++i)
    (taken.contains(static_cast<std::int64_t>(i)) ? to : again).push_back(entries[i]);
}

void KeyTaking::settle(const std::vector<Entry*>& entries) {
  std::vector<Entry*> made, failed;
  for (Entry* const entry : entries) {
    if (entry->task->unique) (entry->answer.put == Put::created ? made : failed).push_back(entry);
  }
  if (!failed.empty()) write_.tell(drop_keys, keys_of(failed), mark_);
  if (!made.empty()) write_.tell(give_keys, keys_of(made), mark_);
}

}  // namespace tidemill::mysql_store
