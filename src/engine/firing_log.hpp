#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/documents.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>

#include "engine/store_clock.hpp"

namespace tidemill::engine {

/// What became of the last instants of schedules: a document each, with the newest at its end.
///
/// It is written after what it tells of, and not in the same write, since the store's answer is what it
/// tells.
///
/// Thread safety: all members may be called from any thread.
class FiringLog {
 public:
  struct Entry {
    std::string schedule = {};
    FiringInfo firing = {};
  };

  /// Both must outlive the log.
  FiringLog(Store& store, StoreClock& clock) : documents_(store.documents()), clock_(clock) {}

  /// False: the store has no documents. Then nothing is kept.
  bool keeps() const noexcept { return documents_ != nullptr; }
  /// In the order in which they came. Throws what the store throws.
  void add(std::span<const Entry> entries);
  /// Of each schedule, the newest first.
  std::vector<std::vector<FiringInfo>> read(std::span<const std::string> schedules);
  void erase(std::span<const std::string> schedules);

 private:
  std::vector<Document> documents_of(std::span<const std::string> schedules);

  Documents* const documents_;
  StoreClock& clock_;
};

}  // namespace tidemill::engine
