// The table of moves: it is sound by itself, and a task can get out of every state.
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "core/transitions.hpp"

namespace tidemill {
namespace {

State state(std::size_t i) { return static_cast<State>(i); }

TEST(Transitions, NoMoveIsListedTwiceAndOnlyARescheduleStaysInItsState) {
  std::set<std::pair<State, State>> seen;
  for (const Transition& each : transitions()) {
    EXPECT_TRUE(seen.emplace(each.from, each.to).second)
        << to_string(each.from) << " to " << to_string(each.to);
    EXPECT_EQ(each.from == each.to, each.from == State::scheduled && each.to == State::scheduled);
    EXPECT_FALSE(each.cause.empty());
  }
}

TEST(Transitions, AllowedAnswersByTheTable) {
  std::size_t count = 0;
  for (std::size_t from = 0; from < state_count; ++from) {
    EXPECT_EQ(allowed(state(from), state(from)), state(from) == State::scheduled);
    for (std::size_t to = 0; to < state_count; ++to) count += allowed(state(from), state(to)) ? 1U : 0U;
  }
  EXPECT_EQ(count, transitions().size());
  EXPECT_TRUE(allowed(State::pending, State::active));
  EXPECT_FALSE(allowed(State::scheduled, State::active)) << "it becomes pending first";
  EXPECT_FALSE(allowed(State::completed, State::archived));
}

TEST(Transitions, EveryStateInUseIsReachedAndLeft) {
  for (std::size_t i = 1; i < state_count; ++i) {
    if (state(i) == State::blocked) continue;  // Nothing blocks yet.
    bool reached = false;
    bool left = false;
    for (const Transition& each : transitions()) {
      reached = reached || each.to == state(i);
      left = left || each.from == state(i);
    }
    EXPECT_TRUE(reached && left) << to_string(state(i));
  }
}

TEST(Transitions, AnOperatorCanEraseAllButTheActive) {
  for (std::size_t i = 1; i < state_count; ++i) {
    if (state(i) == State::blocked) continue;
    EXPECT_TRUE(allowed(state(i), State::gone)) << to_string(state(i));
  }
}

TEST(States, AreNamedAndParsed) {
  for (std::size_t i = 0; i < state_count; ++i) EXPECT_EQ(parse_state(to_string(state(i))), state(i));
  EXPECT_EQ(to_string(State::aggregating), "aggregating");
  EXPECT_EQ(to_string(static_cast<State>(200)), "?");
  EXPECT_FALSE(parse_state("running"));
}

TEST(States, FormSets) {
  constexpr States some = States{State::pending} + State::held;
  EXPECT_TRUE(some.has(State::held));
  EXPECT_FALSE(some.has(State::active));
  EXPECT_FALSE(States::all().has(State::gone));
  for (std::size_t i = 1; i < state_count; ++i) EXPECT_TRUE(States::all().has(state(i)));
  EXPECT_TRUE(States{}.empty());
}

}  // namespace
}  // namespace tidemill
