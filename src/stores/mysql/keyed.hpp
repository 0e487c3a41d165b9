#pragma once

#include <vector>

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

/// Takes unique keys for tasks that are to be inserted.
class KeyTaking {
 public:
  KeyTaking(Write& write, TimePoint now) : write_(write), now_(now) {}

  /// Moves those that have their key now to `to`, and the others to `again`.
  void take(std::vector<Entry*> entries, std::vector<Entry*>& to, std::vector<Entry*>& again);
  /// Once they are inserted: their keys name the tasks that were created, and are free where an id was taken.
  void settle(const std::vector<Entry*>& entries);

 private:
  using Keys = TableOf<sql_store::Number<"n">, sql_store::Number<"queue">, sql_store::Bytes<"unique_key">,
                       sql_store::Bytes<"id">>;
  static Keys keys_of(const std::vector<Entry*>& entries);

  Write& write_;
  const TimePoint now_;
  const std::int64_t mark_ = -make_claim();  // Stands for a task in its key until that has its number.
};

}  // namespace tidemill::mysql_store
