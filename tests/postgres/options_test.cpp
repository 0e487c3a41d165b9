#include "drivers/postgres/options.hpp"

#include <chrono>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/postgres/failure.hpp"

namespace tidemill::postgres::tests {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

namespace {

std::string mistake(std::string_view url) {
  try {
    (void)parse_url(url);
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "none";
}

}  // namespace

TEST(PostgresUrl, TakesWhatIsOursAndLeavesTheRestToLibpq) {
  const Options plain = parse_url("postgresql://");
  EXPECT_THAT(plain.parameters, ::testing::IsEmpty());
  EXPECT_EQ(plain.schema, "public");
  EXPECT_TRUE(plain.prepared);
  EXPECT_EQ(plain.connect_timeout, std::chrono::seconds{5});
  const Options full = parse_url(
      "postgres://us%40er:p%2Fw@a:1,b:2/"
      "my%20db?schema=J%C3%B6bs%20%22&sslmode=disable&prepared=no&connect_timeout=2");
  EXPECT_THAT(full.parameters,
              UnorderedElementsAre(Pair("user", "us@er"), Pair("password", "p/w"), Pair("host", "a,b"),
                                   Pair("port", "1,2"), Pair("dbname", "my db"), Pair("sslmode", "disable")));
  EXPECT_EQ(full.schema, "Jöbs \"");
  EXPECT_FALSE(full.prepared);
  EXPECT_EQ(full.connect_timeout, std::chrono::seconds{2});
  EXPECT_EQ(shown(full), "postgres://us@er@a,b:1,2/my db?schema=Jöbs \"");
}

TEST(PostgresUrl, SaysWhatIsWrong) {
  EXPECT_THAT(mistake("mysql://h"), HasSubstr("it begins with neither postgres:// nor postgresql://"));
  EXPECT_THAT(mistake("postgres://h/d?schema="), HasSubstr("schema has 0 bytes; a name has 1 to 63"));
  EXPECT_THAT(mistake("postgres://h/d?schema=" + std::string(64, 'x')), HasSubstr("schema has 64 bytes"));
  EXPECT_THAT(mistake("postgres://h/d?schema=%2"), HasSubstr("a % itself is %25"));
  EXPECT_THAT(mistake("postgres://h/d?schema=a%00"), HasSubstr("schema"));
  EXPECT_THAT(mistake("postgres://h/d?prepared=maybe"), HasSubstr("prepared is \"maybe\"; it is yes or no"));
  EXPECT_THAT(mistake("postgres://h/d?connect_timeout=5s"), HasSubstr("number of seconds, 1 to 3600"));
  EXPECT_THAT(mistake("postgres://h/d?shema=x"), HasSubstr("invalid URI query parameter: \"shema\""));
  EXPECT_THAT(mistake("postgres://h:99999/d"), HasSubstr("no port from 1 to 65535"));
  EXPECT_THAT(mistake("postgres://[::1/d"), HasSubstr("PostgreSQL URL: "));
  EXPECT_THAT(mistake(std::string_view{"postgres://h/\0d", 14}), HasSubstr("byte 0"));
}

TEST(PostgresUrl, NeverShowsAPassword) {
  for (const char* const url :
       {"postgres://u:sec%zzret@h/d", "postgres://u:secret@h:99999/d", "postgres://u:secret@[::1/d",
        "postgres://u:secret/w@h/d", "postgres://u:sec ret@h/d?x", "postgres://u:secret@h/d?q=1"}) {
    EXPECT_THAT(mistake(url), Not(HasSubstr("sec"))) << url;
    EXPECT_THAT(mistake(url), Not(HasSubstr("ret@"))) << url;
    EXPECT_NE(mistake(url), "none") << url;
  }
  EXPECT_THAT(shown(parse_url("postgres://u:secret@h/d")), Not(HasSubstr("secret")));
}

}  // namespace tidemill::postgres::tests
