// Tasks with unique keys, and those that schedules fire. A batch of them goes in waves, each without an id or
// a key that comes twice: the next wave sees what the one before did.
#include "stores/mysql/keyed.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/transitions.hpp"
#include "stores/mysql/database.hpp"
#include "stores/sql/task.hpp"

namespace tidemill::mysql_store {

namespace {

/// How often keys are looked up anew, because others took them or let them go between look and write.
constexpr int tries_max = 10;

constexpr Sql has_ids{
    "SELECT t.n FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND j.id = t.id"};
constexpr char holders_text[] =
    "SELECT t.n, k.id, k.seq, j.line, j.attempt, j.crashes, k.outlives FROM $1 AS t "
    "STRAIGHT_JOIN main.key k FORCE INDEX (PRIMARY) ON k.queue = t.queue AND k.unique_key = t.unique_key "
    "LEFT JOIN main.job j ON j.seq = k.seq WHERE k.until IS NULL OR k.until > $2";
constexpr Sql get_holders{holders_text};
// As they are now: a caller's transaction sees all else as it was when that began.
constexpr auto holders_now_text = join(holders_text, " LOCK IN SHARE MODE");
constexpr Sql get_holders_now{holders_now_text.data()};
// A key whose window has run out is anybody's. `until` comes last, as what follows an assignment sees it.
constexpr Sql take_keys{
    "INSERT INTO main.key (queue, unique_key, id, seq, until, length, outlives) VALUES $1 "
    "ON DUPLICATE KEY UPDATE id = IF(until <= $2, VALUES(id), id), seq = IF(until <= $2, VALUES(seq), seq), "
    "length = IF(until <= $2, VALUES(length), length), "
    "outlives = IF(until <= $2, VALUES(outlives), outlives), until = IF(until <= $2, VALUES(until), until)"};
constexpr char taken_keys[] =
    "$1 AS t STRAIGHT_JOIN main.key k FORCE INDEX (PRIMARY) ON k.queue = t.queue AND "
    "k.unique_key = t.unique_key AND k.seq = $2";
constexpr auto get_taken_text = join("SELECT t.n FROM ", taken_keys);
constexpr Sql get_taken{get_taken_text.data()};
constexpr auto give_text = join("UPDATE ", taken_keys,
                                " STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND "
                                "j.id = t.id SET k.seq = j.seq");
constexpr Sql give_keys{give_text.data()};
constexpr auto drop_text = join("DELETE k FROM ", taken_keys);
constexpr Sql drop_keys{drop_text.data()};

constexpr auto lock_text = join("SELECT ", job_columns, " FROM main.job j WHERE j.seq = $1 FOR UPDATE");
constexpr Sql lock_job{lock_text.data()};
constexpr Sql lock_key{
    "SELECT 1 FROM main.key WHERE queue = $1 AND unique_key = $2 AND seq = $3 AND "
    "(until IS NULL OR until > $4) FOR UPDATE"};
constexpr Sql renew_key{
    "UPDATE main.key SET until = $3, length = $4, outlives = $5 WHERE queue = $1 AND unique_key = $2"};
constexpr Sql overwrite{
    "UPDATE main.job SET line = $2, at = $3, since = $3, was_due = NULL, kind = $4, payload = $5, "
    "priority = $6, retries_max = $7, crashes_max = $8, timeout = $9, retention = $10, deadline = $11, "
    "expires_at = $12, task_group = $13, headers = $14 WHERE seq = $1"};
constexpr Sql add_member{
    "INSERT INTO main.member (queue, name, holder, at, seq) VALUES ($1, $2, $3, $4, $5)"};

constexpr Sql get_schedule{"SELECT next, paused FROM main.schedule WHERE id = $1 FOR UPDATE"};
constexpr Sql move_schedule{"UPDATE main.schedule SET next = $2, last = $3 WHERE id = $1"};

bool waits(State state) {
  constexpr States waiting =
      States{State::scheduled} + State::pending + State::aggregating + State::held + State::blocked;
  return waiting.has(state);
}

/// When the key's window ends.
std::optional<std::int64_t> until_of(const Unique& unique, TimePoint now) {
  return unique.window > Duration::zero() ? std::optional{stored(now + unique.window)} : std::nullopt;
}

/// Those whose keys they try to take, and the number that stands for the task in a key until it has its own.
struct Taking {
  std::vector<Entry*> entries = {};
  std::int64_t mark = -make_claim();
};

/// What `taken_keys` joins.
Table table_of(const std::vector<Entry*>& entries) {
  Table table{"n", "queue", "unique_key", "id"};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Task& task = *entries[i]->task;
    table.add(i, entries[i]->queue, Blob{task.unique->key}, Blob{stored_id(task.ref.id)});
  }
  return table;
}

/// Moves those that have their key now to `to`, and the others to `again`.
void take_all(Write& write, Taking taking, TimePoint now, std::vector<Entry*>& to,
              std::vector<Entry*>& again) {
  std::vector<Entry*>& entries = taking.entries;
  if (entries.empty()) return;
  // In the order in which everybody takes keys, so that no two wait for each other.
  std::ranges::sort(entries, [](const Entry* a, const Entry* b) {
    return std::pair{a->queue, std::string_view{a->task->unique->key}} <
           std::pair{b->queue, std::string_view{b->task->unique->key}};
  });
  Rows rows;
  for (const Entry* const entry : entries) {
    const Unique& unique = *entry->task->unique;
    rows.add(entry->queue, Blob{unique.key}, Blob{stored_id(entry->task->ref.id)}, taking.mark,
             until_of(unique, now), stored(unique.window), unique.outlives_task);
  }
  Batch batch;
  batch.add(take_keys, rows, stored(now));
  batch.add(get_taken, table_of(entries), taking.mark);
  auto row = std::move(write.ask_all(std::move(batch)).back());
  std::set<std::int64_t> taken;
  while (row.step()) taken.insert(row.integer(0));
  for (std::size_t i = 0; i < entries.size(); ++i)
    (taken.contains(static_cast<std::int64_t>(i)) ? to : again).push_back(entries[i]);
}

/// Their keys name the tasks that were created; and are free where an id was taken.
void give_all(Write& write, const std::vector<Entry*>& entries, std::int64_t mark) {
  std::vector<Entry*> made, failed;
  for (Entry* const entry : entries) {
    if (entry->task->unique) (entry->answer.put == Put::created ? made : failed).push_back(entry);
  }
  if (!failed.empty()) write.tell(drop_keys, table_of(failed), mark);
  if (!made.empty()) write.tell(give_keys, table_of(made), mark);
}

/// False when the holder is no longer as it was seen.
bool replace(Write& write, Entry& entry, const Holder& holder, TimePoint now) {
  const Task& task = *entry.task;
  auto rows = read_rows(write.ask(lock_job, holder.seq), write);
  if (rows.empty()) return false;
  const Row& row = rows.front();
  if (!waits(row.state()) || row.in_set() || row.task.attempt != 0 || row.task.crashes != 0) return false;
  const Blob key{task.unique->key};
  if (!write.any(lock_key, entry.queue, key, holder.seq, stored(now))) return false;
  write.tell(renew_key, entry.queue, key, until_of(*task.unique, now), stored(task.unique->window),
             task.unique->outlives_task);
  const TimePoint at = sql_store::at_of(task, now);
  leave_group(write, row);
  write.tell(overwrite, row.seq, line_of(entry.queue, task.state, task.priority), stored(at), entry.kind,
             Blob{task.payload}, unless(0, task.priority), unless(usual_retries_max, task.retries_max),
             unless(usual_crashes_max, task.crashes_max), unless(usual_timeout, stored(task.timeout)),
             unless(0, stored(task.retention)), stored(task.deadline), stored(task.expires_at),
             blob_unless_empty(task.group),
             blob_unless_empty(task.headers.empty() ? std::string{} : write_map(task.headers)));
  write.left(entry.queue, row.state());
  write.arrived(entry.queue, task.state, at);
  if (task.state == State::aggregating && !task.group.empty()) {
    write.joined(entry.queue, task.group, at);
    write.tell(add_member, entry.queue, Blob{task.group}, no_claim, stored(at), row.seq);
  }
  entry.answer = {Put::replaced, holder.id, "it took the place of the task that had this unique key"};
  return true;
}

/// Looks, and takes in what can be. What another process has changed between look and write stays in
/// `entries`.
void put_once(Write& write, std::vector<Entry*>& entries, TimePoint now, bool current) {
  Table ids{"n", "queue", "id"};
  for (std::size_t i = 0; i < entries.size(); ++i)
    ids.add(i, entries[i]->queue, Blob{stored_id(entries[i]->task->ref.id)});
  std::set<std::size_t> there;
  auto row = write.ask(has_ids, ids);
  while (row.step()) there.insert(static_cast<std::size_t>(row.integer(0)));
  const auto holders = find_holders(write, {entries.begin(), entries.end()}, now, current);

  std::vector<Entry*> again, inserts;
  Taking taking;
  const std::int64_t mark = taking.mark;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = *entries[i];
    const auto& holder = holders[i];
    if (there.contains(i)) {
      entry.answer = {Put::exists, entry.task->ref.id, "a task with this id is there already"};
    } else if (!entry.task->unique) {
      inserts.push_back(&entry);
    } else if (!holder) {
      taking.entries.push_back(&entry);
    } else if (entry.task->unique->on_conflict != OnConflict::replace || holder->state == State::gone ||
               is_over(holder->state)) {
      entry.answer = {Put::exists, holder->id, fmt::format("task {} has this unique key", holder->id)};
    } else if (holder->started) {
      entry.answer = {Put::busy, holder->id,
                      fmt::format("task {} has this unique key and has started", holder->id)};
    } else if (!replace(write, entry, *holder, now)) {
      again.push_back(&entry);
    }
  }
  take_all(write, std::move(taking), now, inserts, again);
  std::ranges::sort(inserts);  // In the order in which they came.
  insert_tasks(write, inserts);
  give_all(write, inserts, mark);
  entries = std::move(again);
}

