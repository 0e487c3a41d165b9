#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>

#include "core/rules.hpp"
#include "core/schedule_rule.hpp"
#include "engine/firing_log.hpp"
#include "engine/store_clock.hpp"

namespace tidemill {

/// Tasks and queues are in inspector.cpp, schedules in inspector_schedules.cpp.
struct Inspector::Impl {
  explicit Impl(Store& s);

  Call call() { return clock.call(); }

  void require(Feature feature) const { rules::require(store.capabilities(), feature); }

  /// Throws when the action lacks what it needs, or the store does.
  void require(const Action& action) const;

  std::vector<StoredSchedule> stored_schedules() {
    require(Feature::schedules);
    return catalog.schedules({}, call());
  }

  /// What becomes of each; at most a batch of them.
  std::vector<Changed> apply(const Action& action, std::span<const Ref> refs);
  std::vector<Changed> change(const Action& action, std::span<const Ref> refs);
  PutSchedule to_put(const ScheduleRule& rule, const StoredSchedule* stored, TimePoint now) const;
  /// Reads a schedule, lets `change` make a new one of it, and writes it, again if somebody else was quicker.
  /// False when `change` says that there is nothing to write.
  bool update(std::string_view id,
              const std::function<std::optional<PutSchedule>(const StoredSchedule*)>& change);

  Store& store;
  Catalog& catalog;
  engine::StoreClock clock;
  engine::FiringLog firings;
};

/// Throws Error{invalid} unless the value is from 1 to `most`.
inline void check_range(std::string_view what, std::size_t value, std::size_t most) {
  if (value >= 1 && value <= most) return;
  throw Error{ErrorKind::invalid, fmt::format("{} is {}; it must be from 1 to {}", what, value, most)};
}

}  // namespace tidemill
