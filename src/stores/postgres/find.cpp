#include "stores/postgres/find.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/filter.hpp"
#include "stores/postgres/tasks.hpp"
#include "stores/sql/cursor.hpp"

namespace tidemill::postgres_store {

using sql_store::Cursor;
using sql_store::parse_cursor;

namespace {

/// Rows that are read at once, and between two looks at the clock; so many at least in any call, so that each
/// goes on.
constexpr std::int64_t rows_a_look = 64;
/// And so many at most.
constexpr std::int64_t rows_max = 256;

constexpr Sql all_queues{"SELECT id, name FROM main.tidemill_queue ORDER BY name"};
constexpr Sql one_queue{"SELECT id, name FROM main.tidemill_queue WHERE name = $1"};
constexpr Sql seen_states{
    "SELECT queue, state FROM main.tidemill_count GROUP BY queue, state HAVING sum(tasks) > 0"};

constexpr auto next_text = join("SELECT ", job_columns,
                                " FROM main.tidemill_job j WHERE (j.line, j.at, j.seq) > ($1, $2, $3) AND "
                                "j.line <= $4 ORDER BY j.line, j.at, j.seq LIMIT $5");
constexpr Sql next_rows{next_text.data()};

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
    auto row = filter_.queue.empty() ? scope_.ask(all_queues) : scope_.ask(one_queue, Blob{filter_.queue});
    while (row.step()) result.emplace_back(row.integer(0), row.bytes(1));
    return result;
  }

  std::unordered_map<std::int64_t, States> states_by_queue() {
    std::unordered_map<std::int64_t, States> result;
    auto row = scope_.ask(seen_states);
    while (row.step()) result[row.integer(0)] = result[row.integer(0)] + static_cast<State>(row.integer(1));
    return result;
  }

  /// False when the page ends here.
  bool read(std::int64_t queue, State state, const std::optional<Cursor>& from) {
    std::int64_t line = first_line(queue, state) - 1;
    std::int64_t at = 0;
    std::int64_t seq = 0;
    if (from) {
      line = first_line(queue, state) | (from->lane & 255);
      at = from->at;
      seq = from->seq;
    }
    // As many as the page may need, if all match; then more, as few seem to.
    auto count =
        std::clamp(static_cast<std::int64_t>(limit_ - page_.tasks.size()) + 1, rows_a_look, rows_max);
    for (;;) {
      auto rows = read_rows(scope_.ask(next_rows, line, at, seq, last_line(queue, state), count), scope_);
      for (Row& row : rows) {
        line = row.line;
        at = stored(row.at);
        seq = row.seq;
        if (!take(std::move(row))) return false;
      }
      if (static_cast<std::int64_t>(rows.size()) < count) return true;
      count = rows_max;
    }
  }

  bool take(Row row) {
    if (looked_ > 0 && looked_ % rows_a_look == 0 && clock_.steady() >= until_) {
      page_.complete = false;
      return false;
    }
    ++looked_;
    const bool match = matches(filter_, row.task);
    if (match && page_.tasks.size() == limit_) {
      more_ = true;
      return false;
    }
    last_ = Cursor{static_cast<std::int64_t>(row.state()), row.line & 255, stored(row.at), row.seq,
                   row.task.ref.queue};
    if (!match) return true;
    if (!row.key.empty()) keyed_.emplace_back(page_.tasks.size(), row);
    page_.tasks.push_back(std::move(row.task));
    return true;
  }

  Page finish() {
    if ((more_ || !page_.complete) && last_) page_.next = to_text(*last_);
    std::vector<Row*> rows;
    for (auto& [place, row] : keyed_) rows.push_back(&row);
    add_uniques(scope_, rows, now_);
    for (auto& [place, row] : keyed_) page_.tasks[place].unique = std::move(row.task.unique);
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
  std::vector<std::pair<std::size_t, Row>> keyed_;  // By their place in the page.
  std::int64_t looked_ = 0;
  bool more_ = false;
};

}  // namespace

Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now) {
  const auto from = cursor.empty() ? std::nullopt : std::optional{parse_cursor(cursor)};
  return Finder{scope, filter, limit, budget, clock, now}.find(from);
}

}  // namespace tidemill::postgres_store
