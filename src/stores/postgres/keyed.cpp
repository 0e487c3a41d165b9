// Tasks with unique keys, and those that schedules fire. A batch of them goes in waves, each without an id or
// a key that comes twice: the next wave sees what the one before did.
#include "stores/postgres/keyed.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/transitions.hpp"
#include "stores/postgres/database.hpp"
#include "stores/sql/task.hpp"

namespace tidemill::postgres_store {

namespace {

/// How often keys are looked up anew, because others took them or let them go between look and write.
constexpr int tries_max = 10;

constexpr Sql next_seqs{"SELECT nextval('main.tidemill_job_seq_seq') FROM generate_series(1, $1::bigint)"};
constexpr Sql has_ids{
    "SELECT j.queue, j.id FROM unnest($1::bigint[], $2::bytea[]) AS t(queue, id) "
    "JOIN main.tidemill_job j ON j.queue = t.queue AND j.id = t.id"};
constexpr Sql get_holders{
    "SELECT t.n, k.id, k.seq, j.line, j.attempt, j.crashes, k.outlives FROM "
    "unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS t(queue, key, n) "
    "JOIN main.tidemill_key k ON k.queue = t.queue AND k.key = t.key "
    "LEFT JOIN main.tidemill_job j ON j.seq = k.seq WHERE k.until IS NULL OR k.until > $3"};
// A key whose window has run out is anybody's.
constexpr Sql take_keys{
    "INSERT INTO main.tidemill_key AS k (queue, key, id, seq, until, length, outlives) "
    "SELECT t.queue, t.key, t.id, t.seq, t.until, t.length, t.outlives FROM unnest($1::bigint[], "
    "$2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[]) AS "
    "t(queue, key, id, seq, until, length, outlives) ORDER BY t.queue, t.key "
    "ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, seq = excluded.seq, until = excluded.until, "
    "length = excluded.length, outlives = excluded.outlives WHERE k.until <= $8 RETURNING k.seq"};
constexpr Sql drop_key{"DELETE FROM main.tidemill_key WHERE queue = $1 AND key = $2 AND seq = $3"};

constexpr auto lock_text =
    join("SELECT ", job_columns, " FROM main.tidemill_job j WHERE j.seq = $1 FOR UPDATE OF j");
constexpr Sql lock_job{lock_text.data()};
constexpr Sql renew_key{
    "UPDATE main.tidemill_key SET until = $4, length = $5, outlives = $6 "
    "WHERE queue = $1 AND key = $2 AND seq = $3 AND (until IS NULL OR until > $7)"};
constexpr Sql overwrite{
    "UPDATE main.tidemill_job SET line = $2, at = $3, since = $3, was_due = NULL, kind = $4, payload = $5, "
    "priority = $6, retries_max = $7, crashes_max = $8, timeout = $9, retention = $10, deadline = $11, "
    "expires_at = $12, task_group = $13, headers = $14 WHERE seq = $1"};

constexpr Sql get_schedule{"SELECT next, paused FROM main.tidemill_schedule WHERE id = $1 FOR UPDATE"};
constexpr Sql move_schedule{"UPDATE main.tidemill_schedule SET next = $2, last = $3 WHERE id = $1"};

bool waits(State state) {
  constexpr States waiting =
      States{State::scheduled} + State::pending + State::aggregating + State::held + State::blocked;
  return waiting.has(state);
}

/// When the key's window ends.
std::optional<std::int64_t> until_of(const Unique& unique, TimePoint now) {
  return unique.window > Duration::zero() ? std::optional{stored(now + unique.window)} : std::nullopt;
}

Enqueued exists(const std::string& id) { return {Put::exists, id, "a task with this id is there already"}; }

/// The numbers of those that have their key now.
std::set<std::int64_t> take_all(Write& write, const std::vector<Entry*>& entries, TimePoint now) {
  std::set<std::int64_t> taken;
  Array<std::int64_t> queues, seqs, untils, lengths;
  Array<Blob> keys, ids;
  Array<bool> outlives;
  for (const Entry* const entry : entries) {
    const Unique& unique = *entry->task->unique;
    queues.add(entry->queue);
    keys.add(Blob{unique.key});
    ids.add(Blob{stored_id(entry->task->ref.id)});
    seqs.add(entry->seq);
    untils.add(until_of(unique, now));
    lengths.add(stored(unique.window));
    outlives.add(unique.outlives_task);
  }
  if (queues.empty()) return taken;
  auto row = write.ask(take_keys, queues, keys, ids, seqs, untils, lengths, outlives, stored(now));
  while (row.step()) taken.insert(row.integer(0));
  return taken;
}

/// False when the holder is no longer as it was seen.
bool replace(Write& write, Entry& entry, const Holder& holder, TimePoint now) {
  const Task& task = *entry.task;
  auto rows = read_rows(write.ask(lock_job, holder.seq), write);
  if (rows.empty()) return false;
  const Row& row = rows.front();
  if (!waits(row.state()) || row.in_set() || row.task.attempt != 0 || row.task.crashes != 0) return false;
  const std::int64_t renewed =
      write.run(renew_key, entry.queue, Blob{task.unique->key}, holder.seq, until_of(*task.unique, now),
                stored(task.unique->window), task.unique->outlives_task, stored(now));
  if (renewed == 0) return false;
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
  if (task.state == State::aggregating && !task.group.empty()) write.joined(entry.queue, task.group, at);
  entry.answer = {Put::replaced, holder.id, "it took the place of the task that had this unique key"};
  return true;
}

/// Looks, and takes in what can be. What another process has changed between look and write stays in
/// `entries`.
void put_once(Write& write, std::vector<Entry*>& entries, TimePoint now) {
  Array<std::int64_t> queues;
  Array<Blob> ids;
  for (const Entry* const entry : entries) {
    queues.add(entry->queue);
    ids.add(Blob{stored_id(entry->task->ref.id)});
  }
  std::set<std::pair<std::int64_t, std::string>> there;
  auto row = write.ask(has_ids, queues, ids);
  while (row.step()) there.emplace(row.integer(0), id_text(row.bytes(1)));
  const auto holders = find_holders(write, {entries.begin(), entries.end()}, now);

  std::vector<Entry*> again, keyed, inserts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = *entries[i];
    const auto& holder = holders[i];
    if (there.contains({entry.queue, entry.task->ref.id})) {
      entry.answer = exists(entry.task->ref.id);
    } else if (!entry.task->unique) {
      inserts.push_back(&entry);
    } else if (!holder) {
      keyed.push_back(&entry);
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
  const auto taken = take_all(write, keyed, now);
  for (Entry* const entry : keyed) (taken.contains(entry->seq) ? inserts : again).push_back(entry);
  insert_tasks(write, inserts);
  for (const Entry* const entry : inserts) {
    if (entry->answer.put == Put::created || !entry->task->unique) continue;
    write.tell(drop_key, entry->queue, Blob{entry->task->unique->key}, entry->seq);  // Its id was taken.
  }
  entries = std::move(again);
}

void put_wave(Write& write, std::vector<Entry*> wave, TimePoint now) {
  for (int tries = 0; !wave.empty() && tries < tries_max; ++tries) put_once(write, wave, now);
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
                                                TimePoint now) {
  std::vector<std::optional<Holder>> holders(entries.size());
  Array<std::int64_t> queues;
  Array<Blob> keys;
  bool any = false;
  for (const Entry* const entry : entries) {
    any = any || entry->task->unique;
    queues.add(entry->queue);
    keys.add(entry->task->unique ? std::optional{Blob{entry->task->unique->key}} : std::nullopt);
  }
  if (!any) return holders;
  auto row = write.ask(get_holders, queues, keys, stored(now));
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
    holders[static_cast<std::size_t>(row.integer(0) - 1)] = std::move(holder);
  }
  return holders;
}

void enqueue_in_order(Write& write, const std::vector<Entry*>& entries, TimePoint now) {
  auto seqs = write.ask(next_seqs, static_cast<std::int64_t>(entries.size()));
  std::vector<Entry*> wave;
  std::set<std::pair<std::int64_t, std::string_view>> ids, keys;
  const auto flush = [&] {
    put_wave(write, std::exchange(wave, {}), now);
    ids.clear();
    keys.clear();
  };
  for (Entry* const entry : entries) {
    seqs.step();
    entry->seq = seqs.integer(0);
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

}  // namespace tidemill::postgres_store
