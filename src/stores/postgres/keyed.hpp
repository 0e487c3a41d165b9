#pragma once

#include <vector>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

/// Takes unique keys for tasks that are to be inserted.
class KeyTaking {
 public:
  KeyTaking(Write& write, TimePoint now) : write_(write), now_(now) {}

  /// Moves those that have their key now to `to`, and the others to `again`.
  void take(const std::vector<Entry*>& entries, std::vector<Entry*>& to, std::vector<Entry*>& again);
  /// Once they are inserted: their keys are free where an id was taken.
  void settle(const std::vector<Entry*>& entries);

 private:
  Write& write_;
  const TimePoint now_;
};

}  // namespace tidemill::postgres_store
