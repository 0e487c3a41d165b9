#pragma once

#include <algorithm>

#include "stores/sql/page.hpp"
#include "stores/sql/tasks.hpp"

namespace tidemill::sql_store {

template <class Database>
class SqlListing : public Listing {
 public:
  using Scope = sql_store::Scope<Database>;

  SqlListing(Scope& scope, TimePoint now) : scope_(scope), now_(now) {}

  std::vector<std::pair<std::int64_t, std::string>> queues(std::string_view queue) override {
    std::vector<std::pair<std::int64_t, std::string>> result;
    auto row = queue.empty() ? scope_.ask(Database::find.all_queues)
                             : scope_.ask(Database::find.one_queue, Blob{queue});
    while (row.step()) result.emplace_back(row.integer(0), row.bytes(1));
    return result;
  }

  std::unordered_map<std::int64_t, States> states() override {
    std::unordered_map<std::int64_t, States> result;
    auto row = scope_.ask(Database::find.seen_states);
    while (row.step()) result[row.integer(0)] = result[row.integer(0)] + static_cast<State>(row.integer(1));
    return result;
  }

  bool read(const Place& behind, std::int64_t last_line, std::size_t wanted, const Take& take) override {
    Place at = behind;
    // As many as the page may need, if all match; then more, as few seem to.
    auto count = std::clamp(static_cast<std::int64_t>(wanted), rows_least, rows_max);
    for (;;) {
      auto rows =
          read_rows(scope_.ask(Database::find.next_rows, at.line, at.at, at.seq, last_line, count), scope_);
      for (Row& row : rows) {
        at = {row.line, stored(row.at), row.seq};
        if (!take(std::move(row))) return false;
      }
      if (static_cast<std::int64_t>(rows.size()) < count) return true;
      count = rows_max;
    }
  }

  void add_uniques(std::span<Row* const> rows) override { sql_store::add_uniques(scope_, rows, now_); }

 private:
  /// Rows that are read at once.
  static constexpr std::int64_t rows_least = 64;
  static constexpr std::int64_t rows_max = 256;

  Scope& scope_;
  const TimePoint now_;
};

/// The `find` of the catalogue: `find_page` over this database.
template <class Database>
Page find_tasks(Scope<Database>& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now) {
  SqlListing<Database> listing{scope, now};
  return find_page(listing, filter, cursor, limit, budget, clock);
}

}  // namespace tidemill::sql_store
