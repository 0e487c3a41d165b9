// The filter language: what reads, what is refused and where, and that what is shown reads as the same again.
#include <gmock/gmock.h>

#include "wire/task_filter.hpp"
#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const TimePoint now = parse_time("2026-11-21T14:00:00Z");

std::string shown(std::string_view text) { return format_filter(parse_filter(text, now)); }

struct Refusal {
  std::size_t column = 0;
  std::string what = {};
};
Refusal refused(std::string_view text) {
  try {
    (void)parse_filter(text, now);
  } catch (const FilterError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    return {error.column(), error.what()};
  }
  ADD_FAILURE() << text << " reads";
  return {};
}

TEST(TaskFilter, FieldsAreByNameAndOtherWordsAreText) {
  const Filter filter =
      parse_filter("state:archived,retry queue:mail kind:image:* id:m1 group:g 421 greeting", now);
  EXPECT_EQ(filter.states, States{State::archived} + State::retry);
  EXPECT_EQ(filter.queue, "mail");
  EXPECT_EQ(filter.kind, "image:*");
  EXPECT_EQ(filter.id, "m1");
  EXPECT_EQ(filter.group, "g");
  EXPECT_EQ(filter.text, "421 greeting");
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("   "), "");
}

TEST(TaskFilter, QuotesHoldWhatWouldMeanSomethingElse) {
  EXPECT_EQ(parse_filter(R"(queue:"a b,c*")", now).queue, "a b,c*");
  EXPECT_EQ(parse_filter(R"("state:held" "-x")", now).text, "state:held -x");
  EXPECT_EQ(parse_filter(R"(text:"say \"hi\" \\")", now).text, R"(say "hi" \)");
  EXPECT_EQ(parse_filter(R"("http://example.com/a")", now).text, "http://example.com/a");
}

TEST(TaskFilter, TimesOfCreationAreRanges) {
  const Filter days = parse_filter("created:2026-11-20..2026-11-21", now);
  EXPECT_EQ(days.created_from, parse_time("2026-11-20T00:00:00Z"));
  EXPECT_EQ(days.created_before, parse_time("2026-11-21T00:00:00Z"));
  const Filter last = parse_filter("created:-2h..", now);
  EXPECT_EQ(last.created_from, now - 2h);
  EXPECT_FALSE(last.created_before);
  const Filter old = parse_filter("created:..2026-11-20T10:00:00.5Z", now);
  EXPECT_FALSE(old.created_from);
  EXPECT_EQ(old.created_before, parse_time("2026-11-20T10:00:00.5Z"));
  EXPECT_EQ(parse_filter("created:-100000d..", now).created_from, TimePoint{});
}

TEST(TaskFilter, WhatIsShownMeansTheSame) {
  for (const char* text :
       {"state:pending,retry", "queue:\"a,b\"", "kind:\"a*b\"", "kind:a*", "id:x group:\"g h\" text:-1",
        "created:-2h..-1h words", "\"state:held\"", "created_before:2999-01-01T00:00:00Z"}) {
    const std::string once = shown(text);
    EXPECT_EQ(shown(once), once) << text;
    // It can be kept: nothing in it hangs on now.
    EXPECT_EQ(format_filter(parse_filter(once)), once) << text;
  }
  EXPECT_EQ(shown("created:-2h.. mail state:held"), "state:held created_from:2026-11-21T12:00:00Z text:mail");
}

TEST(TaskFilter, MistakesAreSaidWithTheirColumn) {
  const auto check = [](std::string_view text, std::size_t column, const char* what) {
    const Refusal refusal = refused(text);
    EXPECT_EQ(refusal.column, column) << text;
    EXPECT_THAT(refusal.what, HasSubstr(what)) << text;
    EXPECT_THAT(refusal.what, HasSubstr(fmt::format("column {}:", column)));
  };
  check("stat:held", 1, "did you mean \"state\"");
  check("queue:mail  state:hold", 13, "held");
  check("queue:", 1, "has no value");
  check("a \"open", 3, "a quote is not closed");
  check("a -state:held", 3, "no store can leave out");
  check("queue:a,b", 1, "one value and not several");
  check("x kind:a*b", 3, "at its end");
  check("queue:a*", 1, "takes no *");
  check("state:held state:retry", 12, "there twice");
  check("text:a b", 8, "there twice");
  check("created:2026-11-20.. created_from:2026-11-19T00:00:00Z", 22, "there twice");
  check("created:2026-11-20", 1, "write a range");
  check("created:..", 1, "write a range");
  check("created:yesterday..", 1, "yesterday");
  EXPECT_THROW((void)parse_filter("created:-1h.."), FilterError);
}

TEST(TaskFilter, WhatNoStoreCanAnswerIsRefusedAndNotIgnored) {
  for (const char* word : {"worker:w1", "schedule:s", "unique:k", "op:1", "origin:api", "error:c3e1", "tag:x",
                           "header.trace:1", "payload:x", "payload.user.id:42", "attempt:>3", "priority:>=5",
                           "age:>2h", "run:<10m", "finished:-1h.."}) {
    const Refusal refusal = refused(fmt::format("queue:mail {}", word));
    EXPECT_EQ(refusal.column, 12U);
    EXPECT_THAT(refusal.what, HasSubstr("no store can look for")) << word;
  }
}

}  // namespace

}  // namespace tidemill::wire
