#include "stores/sql/page.hpp"

#include <chrono>
#include <limits>
#include <optional>

#include "core/filter.hpp"
#include "stores/sql/cursor.hpp"

namespace tidemill::sql_store {

namespace {

/// Rows between two looks at the clock.
constexpr std::size_t rows_a_look = 64;

class Finder {
 public:
  Finder(Listing& listing, const Filter& filter, std::size_t limit, Duration budget, const Clock& clock)
      : listing_(listing), filter_(filter), limit_(limit), clock_(clock), until_(clock.steady() + budget) {}

  Page find(const std::optional<Cursor>& from) {
    last_ = from;
    const auto states = listing_.states();
    for (const auto& [queue, name] : listing_.queues(filter_.queue)) {
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
  /// False when the page ends here.
  bool read(std::int64_t queue, State state, const std::optional<Cursor>& from) {
    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
    Listing::Place behind{first_line(queue, state), least, least};
    if (from) behind = {behind.line | (from->lane & 255), from->at, from->seq};
    return listing_.read(behind, last_line(queue, state), limit_ - page_.tasks.size() + 1,
                         [this](Row&& row) { return take(std::move(row)); });
  }

  bool take(Row&& row) {
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
    page_.tasks.push_back(std::move(row.task));
    if (!row.key.empty()) keyed_.emplace_back(page_.tasks.size() - 1, std::move(row));
    return true;
  }

  Page finish() {
    if ((more_ || !page_.complete) && last_) page_.next = to_text(*last_);
    std::vector<Row*> rows;
    for (auto& [place, row] : keyed_) rows.push_back(&row);
    listing_.add_uniques(rows);
    for (auto& [place, row] : keyed_) page_.tasks[place].unique = std::move(row.task.unique);
    return std::move(page_);
  }

  Listing& listing_;
  const Filter& filter_;
  const std::size_t limit_;
  const Clock& clock_;
  const std::chrono::steady_clock::time_point until_;
  Page page_;
  std::optional<Cursor> last_;
  std::vector<std::pair<std::size_t, Row>> keyed_;  // By their places in the page; their tasks are there.
  std::size_t looked_ = 0;
  bool more_ = false;
};

}  // namespace

Page find_page(Listing& listing, const Filter& filter, std::string_view cursor, std::size_t limit,
               Duration budget, const Clock& clock) {
  const auto from = cursor.empty() ? std::nullopt : std::optional{parse_cursor(cursor)};
  return Finder{listing, filter, limit, budget, clock}.find(from);
}

}  // namespace tidemill::sql_store
