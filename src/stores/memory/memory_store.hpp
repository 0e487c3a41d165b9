#pragma once

#include <memory>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

struct MemoryOptions {
  /// Must outlive the store.
  const Clock* clock = &Clock::system();
};

/// A store in this process's memory, empty at first and gone with the object: the reference that the other
/// stores are compared with, and a store for tests. One mutex guards it all and every rule is written down
/// the plain way, so that it can be checked by reading.
std::unique_ptr<Store> open_memory(const MemoryOptions& options = {});

}  // namespace tidemill
