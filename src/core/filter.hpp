#pragma once

#include <tidemill/store.hpp>

namespace tidemill {

/// Whether the filter lets the task through, for stores that look at tasks one by one.
bool matches(const Filter& filter, const Task& task);

}  // namespace tidemill