void put_wave(Write& write, std::vector<Entry*> wave, TimePoint now) {
  for (int tries = 0; !wave.empty() && tries < tries_max; ++tries)
    put_once(write, wave, now, tries > 0 && write.callers());
  for (Entry* const entry : wave) {
    entry->answer = {Put::failed, {}, "others took and freed its unique key all the time; repeat the call"};
  }
}

/// Why the instant must not fire; empty: it may.
std::string refusal(Write& write, const Firing& firing) {
  auto row = write.ask(get_schedule, Blob{firing.schedule});
  if (!row.step()) return fmt::format("there is no schedule {}", firing.schedule);
  if (row.boolean(1)) return fmt::format("schedule {} is paused", firing.schedule);
  if (time_of(row.integer(0)) == firing.instant) return {};
  return fmt::format("schedule {} has fired at this instant, or was changed", firing.schedule);
}

void fire(Write& write, Entry& entry, TimePoint now) {
  const Firing& firing = *entry.task->firing;
  if (std::string why = refusal(write, firing); !why.empty()) {
    entry.answer = {Put::fired, {}, std::move(why)};
    return;
  }
  put_wave(write, {&entry}, now);
  const bool done = entry.answer.put == Put::created || entry.answer.put == Put::replaced;
  const bool known = done || entry.answer.put == Put::exists || entry.answer.put == Put::busy;
  if (done || (known && !firing.only_if_created))
    write.tell(move_schedule, Blob{firing.schedule}, stored(firing.next), stored(firing.instant));
}

}  // namespace

