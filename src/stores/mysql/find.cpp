#include "stores/mysql/find.hpp"

#include <algorithm>

#include "stores/mysql/database.hpp"
#include "stores/mysql/tasks.hpp"
#include "stores/sql/page.hpp"

namespace tidemill::mysql_store {

namespace {

/// Rows that are read at once.
constexpr std::int64_t rows_least = 64;
constexpr std::int64_t rows_max = 256;

constexpr Sql all_queues{"SELECT id, name FROM main.queue ORDER BY name"};
constexpr Sql one_queue{"SELECT id, name FROM main.queue WHERE name = $1"};
constexpr auto seen_states_text =
    join("SELECT queue, state FROM ", all_counts, " GROUP BY queue, state HAVING SUM(tasks) > 0");
constexpr Sql seen_states{seen_states_text.data()};

// Three ranges of the index, one behind the other: the optimizer takes (line, at, seq) > (…) for none.
constexpr auto next_text =
    join("SELECT ", job_columns,
         " FROM main.job j FORCE INDEX (line) WHERE (j.line = $1 AND j.at = $2 AND j.seq > $3) OR "
         "(j.line = $1 AND j.at > $2) OR (j.line > $1 AND j.line <= $4) ORDER BY j.line, j.at, j.seq "
         "LIMIT $5");
constexpr Sql next_rows{next_text.data()};

class MysqlListing : public sql_store::Listing {
 public:
  MysqlListing(Scope& scope, TimePoint now) : scope_(scope), now_(now) {}

  std::vector<std::pair<std::int64_t, std::string>> queues(std::string_view queue) override {
    std::vector<std::pair<std::int64_t, std::string>> result;
    auto row = queue.empty() ? scope_.ask(all_queues) : scope_.ask(one_queue, Blob{queue});
    while (row.step()) result.emplace_back(row.integer(0), row.bytes(1));
    return result;
  }

  std::unordered_map<std::int64_t, States> states() override {
    std::unordered_map<std::int64_t, States> result;
    auto row = scope_.ask(seen_states);
    while (row.step()) result[row.integer(0)] = result[row.integer(0)] + static_cast<State>(row.integer(1));
    return result;
  }

  bool read(const Place& behind, std::int64_t last_line, std::size_t wanted, const Take& take) override {
    Place at = behind;
    // As many as the page may need, if all match; then more, as few seem to.
    auto count = std::clamp(static_cast<std::int64_t>(wanted), rows_least, rows_max);
    for (;;) {
      auto rows = read_rows(scope_.ask(next_rows, at.line, at.at, at.seq, last_line, count), scope_);
      for (Row& row : rows) {
        at = {row.line, stored(row.at), row.seq};
        if (!take(std::move(row))) return false;
      }
      if (static_cast<std::int64_t>(rows.size()) < count) return true;
      count = rows_max;
    }
  }

  void add_uniques(std::span<Row* const> rows) override { mysql_store::add_uniques(scope_, rows, now_); }

 private:
  Scope& scope_;
  const TimePoint now_;
};

}  // namespace

Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now) {
  MysqlListing listing{scope, now};
  return sql_store::find_page(listing, filter, cursor, limit, budget, clock);
}

}  // namespace tidemill::mysql_store
