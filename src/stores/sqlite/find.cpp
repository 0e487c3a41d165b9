#include "stores/sqlite/find.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/filter.hpp"
#include "stores/sql/cursor.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

using sql_store::Cursor;
using sql_store::parse_cursor;

namespace {

/// Rows that are looked at between two looks at the clock; so many at least in any call, so that each goes
/// on.
constexpr std::size_t rows_a_look = 64;

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

class Finder {
 public:
  Finder(Scope& scope, const Filter& filter, std::size_t limit, Duration budget, const Clock& clock,
         TimePoint now)
      : scope_(scope),
        filter_(filter),
        limit_(limit),
        clock_(clock),
        until_(clock.steady() + budget),
        now_(now) {}

  Page find(const std::optional<Cursor>& from) {
    last_ = from;
    const auto states = states_by_queue();
    for (const auto& [queue, name] : queues()) {
      if (from && name < from->queue) continue;
      const auto there = states.find(queue);
      if (there == states.end()) continue;
      for (int state = 1; state < static_cast<int>(state_count); ++state) {
        if (!filter_.states.has(State(state)) || !there->second.has(State(state))) continue;
        const bool here = from && name == from->queue;
        if (here && state < from->state) continue;
        if (!read(queue, State(state), here && state == from->state ? from : std::nullopt)) return finish();
      }
    }
    return finish();
  }

 private:
  std::vector<std::pair<std::int64_t, std::string>> queues() {
    std::vector<std::pair<std::int64_t, std::string>> result;
    auto row = filter_.queue.empty() ? scope_.db.query(all_queues)
                                     : scope_.db.query(one_queue, std::string_view{filter_.queue});
    while (row.step()) result.emplace_back(row.integer(0), row.bytes(1));
    return result;
  }

  std::unordered_map<std::int64_t, States> states_by_queue() {
    std::unordered_map<std::int64_t, States> result;
    auto row = scope_.db.query(seen_states);
    while (row.step()) result[row.integer(0)] = result[row.integer(0)] + static_cast<State>(row.integer(1));
    return result;
  }

  /// False when the page ends here.
  bool read(std::int64_t queue, State state, const std::optional<Cursor>& from) {
    const std::int64_t last = last_line(queue, state);
    if (!from) return read(scope_.db.query(later_lines, first_line(queue, state) - 1, last));
    const std::int64_t line = first_line(queue, state) | (from->lane & 255);
    return read(scope_.db.query(same_instant, line, from->at, from->seq)) &&
           read(scope_.db.query(same_line, line, from->at)) && read(scope_.db.query(later_lines, line, last));
  }

  bool read(sqlite::Query rows) {
    while (rows.step()) {
      if (looked_ > 0 && looked_ % rows_a_look == 0 && clock_.steady() >= until_) {
        page_.complete = false;
        return false;
      }
      ++looked_;
      Row row;
      read_row(rows, scope_, row);
      const bool match = matches(filter_, row.task);
      if (match && page_.tasks.size() == limit_) {
        more_ = true;
        return false;
      }
      last_ = Cursor{static_cast<std::int64_t>(row.state()), row.line & 255, stored(row.at), row.seq,
                     row.task.ref.queue};
      if (!match) continue;
      row.task.unique = read_unique(scope_, row, now_);
      page_.tasks.push_back(std::move(row.task));
    }
    return true;
  }

  Page finish() {
    if ((more_ || !page_.complete) && last_) page_.next = to_text(*last_);
    return std::move(page_);
  }

  Scope& scope_;
  const Filter& filter_;
  const std::size_t limit_;
  const Clock& clock_;
  const std::chrono::steady_clock::time_point until_;
  const TimePoint now_;
  Page page_;
  std::optional<Cursor> last_;
  std::size_t looked_ = 0;
  bool more_ = false;
};

}  // namespace

Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now) {
  const auto from = cursor.empty() ? std::nullopt : std::optional{parse_cursor(cursor)};
  return Finder{scope, filter, limit, budget, clock, now}.find(from);
}

}  // namespace tidemill::sqlite_store