std::vector<std::optional<Holder>> find_holders(Write& write, const std::vector<const Entry*>& entries,
                                                TimePoint now, bool current) {
  std::vector<std::optional<Holder>> holders(entries.size());
  Table keys{"n", "queue", "unique_key"};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (const auto& unique = entries[i]->task->unique) keys.add(i, entries[i]->queue, Blob{unique->key});
  }
  if (keys.empty()) return holders;
  auto row = write.ask(current ? get_holders_now : get_holders, keys, stored(now));
  while (row.step()) {
    Holder holder;
    holder.id = id_text(row.bytes(1));
    holder.seq = row.integer(2);
    if (!row.null(3)) {
      const std::int64_t line = row.integer(3);
      holder.state = state_of(line);
      holder.started = !waits(holder.state) || line == set_line(queue_of(line)) || row.integer(4) != 0 ||
                       row.integer(5) != 0;
    }
    holder.outlives_task = row.boolean(6);
    holders[static_cast<std::size_t>(row.integer(0))] = std::move(holder);
  }
  return holders;
}

void enqueue_in_order(Write& write, const std::vector<Entry*>& entries, TimePoint now) {
  std::vector<Entry*> wave;
  std::set<std::pair<std::int64_t, std::string_view>> ids, keys;
  const auto flush = [&] {
    put_wave(write, std::exchange(wave, {}), now);
    ids.clear();
    keys.clear();
  };
  for (Entry* const entry : entries) {
    const Task& task = *entry->task;
    const bool met = ids.contains({entry->queue, task.ref.id}) ||
                     (task.unique && keys.contains({entry->queue, task.unique->key}));
    if (met || task.firing) flush();
    if (task.firing) {
      fire(write, *entry, now);
      continue;
    }
    ids.emplace(entry->queue, task.ref.id);
    if (task.unique) keys.emplace(entry->queue, task.unique->key);
    wave.push_back(entry);
  }
  flush();
}

}  // namespace tidemill::mysql_store
