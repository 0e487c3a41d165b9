// The table for people and programs that speak SQL: whatever they INSERT there becomes a task with the next
// claim, sweep or look. MySQL knows no trigger in place of an INSERT, and one on the table of tasks would be
// paid for by all that we write there.
#include "stores/mysql/plain_sql.hpp"

#include <string>
#include <vector>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "stores/mysql/keyed.hpp"
#include "stores/sql/enqueue.hpp"

namespace tidemill::mysql_store {

const Sql any_in_inbox{"SELECT 1 FROM main.task WHERE error IS NULL LIMIT 1"};

namespace {

constexpr std::int64_t rows_max = 500;
constexpr std::size_t reason_bytes_max = 1000;

// A TIMESTAMP is an instant, whatever the time zone of a session.
constexpr Sql get_rows{
    "SELECT seq, kind, COALESCE(payload, ''), queue, COALESCE(id, ''), priority, retries_max, crashes_max, "
    "CAST(timeout_seconds * 1000000 AS SIGNED), CAST(retention_seconds * 1000000 AS SIGNED), "
    "CAST(UNIX_TIMESTAMP(run_at) * 1000000 AS SIGNED), CAST(UNIX_TIMESTAMP(deadline) * 1000000 AS SIGNED), "
    "CAST(UNIX_TIMESTAMP(expires_at) * 1000000 AS SIGNED), headers FROM main.task FORCE INDEX (error) WHERE "
    "error IS NULL ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED"};
constexpr Sql drop_rows{
    "DELETE i FROM $1 AS t STRAIGHT_JOIN main.task i FORCE INDEX (PRIMARY) ON i.seq = t.seq"};
constexpr Sql refuse_row{"UPDATE main.task SET error = $2 WHERE seq = $1"};

std::int32_t small(const Query& row, int column, std::int32_t usual) {
  return static_cast<std::int32_t>(row.optional_integer(column).value_or(usual));
}

/// Throws Error for a row that can be no task.
Task read_task(const Query& row, const Capabilities& capabilities) {
  EnqueueOptions options;
  options.queue = row.bytes(3);
  options.id = row.bytes(4);
  options.priority = small(row, 5, options.priority);
  options.retries_max = small(row, 6, options.retries_max);
  options.crashes_max = small(row, 7, options.crashes_max);
  if (!row.null(8)) options.timeout = Duration{row.integer(8)};
  if (!row.null(9)) options.retention = Duration{row.integer(9)};
  options.run_at = time_of(row.optional_integer(10));
  options.deadline = time_of(row.optional_integer(11));
  options.expires_at = time_of(row.optional_integer(12));
  if (!row.null(13)) options.headers = read_map(row.bytes(13));
  return rules::admit(row.bytes(1), std::string{row.bytes(2)}, options, capabilities);
}

void refuse(Write& write, std::int64_t seq, std::string_view why) {
  // As much as the column holds; a letter in more than one byte may be cut.
  std::string text{why.substr(0, reason_bytes_max / 4)};
  while (!text.empty() && static_cast<unsigned char>(text.back()) >= 0x80) text.pop_back();
  write.tell(refuse_row, seq, std::string_view{text});
}

}  // namespace

void take_inbox(Write& write, TimePoint now, std::size_t task_bytes_max) {
  const Capabilities capabilities{.task_bytes_max = task_bytes_max};
  std::vector<std::int64_t> seqs;
  std::vector<Task> tasks;
  for (auto row = write.ask(get_rows, rows_max); row.step();) {
    try {
      tasks.push_back(read_task(row, capabilities));
      seqs.push_back(row.integer(0));
    } catch (const Error& error) {
      refuse(write, row.integer(0), error.what());
    }
  }
  if (tasks.empty()) return;
  const auto answers = enqueue_all(write, tasks, now, task_bytes_max);
  Table taken{"seq"};
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].put == Put::created) {
      taken.add(seqs[i]);
    } else {
      refuse(write, seqs[i], answers[i].why);
    }
  }
  if (!taken.empty()) write.tell(drop_rows, taken);
}

}  // namespace tidemill::mysql_store
