// Ids: in order within a thread, unique among threads and processes, and of the form that RFC 9562 gives
// version 7.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "core/uuid.hpp"

namespace tidemill {
namespace {

std::int64_t milliseconds_of(const Uuid& uuid) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < 6; ++i) value = value << 8 | uuid[i];
  return value;
}

std::int64_t milliseconds_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(Uuid, HasVersionVariantAndTime) {
  const std::int64_t before = milliseconds_now();
  const Uuid uuid = make_uuid();
  const std::int64_t after = milliseconds_now();
  EXPECT_EQ(uuid[6] >> 4U, 7);
  EXPECT_EQ(uuid[8] >> 6U, 2);
  EXPECT_GE(milliseconds_of(uuid), before);
  EXPECT_LE(milliseconds_of(uuid), after + 1);
}

TEST(Uuid, RisesStrictlyWithinAThread) {
  Uuid last = make_uuid();
  for (int i = 0; i < 100'000; ++i) {
    const Uuid next = make_uuid();
    ASSERT_LT(last, next);
    last = next;
  }
}

TEST(Uuid, AreUniqueAmongThreads) {
  constexpr std::size_t threads = 8;
  constexpr std::size_t each = 20'000;
  std::vector<std::vector<Uuid>> made(threads);
  {
    std::vector<std::jthread> running;
    for (auto& list : made) {
      running.emplace_back([&list] {
        for (std::size_t i = 0; i < each; ++i) list.push_back(make_uuid());
      });
    }
  }
  std::set<Uuid> all;
  for (const auto& list : made) all.insert(list.begin(), list.end());
  EXPECT_EQ(all.size(), threads * each);
}

// Why: random bytes are drawn ahead, and a child has its parent's memory. How: parent and child go on drawing
// from what was one buffer.
TEST(Uuid, AChildProcessDrawsNumbersOfItsOwn) {
  random_bits();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::uint64_t drawn = random_bits();
    const bool sent = write(ends[1], &drawn, sizeof drawn) == sizeof drawn;
    _exit(sent ? 0 : 1);
  }
  std::uint64_t theirs = 0;
  ASSERT_EQ(read(ends[0], &theirs, sizeof theirs), static_cast<ssize_t>(sizeof theirs));
  int status = 0;
  waitpid(child, &status, 0);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(status, 0);
  EXPECT_NE(theirs, random_bits());
}

TEST(Uuid, TextComesBack) {
  for (int i = 0; i < 1000; ++i) {
    const Uuid uuid = make_uuid();
    const std::string text = to_string(uuid);
    EXPECT_EQ(text.size(), 36U);
    EXPECT_EQ(parse_uuid(text), uuid);
  }
  Uuid counting{};
  for (std::size_t i = 0; i < 16; ++i) counting[i] = static_cast<std::uint8_t>(i * 17);
  EXPECT_EQ(to_string(counting), "00112233-4455-6677-8899-aabbccddeeff");
}

TEST(Uuid, OtherTextIsNone) {
  EXPECT_FALSE(parse_uuid(""));
  EXPECT_FALSE(parse_uuid("00112233-4455-6677-8899-aabbccddeef"));
  EXPECT_FALSE(parse_uuid("00112233-4455-6677-8899-aabbccddeeff0"));
  EXPECT_FALSE(parse_uuid("00112233-4455-6677-8899-AABBCCDDEEFF")) << "we write lower case only";
  EXPECT_FALSE(parse_uuid("001122334-455-6677-8899-aabbccddeeff"));
  EXPECT_FALSE(parse_uuid("0011223g-4455-6677-8899-aabbccddeeff"));
}

TEST(RandomUnit, IsFromZeroToBelowOne) {
  double least = 1.0;
  double most = 0.0;
  for (int i = 0; i < 10'000; ++i) {
    const double value = random_unit();
    least = std::min(least, value);
    most = std::max(most, value);
  }
  EXPECT_GE(least, 0.0);
  EXPECT_LT(most, 1.0);
  EXPECT_LT(least, 0.01);
  EXPECT_GT(most, 0.99);
}

}  // namespace
}  // namespace tidemill
