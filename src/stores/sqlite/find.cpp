#include "stores/sqlite/find.hpp"

#include "stores/sql/page.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql all_queues{"SELECT id, name FROM main.tidemill_queue ORDER BY name"};
constexpr sqlite::Sql one_queue{"SELECT id, name FROM main.tidemill_queue WHERE name = ?1"};
constexpr sqlite::Sql seen_states{"SELECT queue, state FROM main.tidemill_counter WHERE tasks > 0"};

// A page goes on behind (line, at, seq) in three steps. As one comparison of rows SQLite would search the
// index by two of them, and read again all that share a line and an instant with the last.
constexpr auto same_instant_text = sqlite::join(
    "SELECT ", row_columns, row_tables, "WHERE j.line = ?1 AND j.at = ?2 AND j.seq > ?3 ORDER BY j.seq");
constexpr auto same_line_text =
    sqlite::join("SELECT ", row_columns, row_tables, "WHERE j.line = ?1 AND j.at > ?2 ORDER BY j.at, j.seq");
constexpr auto later_lines_text = sqlite::join(
    "SELECT ", row_columns, row_tables, "WHERE j.line > ?1 AND j.line <= ?2 ORDER BY j.line, j.at, j.seq");
constexpr sqlite::Sql same_instant{same_instant_text.data()};
constexpr sqlite::Sql same_line{same_line_text.data()};
constexpr sqlite::Sql later_lines{later_lines_text.data()};

class SqliteListing : public sql_store::Listing {
 public:
  SqliteListing(Scope& scope, TimePoint now) : scope_(scope), now_(now) {}

  std::vector<std::pair<std::int64_t, std::string>> queues(std::string_view queue) override {
    std::vector<std::pair<std::int64_t, std::string>> result;
    auto row = queue.empty() ? scope_.db.query(all_queues) : scope_.db.query(one_queue, queue);
    while (row.step()) result.emplace_back(row.integer(0), row.bytes(1));
    return result;
  }

  std::unordered_map<std::int64_t, States> states() override {
    std::unordered_map<std::int64_t, States> result;
    auto row = scope_.db.query(seen_states);
    while (row.step()) result[row.integer(0)] = result[row.integer(0)] + static_cast<State>(row.integer(1));
    return result;
  }

  bool read(const Place& behind, std::int64_t last_line, std::size_t, const Take& take) override {
    return hand_over(scope_.db.query(same_instant, behind.line, behind.at, behind.seq), take) &&
           hand_over(scope_.db.query(same_line, behind.line, behind.at), take) &&
           hand_over(scope_.db.query(later_lines, behind.line, last_line), take);
  }

  void add_uniques(std::span<sql_store::Row* const> rows) override {
    for (sql_store::Row* const row : rows) row->task.unique = read_unique(scope_, *row, now_);
  }

 private:
  bool hand_over(sqlite::Query rows, const Take& take) {
    while (rows.step()) {
      Row row;
      read_row(rows, scope_, row);
      if (!take(std::move(row))) return false;
    }
    return true;
  }

  Scope& scope_;
  const TimePoint now_;
};

}  // namespace

Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now) {
  SqliteListing listing{scope, now};
  return sql_store::find_page(listing, filter, cursor, limit, budget, clock);
}

}  // namespace tidemill::sqlite_store
