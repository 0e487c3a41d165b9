#include <gtest/gtest.h>

#include "stores/postgres/fronts.hpp"
#include "stores/postgres/layout.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

constexpr std::int64_t queue = 3;
constexpr Fronts::Steady start{std::chrono::hours{1}};
const Fronts::Place place{.line = first_line(queue, State::pending) + 7, .at = 5, .seq = 9};

// Why: as long as looking costs nothing, every claim sees the whole line; and it may be slow because the
// machine is busy.
TEST(FrontsTest, BeginsAtTheBeginningUnlessThatIsSlowAndManyHaveLeft) {
  Fronts fronts;
  EXPECT_TRUE(fronts.begin(queue, start).whole);
  fronts.claimed(queue, 20'000, place, true);
  fronts.looked(queue, 1ms, start);
  EXPECT_TRUE(fronts.begin(queue, start).whole) << "the look was quick";
  fronts.claimed(queue, 9'999, place, true);
  fronts.looked(queue, 99ms, start);
  const auto begin = fronts.begin(queue, start);
  EXPECT_TRUE(begin.whole) << "few have left since";
  EXPECT_EQ(begin.place, (Fronts::Place{.line = first_line(queue, State::pending)}));
  fronts.looked(queue, 100ms, start);
  EXPECT_FALSE(fronts.begin(queue, start).whole) << "what others have claimed may lie there";
}

// Why: a look that takes too long would fail again and again, and no claim would get anything.
TEST(FrontsTest, GoesOnAfterALookThatDidNotEnd) {
  Fronts fronts;
  fronts.gave_up(queue, TimePoint{7us}, 10s, start);
  const auto begin = fronts.begin(queue, start + 199s);
  EXPECT_FALSE(begin.whole);
  EXPECT_EQ(begin.place, (Fronts::Place{.line = line_of(queue, State::pending), .at = 7}));
  EXPECT_TRUE(fronts.begin(queue, start + 200s).whole);
  fronts.claimed(queue, 1, place, true);
  fronts.gave_up(queue, TimePoint{9us}, 10s, start);
  EXPECT_EQ(fronts.begin(queue, start).place, place) << "this worker knows better";
}

// Why: a slow look may take a twentieth of the time, and what came to an older place is found by the next.
TEST(FrontsTest, GoesOnWhereTheLastClaimEndedUntilItIsTimeForAWholeLook) {
  Fronts fronts;
  fronts.claimed(queue, 10'000, place, true);
  fronts.looked(queue, 100ms, start);
  const auto begin = fronts.begin(queue, start + 1999ms);
  EXPECT_FALSE(begin.whole);
  EXPECT_EQ(begin.place, place);
  EXPECT_EQ(begin.again, start + 2s);
  EXPECT_TRUE(fronts.begin(queue, start + 2s).whole);
  EXPECT_TRUE(fronts.begin(queue + 1, start).whole) << "each queue has its own";
}

// Why: promoted tasks come to places before the front. When all of them are taken, only what is gone lies up
// to it.
TEST(FrontsTest, GoesBackOnlyWhenMoreIsLeftThere) {
  Fronts fronts;
  Fronts::Place before = place;
  before.at -= 1;
  fronts.claimed(queue, 10'000, place, true);
  fronts.looked(queue, 100ms, start);
  fronts.claimed(queue, 3, before, false);
  EXPECT_EQ(fronts.begin(queue, start).place, place);
  fronts.claimed(queue, 3, before, true);
  EXPECT_EQ(fronts.begin(queue, start).place, before);
}

}  // namespace

}  // namespace tidemill::postgres_store
