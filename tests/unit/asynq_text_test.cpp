// The texts that Asynq keeps in Redis, in Go's forms. What is expected here, Go's library printed or read.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stores/redis/go_text.hpp"
#include "stores/redis/option_text.hpp"

namespace tidemill::redis_store {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr TimePoint at_1_700_000_000{std::chrono::sys_seconds{1'700'000'000s}};

TEST(GoText, DurationsBothWays) {
  const std::vector<std::pair<nanoseconds, std::string>> forms = {
      {0s, "0s"},
      {1ns, "1ns"},
      {999ns, "999ns"},
      {1'500ns, "1.5\u00b5s"},
      {1us, "1\u00b5s"},
      {1'500us, "1.5ms"},
      {500ms, "500ms"},
      {1s, "1s"},
      {1'500ms, "1.5s"},
      {60s, "1m0s"},
      {90s, "1m30s"},
      {1h, "1h0m0s"},
      {24h, "24h0m0s"},
      {25h + 30min, "25h30m0s"},
      {1h + 1ns, "1h0m0.000000001s"},
      {-90s, "-1m30s"},
      {-1'500us, "-1.5ms"},
      {nanoseconds::max(), "2562047h47m16.854775807s"},
      {nanoseconds::min(), "-2562047h47m16.854775808s"},
  };
  for (const auto& [length, text] : forms) {
    EXPECT_EQ(format_go_duration(length), text);
    EXPECT_EQ(parse_go_duration(text), length) << text;
  }
}

TEST(GoText, DurationsAreReadInManyForms) {
  EXPECT_EQ(parse_go_duration("1h30m"), 90min);
  EXPECT_EQ(parse_go_duration("1.5h"), 90min);
  EXPECT_EQ(parse_go_duration(".5s"), 500ms);
  EXPECT_EQ(parse_go_duration("5.s"), 5s);
  EXPECT_EQ(parse_go_duration("+3us"), 3us);
  EXPECT_EQ(parse_go_duration("3\u03bcs"), 3us);
  EXPECT_EQ(parse_go_duration("-0"), 0s);
  EXPECT_EQ(parse_go_duration("1m1m"), 2min);
  EXPECT_EQ(parse_go_duration("0.0000000019s"), 1ns);
  EXPECT_EQ(parse_go_duration("0.3333333333333333333333h"), 20min);
  for (const std::string_view text :
       {"", "-", "1", "1.5", ".s", "s", "1 s", "1x", "--1s", "1s-1s", "1.2.3s", "9223372036854775808ns",
        "2562048h", "99999999999999999999s", "2562047h47m16.854775808s"}) {
    EXPECT_FALSE(parse_go_duration(text)) << text;
  }
}

TEST(GoText, UnixDatesBothWays) {
  EXPECT_EQ(format_unix_date(at_1_700_000_000), "Tue Nov 14 22:13:20 UTC 2023");
  EXPECT_EQ(parse_unix_date("Tue Nov 14 22:13:20 UTC 2023"), at_1_700_000_000);
  EXPECT_EQ(format_unix_date(TimePoint{}), "Thu Jan  1 00:00:00 UTC 1970");
  EXPECT_EQ(parse_unix_date("Thu Jan  1 00:00:00 UTC 1970"), TimePoint{});
  EXPECT_EQ(format_unix_date(TimePoint{-1us}), "Wed Dec 31 23:59:59 UTC 1969");
  EXPECT_EQ(parse_unix_date("Thu Jan 1 3:00:00 CET 1970"), TimePoint{3h});
  EXPECT_EQ(parse_unix_date("Thu Jan  1 03:00:00 GMT+3 1970"), TimePoint{3h});
}

TEST(GoText, DatesThatAreNoneAreRefused) {
  for (const std::string_view text :
       {"", "Thu Jan  1 00:00:00 UTC", "Xyz Jan  1 00:00:00 UTC 1970", "Thu Xyz  1 00:00:00 UTC 1970",
        "Thu Jan  0 00:00:00 UTC 1970", "Wed Feb 29 00:00:00 UTC 2023", "Thu Jan  1 24:00:00 UTC 1970",
        "Thu Jan  1 00:60:00 UTC 1970", "Thu Jan  1 00:00:60 UTC 1970", "Thu Jan  1 00:0:00 UTC 1970",
        "Thu Jan  1 00:00 UTC 1970", "Thu Jan  1 00-00:00 UTC 1970", "Thu Jan  1 00:00:00 UTC 70",
        "Thu Jan x1 00:00:00 UTC 1970", "Thu Jan  1 00:00:00 UTC 1970 z"}) {
    EXPECT_FALSE(parse_unix_date(text)) << text;
  }
}

TEST(GoText, DaysAreThoseOfUtc) {
  EXPECT_EQ(day_text(at_1_700_000_000), "2023-11-14");
  EXPECT_EQ(day_text(TimePoint{}), "1970-01-01");
  EXPECT_EQ(day_text(TimePoint{-1us}), "1969-12-31");
}

TEST(GoText, QuotesBothWays) {
  const std::vector<std::pair<std::string, std::string>> forms = {
      {"", R"("")"},
      {"low", R"("low")"},
      {R"(a"b\c)", R"("a\"b\\c")"},
      {"\a\b\f\n\r\t\v", R"("\a\b\f\n\r\t\v")"},
      {std::string(1, '\0'), R"("\x00")"},
      {"\x1b\x7f", R"("\x1b\x7f")"},
      {"'/ ~", R"("'/ ~")"},
      {"\u00e9\u4e16\U0001f600\u0301\ufffd", "\"\u00e9\u4e16\U0001f600\u0301\ufffd\""},
      {"\u0085\u00a0\u00ad\u200b\u2028\u3000\ufeff", R"("\u0085\u00a0\u00ad\u200b\u2028\u3000\ufeff")"},
      {"\ue000\U000e0001\U0010ffff", R"("\ue000\U000e0001\U0010ffff")"},
      {"a\xff\xc3(", R"("a\xff\xc3(")"},
  };
  for (const auto& [text, quoted] : forms) {
    EXPECT_EQ(quote_go(text), quoted);
    EXPECT_EQ(unquote_go(quoted), text) << quoted;
  }
  EXPECT_EQ(unquote_go(R"("\101\u00e9\U0001F600")"), "A\u00e9\U0001f600");
}

TEST(GoText, QuotesThatAreNoneAreRefused) {
  for (const std::string_view text :
       {"", "\"", "low", R"("low)", R"(low")", R"("a"b")", "\"a\nb\"", R"("\")", R"("\q")", R"("\'")",
        R"("\x4")", R"("\x4g")", R"("\u123")", R"("\ud800")", R"("\U00110000")", R"("\777")", R"("\08")"}) {
    EXPECT_FALSE(unquote_go(text)) << text;
  }
}

TEST(GoText, UniqueKeys) {
  EXPECT_EQ(unique_key("default", "email:send", {}), "asynq:{default}:unique:email:send:");
  EXPECT_EQ(unique_key("default", "email:send", ""),
            "asynq:{default}:unique:email:send:d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(unique_key("default", "email:send", R"({"user_id":42})"),
            "asynq:{default}:unique:email:send:1181f89307fa271072c095747d5813cc");
  EXPECT_EQ(unique_key("q", "t", "p"), "asynq:{q}:unique:t:83878c91171338902e0fe0fb97a8c47a");
}

TEST(OptionText, AllOptions) {
  const EnqueueOptions options{.max_retry = 3,
                               .queue = "low",
                               .task_id = "x",
                               .timeout = 90s,
                               .deadline = at_1_700_000_000,
                               .unique = 1h,
                               .process_at = at_1_700_000_000,
                               .process_in = 0s,
                               .retention = 24h,
                               .group = "g",
                               .headers = {{"a<b>&", "\u2028\"\n"}, {"k", "v"}}};
  const std::vector<std::string> texts = {"MaxRetry(3)",
                                          R"(Queue("low"))",
                                          R"(TaskID("x"))",
                                          "Timeout(1m30s)",
                                          "Deadline(Tue Nov 14 22:13:20 UTC 2023)",
                                          "Unique(1h0m0s)",
                                          "ProcessAt(Tue Nov 14 22:13:20 UTC 2023)",
                                          "ProcessIn(0s)",
                                          "Retention(24h0m0s)",
                                          R"(Group("g"))",
                                          R"(Header(["a\u003cb\u003e\u0026","\u2028\"\n"]))",
                                          R"(Header(["k","v"]))"};
  EXPECT_EQ(write_options(options), texts);

  EnqueueOptions read = options;
  read.task_id.reset();
  read.group.reset();
  read.headers.clear();
  EXPECT_EQ(read_options(texts), read);
}

TEST(OptionText, WhatGoCannotReadIsDropped) {
  const std::vector<std::string> texts = {
      "",           "MaxRetry",    ")MaxRetry(3", "MaxRetry(3",      "MaxRetry(x)", "MaxRetry(+-3)",
      "MaxRetry()", "maxretry(3)", "Queue(low)",  R"(Queue("a)b"))", "Timeout(1)",  "Deadline(tomorrow)",
      "Other(1)"};
  EXPECT_EQ(read_options(texts), EnqueueOptions{});
}

TEST(OptionText, TheLastThatCanBeReadCounts) {
  const std::vector<std::string> texts = {"MaxRetry(3)", "MaxRetry(-1)", "Timeout(1s)",
                                          "Timeout(2s) and more", "Timeout(x)"};
  EXPECT_EQ(read_options(texts), (EnqueueOptions{.max_retry = 0, .timeout = 2s}));
  EXPECT_EQ(read_options(std::vector<std::string>{"MaxRetry(99999999999)"}).max_retry, 2'147'483'647);
  EXPECT_EQ(read_options(std::vector<std::string>{"MaxRetry(+7)"}).max_retry, 7);
}

TEST(OptionText, NoLengthIsTooLongToBeWritten) {
  EXPECT_EQ(write_options({.timeout = Duration::max()}),
            std::vector<std::string>{"Timeout(2562047h47m16.854775s)"});
}

}  // namespace
}  // namespace tidemill::redis_store
