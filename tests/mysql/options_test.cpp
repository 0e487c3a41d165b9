#include "drivers/mysql/options.hpp"

#include <chrono>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/mysql/failure.hpp"

namespace tidemill::mysql::tests {

using ::testing::HasSubstr;
using ::testing::Not;

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

TEST(MysqlUrl, HasDefaults) {
  const Options plain = parse_url("mariadb:///app");
  EXPECT_EQ(plain.host, "localhost");
  EXPECT_EQ(plain.port, 3306);
  EXPECT_EQ(plain.user, "");
  EXPECT_EQ(plain.password, "");
  EXPECT_EQ(plain.database, "app");
  EXPECT_EQ(plain.prefix, "tidemill_");
  EXPECT_EQ(plain.tls, Tls::none);
  EXPECT_EQ(plain.connect_timeout, std::chrono::seconds{5});
}

TEST(MysqlUrl, TakesEverything) {
  const Options full = parse_url(
      "mysql://us%40er:p%2Fw@db.example:3307/my%20db?prefix=jobs_&tls=verify&tls_ca=%2Fca.crt&tls_cert=/c&"
      "tls_key=/k&connect_timeout=500ms");
  EXPECT_EQ(full.user, "us@er");
  EXPECT_EQ(full.password, "p/w");
  EXPECT_EQ(full.host, "db.example");
  EXPECT_EQ(full.port, 3307);
  EXPECT_EQ(full.database, "my db");
  EXPECT_EQ(full.prefix, "jobs_");
  EXPECT_EQ(full.tls, Tls::verify);
  EXPECT_EQ(full.tls_ca, "/ca.crt");
  EXPECT_EQ(full.tls_certificate, "/c");
  EXPECT_EQ(full.tls_key, "/k");
  EXPECT_EQ(full.connect_timeout, std::chrono::milliseconds{500});
  EXPECT_EQ(shown(full), "mysql://us@er@db.example:3307/my db?prefix=jobs_");
  const Options socket = parse_url("mysql://user@/app?socket=/run/mysqld/mysqld.sock&connect_timeout=7s");
  EXPECT_EQ(socket.socket, "/run/mysqld/mysqld.sock");
  EXPECT_EQ(socket.connect_timeout, std::chrono::seconds{7});
  EXPECT_EQ(shown(socket), "mysql://user@/app?prefix=tidemill_&socket=/run/mysqld/mysqld.sock");
  const Options ipv6 = parse_url("mysql://user@[::1]:3307/app");
  EXPECT_EQ(ipv6.host, "::1");
  EXPECT_EQ(ipv6.port, 3307);
  EXPECT_EQ(shown(ipv6), "mysql://user@[::1]:3307/app?prefix=tidemill_");
  EXPECT_EQ(parse_url("mysql://[::1]/app").host, "::1");
}

TEST(MysqlUrl, SaysWhatIsWrong) {
  EXPECT_THAT(mistake("postgres://h/d"), HasSubstr("it begins with neither mysql:// nor mariadb://"));
  EXPECT_THAT(mistake("mysql:h/d"), HasSubstr("it begins with neither"));
  for (const char* const url : {"mysql://h", "mysql://h/", "mysql://h/?prefix=x", "mysql://h/a/b"})
    EXPECT_THAT(mistake(url),
                HasSubstr("the database's name is missing, too long, or has a / in it; right is"));
  EXPECT_THAT(mistake("mysql://h/" + std::string(65, 'x')), HasSubstr("too long"));
  EXPECT_THAT(mistake("mysql://h:99999/d"), HasSubstr("no port from 1 to 65535"));
  EXPECT_THAT(mistake("mysql://h:/d"), HasSubstr("no port"));
  EXPECT_THAT(mistake("mysql://:1/d"), HasSubstr("the host before the port is missing"));
  EXPECT_THAT(mistake("mysql://[::1/d"), HasSubstr("must end with ]"));
  EXPECT_THAT(mistake("mysql://[::1]x/d"), HasSubstr("must end with ]"));
  for (const std::string prefix : {"", "a-b", "A", "x.y", "%60", "0123456789012345678901234567890"})
    EXPECT_THAT(mistake("mysql://h/d?prefix=" + prefix), HasSubstr("1 to 30 letters a to z, digits and _"));
  EXPECT_THAT(mistake("mysql://h/d?prefix=%2"), HasSubstr("prefix has a %"));
  EXPECT_THAT(mistake("mysql://h/d?tls_ca=a%00&tls=verify"), HasSubstr("a % itself is %25"));
  EXPECT_THAT(mistake("mysql://h/d?tls=yes"), HasSubstr("tls is \"yes\"; it is no, require or verify"));
  EXPECT_THAT(mistake("mysql://h/d?tls_ca=x"), HasSubstr("mean nothing without tls=verify"));
  EXPECT_THAT(mistake("mysql://h/d?tls=require&tls_ca=x"), HasSubstr("write tls=verify"));
  EXPECT_THAT(mistake("mysql://h/d?tls=verify&tls_key=x"), HasSubstr("one is missing"));
  EXPECT_THAT(mistake("mysql://h/d?socket="), HasSubstr("socket is empty"));
  for (const std::string time : {"", "5", "s", "0s", "-1s", "3601s", "9999999s", "1h"})
    EXPECT_THAT(mistake("mysql://h/d?connect_timeout=" + time),
                HasSubstr("such as 5s or 500ms, up to 3600s"));
  EXPECT_THAT(mistake("mysql://h/d?prefx=x"), HasSubstr("there is no option \"prefx\"; there are prefix"));
  EXPECT_THAT(mistake(std::string_view{"mysql://h/\0d", 11}), HasSubstr("byte 0"));
}

TEST(MysqlUrl, NeverShowsAPassword) {
  for (const char* const url : {"mysql://u:sec%zzret@h/d", "mysql://u:secret@h:99999/d",
                                "mysql://u:secret@[::1/d", "mysql://u:secret/w@h/d", "mysql://u:sec?ret@h/d",
                                "mysql://u:secret@h/d?q=1", "mysql://u:secret@h"}) {
    EXPECT_THAT(mistake(url), Not(HasSubstr("sec"))) << url;
    EXPECT_THAT(mistake(url), Not(HasSubstr("ret@"))) << url;
    EXPECT_NE(mistake(url), "none") << url;
  }
  EXPECT_THAT(shown(parse_url("mysql://u:secret@h/d")), Not(HasSubstr("secret")));
}

}  // namespace tidemill::mysql::tests
