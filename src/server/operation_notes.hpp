#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tidemill/documents.hpp>
#include <tidemill/inspector.hpp>

#include "engine/store_clock.hpp"

namespace tidemill::server {

/// What is known of an operation beside its task, which nobody can write while it runs.
struct OperationNote {
  std::optional<std::int64_t> rate = {};           ///< What somebody has made of the plan's.
  std::vector<BulkResult::Failure> failures = {};  ///< Since it was last begun.
};

/// A document for each operation that has one.
///
/// Thread safety: all members may be called from any thread.
class OperationNotes {
 public:
  /// `store` must outlive it.
  explicit OperationNotes(Store& store) : documents_(store.documents()), clock_(store) {}

  /// An empty one when there is none.
  OperationNote get(const std::string& id) const;
  /// One each.
  std::vector<OperationNote> get(std::span<const std::string> ids) const;
  /// Throws Problem{501} when the store keeps no documents.
  void change(const std::string& id, const std::function<void(OperationNote&)>& change) const;

 private:
  Documents* documents_;
  mutable engine::StoreClock clock_;
};

}  // namespace tidemill::server
