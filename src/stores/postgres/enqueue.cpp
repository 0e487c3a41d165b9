#include "stores/sql/enqueue.hpp"

#include <set>

#include "core/rules.hpp"
#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr char usual_tasks[] =
    "INSERT INTO main.tidemill_job (id, queue, line, at, since, kind, created_at, payload) "
    "SELECT t.id, t.queue, t.line, t.at, t.at, t.kind, t.created_at, t.payload FROM unnest($1::bytea[], "
    "$2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[]) AS "
    "t(id, queue, line, at, kind, created_at, payload)";
constexpr auto insert_usual_text =
    join(usual_tasks, " ON CONFLICT (queue, id) DO NOTHING RETURNING queue, id");
constexpr Sql insert_usual{insert_usual_text.data()};
/// Fails where an id is there already.
constexpr Sql insert_new{usual_tasks};
constexpr Sql insert_any{
    "INSERT INTO main.tidemill_job (seq, id, queue, line, at, since, kind, created_at, payload, priority, "
    "retries_max, crashes_max, timeout, retention, deadline, expires_at, key, task_group, headers) "
    "SELECT coalesce(t.seq, nextval('main.tidemill_job_seq_seq')), t.id, t.queue, t.line, t.at, t.at, "
    "t.kind, "
    "t.created_at, t.payload, t.priority, t.retries_max, t.crashes_max, t.timeout, t.retention, t.deadline, "
    "t.expires_at, t.key, t.task_group, t.headers FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], "
    "$4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[], "
    "$11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bytea[], $17::bytea[], "
    "$18::bytea[]) AS t(id, queue, line, at, kind, created_at, payload, seq, priority, retries_max, "
    "crashes_max, timeout, retention, deadline, expires_at, key, task_group, headers) "
    "ON CONFLICT (queue, id) DO NOTHING RETURNING queue, id"};

/// The arrays of one INSERT.
class Columns {
 public:
  void add(const Entry& entry) {
    const Task& task = *entry.task;
    usual_ = usual_ && entry.seq == 0 && sql_store::usual(task);
    const std::string id = stored_id(task.ref.id);
    random_ = random_ && id.size() == uuid_bytes;
    ids_.add(Blob{id});
    queues_.add(entry.queue);
    lines_.add(line_of(entry.queue, task.state, task.priority));
    ats_.add(stored(sql_store::at_of(task, entry.now)));
    kinds_.add(entry.kind);
    created_.add(stored(task.created_at.value_or(entry.now)));
    payloads_.add(Blob{task.payload});
  }

  /// Few tasks whose ids are random, so that none is there already: then they travel with the commit, in one
  /// round trip, as there is no answer to wait for.
  bool surely_new() const { return usual_ && random_ && ids_.size() <= few; }
  void tell(Write& write) const {
    write.tell(insert_new, ids_, queues_, lines_, ats_, kinds_, created_, payloads_);
  }

  Query insert(Write& write, const std::vector<Entry*>& entries) {
    if (usual_) return write.ask(insert_usual, ids_, queues_, lines_, ats_, kinds_, created_, payloads_);
    Array<std::int64_t> seqs, priorities, retries, crashes, timeouts, retentions, deadlines, expiries;
    Array<Blob> keys, groups, headers;
    for (const Entry* const entry : entries) {
      const Task& task = *entry->task;
      seqs.add(unless(0, entry->seq));
      priorities.add(unless(0, task.priority));
      retries.add(unless(usual_retries_max, task.retries_max));
      crashes.add(unless(usual_crashes_max, task.crashes_max));
      timeouts.add(unless(usual_timeout, stored(task.timeout)));
      retentions.add(unless(0, stored(task.retention)));
      deadlines.add(stored(task.deadline));
      expiries.add(stored(task.expires_at));
      keys.add(task.unique ? std::optional{Blob{task.unique->key}} : std::nullopt);
      groups.add(blob_unless_empty(task.group));
      headers.add(blob_unless_empty(task.headers.empty() ? std::string{} : write_map(task.headers)));
    }
    return write.ask(insert_any, ids_, queues_, lines_, ats_, kinds_, created_, payloads_, seqs, priorities,
                     retries, crashes, timeouts, retentions, deadlines, expiries, keys, groups, headers);
  }

 private:
  static constexpr std::size_t few = 100;
  static constexpr std::size_t uuid_bytes = 16;

  bool usual_ = true;
  bool random_ = true;
  Array<std::int64_t> queues_, lines_, ats_, kinds_, created_;
  Array<Blob> ids_, payloads_;
};

}  // namespace

void Postgres::insert_tasks(Write& write, const std::vector<Entry*>& entries) {
  if (entries.empty()) return;
  Columns columns;
  for (const Entry* const entry : entries) columns.add(*entry);
  if (!write.careful() && columns.surely_new()) {
    columns.tell(write);
    for (Entry* const entry : entries) created(write, *entry);
    return;
  }
  Query inserted = columns.insert(write, entries);
  if (static_cast<std::size_t>(inserted.rows()) == entries.size()) {
    for (Entry* const entry : entries) created(write, *entry);
    return;
  }
  std::set<std::pair<std::int64_t, std::string>> ids;
  while (inserted.step()) ids.emplace(inserted.integer(0), id_text(inserted.bytes(1)));
  for (Entry* const entry : entries) {
    const std::string& id = entry->task->ref.id;
    if (ids.erase({entry->queue, id}) > 0) {
      created(write, *entry);
    } else {
      exists(*entry);
    }
  }
}

}  // namespace tidemill::postgres_store
