// How a task begins: what is refused with which words, and what becomes of the options.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "refusal.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint later{std::chrono::sys_days{std::chrono::year{2030} / 1 / 1}};

std::string refusal(std::string_view kind, const EnqueueOptions& options, std::string payload = "",
                    const Capabilities& capabilities = {}, ErrorKind error_kind = ErrorKind::invalid) {
  return tests::refusal([&] { rules::admit(kind, std::move(payload), options, capabilities); }, error_kind);
}

TEST(Admit, NamesAreChecked) {
  EXPECT_EQ(refusal("", {}), "the kind is empty; give it a name such as \"mail\"");
  EXPECT_EQ(refusal("k", {.queue = ""}), "the queue is empty; give it a name such as \"mail\"");
  EXPECT_EQ(refusal(" k", {}), "the kind \" k\" begins or ends with a blank");
  EXPECT_EQ(refusal("k", {.queue = "a\nb"}),
            "the queue has a control character (byte 0x0a); use printable characters");
  EXPECT_EQ(refusal("k", {.id = "a\x7f"}),
            "the id has a control character (byte 0x7f); use printable characters");
  EXPECT_EQ(refusal("k", {.group = std::string(256, 'g')}),
            "the group \"" + std::string(40, 'g') + "…\" has 256 bytes; 255 are allowed");
  EXPECT_EQ(refusal("k", {.headers = {{"", "x"}}}),
            "the header's name is empty; give it a name such as \"mail\"");
  EXPECT_NO_THROW(rules::admit(std::string(255, 'k'), "", {.queue = "Grüße", .id = "a b"}, {}));
}

TEST(Admit, NumbersAndTimesAreChecked) {
  EXPECT_EQ(refusal("k", {.priority = 101}), "priority is 101; it must be from -100 to 100");
  EXPECT_EQ(refusal("k", {.retries_max = -1}), "retries_max is -1; it must be from 0 to 10000");
  EXPECT_EQ(refusal("k", {.crashes_max = 1001}), "crashes_max is 1001; it must be from 0 to 1000");
  EXPECT_EQ(refusal("k", {.delay = -1s}), "delay is negative");
  EXPECT_EQ(refusal("k", {.timeout = -1s}), "timeout is negative");
  EXPECT_EQ(refusal("k", {.retention = Duration::max()}), "retention is more than a hundred years");
  EXPECT_EQ(refusal("k", {.delay = 1s, .run_at = later}),
            "delay and run_at are both given; give one of them");
  EXPECT_EQ(refusal("k", {.delay = 1s, .group = "g"}),
            "a task of a group can't have a delay or start as held");
}

TEST(Admit, UniqueKeysAreChecked) {
  EXPECT_EQ(refusal("k", {.unique = Unique{.window = -1s}}), "the unique window is negative");
  EXPECT_EQ(refusal("k", {.unique = Unique{.outlives_task = true}}),
            "a unique key that outlives its task needs a window");
  EXPECT_EQ(refusal("k", {.unique = Unique{.key = std::string(1025, 'k')}}),
            "the unique key has more than 1024 bytes");
}

TEST(Admit, AStoresLimitsAreSaidInItsOwnWords) {
  Capabilities limits;
  limits.task_bytes_max = 10;
  EXPECT_EQ(
      refusal("12345", {}, "678901", limits),
      "payload and headers have 11 bytes; this store takes 10 a task: put the data elsewhere and a reference "
      "into the task");
  EXPECT_NO_THROW(rules::admit("12345", "67890", {}, limits));
  limits.limits[Feature::unique] = {true, "the broker has no keys"};
  limits.limits[Feature::delay] = {false, "to the second"};
  EXPECT_EQ(refusal("k", {.unique = Unique{}}, "", limits, ErrorKind::unsupported),
            "this store has no unique: the broker has no keys");
  EXPECT_NO_THROW(rules::admit("k", "", {.delay = 1s}, limits));
}

TEST(Admit, TheFirstStateFollowsFromTheOptions) {
  const auto state = [](const EnqueueOptions& options) { return rules::admit("k", "", options, {}).state; };
  EXPECT_EQ(state({}), State::pending);
  EXPECT_EQ(state({.delay = 1us}), State::scheduled);
  EXPECT_EQ(state({.run_at = later}), State::scheduled);
  EXPECT_EQ(state({.group = "g"}), State::aggregating);
  EXPECT_EQ(state({.held = true}), State::held);
  EXPECT_EQ(state({.delay = 1s, .held = true}), State::held);
}

TEST(Admit, AnIdIsMadeUnlessGiven) {
  EXPECT_EQ(rules::admit("k", "", {.id = "mine"}, {}).ref.id, "mine");
  const std::string made = rules::admit("k", "", {}, {}).ref.id;
  EXPECT_TRUE(parse_uuid(made));
  EXPECT_NE(rules::admit("k", "", {}, {}).ref.id, made);
}

TEST(Admit, AnEmptyKeyIsMadeOfKindAndPayload) {
  const auto key = [](std::string_view kind, std::string payload) {
    return rules::admit(kind, std::move(payload), {.unique = Unique{}}, {}).unique->key;
  };
  EXPECT_EQ(key("mail", "x").size(), 7U + 64U);
  EXPECT_EQ(key("mail", "x"), key("mail", "x"));
  EXPECT_NE(key("mail", "x"), key("mail", "y"));
  EXPECT_NE(key("mail", "x"), key("mailx", ""));
  EXPECT_EQ(rules::admit("k", "", {.unique = Unique{.key = "given"}}, {}).unique->key, "given");
}

}  // namespace
}  // namespace tidemill
