#include "core/transitions.hpp"

#include <array>

namespace tidemill {

namespace {

constexpr std::array table = {
    Transition{State::gone, State::scheduled, "enqueue with a delay or a time"},
    Transition{State::gone, State::pending, "enqueue"},
    Transition{State::gone, State::aggregating, "enqueue into a group"},
    Transition{State::gone, State::held, "enqueue as held"},

    Transition{State::scheduled, State::scheduled, "an operator reschedules it"},
    Transition{State::scheduled, State::pending, "due; an operator runs it"},
    Transition{State::scheduled, State::held, "an operator holds it"},
    Transition{State::scheduled, State::archived, "an operator cancels or archives it"},
    Transition{State::scheduled, State::gone, "an operator erases it"},

    Transition{State::pending, State::active, "claim"},
    Transition{State::pending, State::scheduled,
               "replaced by a unique task that is not due yet; an operator reschedules it"},
    Transition{State::pending, State::held, "an operator holds it"},
    Transition{State::pending, State::archived, "an operator cancels or archives it"},
    Transition{State::pending, State::gone, "an operator erases it"},

    Transition{State::active, State::gone, "success without retention; discarded"},
    Transition{State::active, State::completed, "success with retention"},
    Transition{State::active, State::retry, "failure with a retry left"},
    Transition{State::active, State::scheduled, "snooze; again later; nobody here handles its kind"},
    Transition{State::active, State::pending, "given back; again at once; its worker died"},
    Transition{State::active, State::archived,
               "no retry left; deadline or expiry passed; cancelled; poison; archived by its handler"},
    Transition{State::active, State::held, "an operator holds it"},

    Transition{State::retry, State::scheduled, "an operator reschedules it"},
    Transition{State::retry, State::pending, "due; an operator runs it"},
    Transition{State::retry, State::held, "an operator holds it"},
    Transition{State::retry, State::archived, "an operator cancels or archives it"},
    Transition{State::retry, State::gone, "an operator erases it"},

    Transition{State::completed, State::pending, "an operator runs it again"},
    Transition{State::completed, State::gone, "its retention is over; an operator erases it"},

    Transition{State::archived, State::pending, "an operator runs it again"},
    Transition{State::archived, State::gone, "an operator erases it"},

    Transition{State::aggregating, State::pending, "an operator runs it"},
    Transition{State::aggregating, State::held, "an operator holds it"},
    Transition{State::aggregating, State::archived, "an operator cancels or archives it"},
    Transition{State::aggregating, State::gone, "became one task with its group; an operator erases it"},

    Transition{State::held, State::scheduled, "an operator reschedules it"},
    Transition{State::held, State::pending, "an operator resumes or runs it"},
    Transition{State::held, State::archived, "an operator cancels or archives it"},
    Transition{State::held, State::gone, "an operator erases it"},
};

}  // namespace

std::span<const Transition> transitions() noexcept { return table; }

bool allowed(State from, State to) noexcept {
  for (const Transition& transition : table) {
    if (transition.from == from && transition.to == to) return true;
  }
  return false;
}

bool may_be_a_workers(State state) noexcept { return state == State::active || state == State::aggregating; }

}  // namespace tidemill
