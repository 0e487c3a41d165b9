#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/row.hpp"

namespace tidemill::sql_store {

/// What a listing reads, of one database. The text of a queue is empty for all of them.
class Listing {
 public:
  /// Where a row stands.
  struct Place {
    std::int64_t line = 0;
    std::int64_t at = 0;
    std::int64_t seq = 0;
  };
  /// False: it wants no more.
  using Take = std::function<bool(Row&&)>;

  virtual ~Listing() = default;
  /// Numbers and names, in the order of the names.
  virtual std::vector<std::pair<std::int64_t, std::string>> queues(std::string_view queue) = 0;
  /// In which there may be tasks, by queue.
  virtual std::unordered_map<std::int64_t, States> states() = 0;
  /// Hands over the rows behind a place, up to the end of a line, in their order; false when `take` wanted no
  /// more. It will want about as many as `wanted`.
  virtual bool read(const Place& behind, std::int64_t last_line, std::size_t wanted, const Take& take) = 0;
  /// Adds the unique keys that tasks hold now, of rows that were given one.
  virtual void add_uniques(std::span<Row* const> rows) = 0;
};

/// The `find` of a catalogue: reads along the index of places, queue by queue and state by state. It stops
/// when the time budget of `clock` is used up, but goes on by some rows in any call. Throws Error{invalid}
/// for a cursor that is none.
Page find_page(Listing& listing, const Filter& filter, std::string_view cursor, std::size_t limit,
               Duration budget, const Clock& clock);

}  // namespace tidemill::sql_store
