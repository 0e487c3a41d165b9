#pragma once

#include <cstdint>
#include <string>

#include <tidemill/store.hpp>

#include "stores/sql/layout.hpp"

namespace tidemill::sql_store {

/// A task, and where its row is.
struct Row {
  Task task = {};
  std::int64_t seq = 0;
  std::int64_t line = 0;
  TimePoint at{};
  TimePoint since{};  ///< The place in line that it had when it was claimed.
  std::int64_t claim = no_claim;
  bool was_due = false;  ///< That place is the time for which it had been scheduled.
  std::string key = {};  ///< The unique key that it was given, whether it still holds it or not.
  bool marked = false;
  Signal signal = Signal::none;
  std::int64_t attempts_kept = 0;  ///< How many ever were: the number of the last.
  std::int64_t logs_kept = 0;

  std::int64_t queue() const { return queue_of(line); }
  State state() const { return state_of(line); }
  bool in_set() const { return line == set_line(queue()); }
};

}  // namespace tidemill::sql_store
