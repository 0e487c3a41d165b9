#pragma once

#include <span>
#include <string_view>

#include <tidemill/task.hpp>

namespace tidemill {

/// A move that exists, and what brings it about.
struct Transition {
  State from;
  State to;
  std::string_view cause;
};

/// All moves that exist: the one table that every store and docs/states.md obey.
std::span<const Transition> transitions() noexcept;

/// Whether a task may move from one state to another; to the same only where that makes it due at another
/// time.
bool allowed(State from, State to) noexcept;

/// Whether a task of this state has ended, and is kept.
constexpr bool is_over(State state) noexcept { return state == State::completed || state == State::archived; }

/// Whether a worker may have a task of this state, alone or with its group, so that it can't be edited or
/// moved.
bool may_be_a_workers(State state) noexcept;

}  // namespace tidemill
