// Store URLs: what they come apart into, and the words for those that are not right.
#include <gtest/gtest.h>

#include <tidemill/error.hpp>

#include "core/url.hpp"
#include "refusal.hpp"

namespace tidemill {
namespace {

std::string error_of(std::string_view text, std::initializer_list<std::string_view> names = {}) {
  return tests::refusal([&] { Url::parse(text).allow_only(names); });
}

TEST(Url, ComesApart) {
  const Url url = Url::parse("sqlite:/var/lib/a%20b.db?synchronous=normal&x=%3F%3d&empty=");
  EXPECT_EQ(url.scheme, "sqlite");
  EXPECT_EQ(url.path, "/var/lib/a b.db");
  EXPECT_EQ(url.query,
            (std::map<std::string, std::string>{{"synchronous", "normal"}, {"x", "?="}, {"empty", ""}}));
  EXPECT_EQ(Url::parse("memory:").scheme, "memory");
  EXPECT_EQ(Url::parse("memory:").path, "");
  EXPECT_EQ(Url::parse("sqlite:a:b").path, "a:b");
  EXPECT_TRUE(Url::parse("sqlite:a?").query.empty());
}

TEST(Url, WhatIsWrongIsSaid) {
  EXPECT_EQ(error_of("jobs.db"),
            "store URL \"jobs.db\" has no scheme; write for instance sqlite:jobs.db or memory:");
  EXPECT_EQ(error_of(":x"), "store URL \":x\" has no scheme; write for instance sqlite:jobs.db or memory:");
  for (const char* text : {"sqlite:a%", "sqlite:a%4", "sqlite:a%4g", "sqlite:a?b=%"}) {
    EXPECT_EQ(error_of(text),
              std::string{"store URL \""} + text +
                  "\": a '%' must be followed by two hexadecimal digits; write %25 for '%' itself");
  }
  EXPECT_EQ(error_of("sqlite:a?b"), "store URL \"sqlite:a?b\": option \"b\" must be name=value");
  EXPECT_EQ(error_of("sqlite:a?=b"), "store URL \"sqlite:a?=b\": option \"=b\" must be name=value");
  EXPECT_EQ(error_of("sqlite:a?b=1&b=2"), "store URL \"sqlite:a?b=1&b=2\": option \"b\" is given twice");
}

TEST(Url, OtherOptionsAreRefusedWithThoseThatThereAre) {
  EXPECT_EQ(error_of("sqlite:a?sync=1", {"synchronous", "timeout"}),
            "store URL sqlite: there is no option \"sync\"; it takes: synchronous, timeout");
  EXPECT_EQ(error_of("memory:?a=1"), "store URL memory: there is no option \"a\"; it takes none");
  EXPECT_NO_THROW(Url::parse("sqlite:a?timeout=1").allow_only({"synchronous", "timeout"}));
}

}  // namespace
}  // namespace tidemill
