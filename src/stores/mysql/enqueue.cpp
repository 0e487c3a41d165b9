#include "stores/sql/enqueue.hpp"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

// IGNORE leaves out whose id is there. All else that it would let pass is refused before: `fault_of`.
constexpr Sql insert_usual{
    "INSERT IGNORE INTO main.job (id, queue, line, at, since, kind, created_at, payload) VALUES $1"};
constexpr Sql insert_any{
    "INSERT IGNORE INTO main.job (id, queue, line, at, since, kind, created_at, payload, priority, "
    "retries_max, crashes_max, timeout, retention, deadline, expires_at, unique_key, task_group, headers) "
    "VALUES $1"};
constexpr Sql get_first{"SELECT CAST(LAST_INSERT_ID() AS SIGNED), @@auto_increment_increment"};
constexpr Sql get_seqs{
    "SELECT t.n, j.seq FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND "
    "j.id = t.id"};
constexpr Sql add_members{
    "INSERT INTO main.member (queue, name, holder, at, seq) SELECT t.queue, t.name, $2, j.at, j.seq FROM $1 "
    "AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND j.id = t.id"};

void add_row(Rows& rows, const Entry& entry, bool usual) {
  const Task& task = *entry.task;
  const std::string id = stored_id(task.ref.id);
  const std::int64_t line = line_of(entry.queue, task.state, task.priority);
  const std::int64_t at = stored(sql_store::at_of(task, entry.now));
  const std::int64_t created_at = stored(task.created_at.value_or(entry.now));
  if (usual) {
    rows.add(Blob{id}, entry.queue, line, at, at, entry.kind, created_at, Blob{task.payload});
    return;
  }
  const std::string headers = task.headers.empty() ? std::string{} : write_map(task.headers);
  rows.add(Blob{id}, entry.queue, line, at, at, entry.kind, created_at, Blob{task.payload},
           unless(0, task.priority), unless(usual_retries_max, task.retries_max),
           unless(usual_crashes_max, task.crashes_max), unless(usual_timeout, stored(task.timeout)),
           unless(0, stored(task.retention)), stored(task.deadline), stored(task.expires_at),
           task.unique ? std::optional{Blob{task.unique->key}} : std::nullopt, blob_unless_empty(task.group),
           blob_unless_empty(headers));
}

/// Which of them the INSERT has created, as not all of them were: it took these numbers for them alone, from
/// the first that it created on, in their order.
void tell_apart(Write& write, std::span<Entry* const> entries) {
  Table table{"n", "queue", "id"};
  for (std::size_t i = 0; i < entries.size(); ++i)
    table.add(i, entries[i]->queue, Blob{stored_id(entries[i]->task->ref.id)});
  Batch batch;
  batch.add(get_first);
  batch.add(get_seqs, table);
  auto answers = write.ask_all(std::move(batch));
  answers[0].step();
  const std::int64_t first = answers[0].integer(0);
  const std::int64_t step = answers[0].integer(1);
  std::vector<std::int64_t> seqs(entries.size());
  while (answers[1].step()) seqs[static_cast<std::size_t>(answers[1].integer(0))] = answers[1].integer(1);
  const std::int64_t end = first + static_cast<std::int64_t>(entries.size()) * step;
  std::int64_t last = first - 1;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (seqs[i] > last && seqs[i] < end) {
      last = seqs[i];
      created(write, *entries[i]);
    } else {
      exists(*entries[i]);
    }
  }
}

/// One statement.
void insert_some(Write& write, std::span<Entry* const> entries, const Rows& rows, bool usual) {
  const std::int64_t inserted = write.run(usual ? insert_usual : insert_any, rows);
  if (inserted == static_cast<std::int64_t>(entries.size())) {
    for (Entry* const entry : entries) created(write, *entry);
  } else if (inserted == 0) {
    for (Entry* const entry : entries) exists(*entry);
  } else {
    tell_apart(write, entries);
  }
}

void tell_members(Write& write, std::span<Entry* const> entries) {
  Table members{"queue", "name", "id"};
  for (const Entry* const entry : entries) {
    const Task& task = *entry->task;
    if (entry->answer.put == Put::created && task.state == State::aggregating && !task.group.empty())
      members.add(entry->queue, Blob{task.group}, Blob{stored_id(task.ref.id)});
  }
  if (!members.empty()) write.tell(add_members, members, no_claim);
}

}  // namespace

std::string Mysql::fault_of(const Task& task, std::size_t task_bytes_max) {
  const auto too_long = [](std::string_view what, std::string_view text) {
    return text.size() > name_bytes_most
               ? fmt::format("the {} has {} bytes; {} are allowed", what, text.size(), name_bytes_most)
               : std::string{};
  };
  std::string fault = sql_store::fault_of(task, task_bytes_max);
  if (fault.empty()) fault = too_long("id", task.ref.id + '\0');
  if (fault.empty()) fault = too_long("queue's name", task.ref.queue);
  if (fault.empty()) fault = too_long("kind", task.kind);
  if (fault.empty()) fault = too_long("group's name", task.group);
  if (fault.empty() && task.unique) fault = too_long("unique key", task.unique->key);
  return fault;
}

void Mysql::insert_tasks(Write& write, const std::vector<Entry*>& entries) {
  const bool usual = std::ranges::all_of(entries, [](const Entry* e) { return sql_store::usual(*e->task); });
  mysql::Rows rows;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    add_row(rows, *entries[i], usual);
    if (i + 1 < entries.size() && rows.bytes() < statement_bytes) continue;
    insert_some(write, std::span{entries}.subspan(begin, i + 1 - begin), rows, usual);
    rows.clear();
    begin = i + 1;
  }
  tell_members(write, entries);
}

}  // namespace tidemill::mysql_store
