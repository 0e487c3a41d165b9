#include "drivers/redis/options.hpp"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis::tests {

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

TEST(RedisUrl, NamesOneServer) {
  const Options plain = parse_url("redis://localhost");
  EXPECT_EQ(plain.topology, Topology::single);
  EXPECT_EQ(plain.addresses, (std::vector<Address>{{.host = "localhost", .port = 6379}}));
  EXPECT_EQ(plain.database, 0);
  EXPECT_FALSE(plain.tls);
  const Options full = parse_url("rediss://us%40er:p%2Fw%3A%40d:x@10.0.0.1:7000/3");
  EXPECT_TRUE(full.tls);
  EXPECT_TRUE(full.tls_verify);
  EXPECT_EQ(full.user, "us@er");
  EXPECT_EQ(full.password, "p/w:@d:x");
  EXPECT_EQ(full.addresses, (std::vector<Address>{{.host = "10.0.0.1", .port = 7000}}));
  EXPECT_EQ(full.database, 3);
  const Options v6 = parse_url("redis://:pass@word@[::1]:7001/");
  EXPECT_EQ(v6.user, "");
  EXPECT_EQ(v6.password, "pass@word");
  EXPECT_EQ(v6.addresses, (std::vector<Address>{{.host = "::1", .port = 7001}}));
  EXPECT_EQ(parse_url("redis://[fe80::1]").addresses.at(0).port, 6379);
}

TEST(RedisUrl, NamesASocketSentinelsOrACluster) {
  const Options local = parse_url("redis+unix:///run/my%20redis.sock?database=2");
  EXPECT_EQ(local.addresses, (std::vector<Address>{{.host = "/run/my redis.sock", .port = 0}}));
  EXPECT_EQ(local.database, 2);
  EXPECT_EQ(parse_url("redis+unix://u:p@/run/redis.sock").password, "p");
  const Options sentinel = parse_url(
      "redis+sentinel://u:p@a,b:1,[::1]/my%20master/4?sentinel_user=s&sentinel_password=q%26&tls=true");
  EXPECT_EQ(sentinel.topology, Topology::sentinel);
  EXPECT_EQ(sentinel.addresses,
            (std::vector<Address>{
                {.host = "a", .port = 26379}, {.host = "b", .port = 1}, {.host = "::1", .port = 26379}}));
  EXPECT_EQ(sentinel.master, "my master");
  EXPECT_EQ(sentinel.database, 4);
  EXPECT_EQ(sentinel.password, "p");
  EXPECT_EQ(sentinel.sentinel_user, "s");
  EXPECT_EQ(sentinel.sentinel_password, "q&");
  EXPECT_TRUE(sentinel.tls);
  const Options cluster = parse_url("redis+cluster://a:1,b");
  EXPECT_EQ(cluster.topology, Topology::cluster);
  EXPECT_EQ(cluster.addresses, (std::vector<Address>{{.host = "a", .port = 1}, {.host = "b", .port = 6379}}));
}

TEST(RedisUrl, TakesOptions) {
  using std::chrono::milliseconds;
  const Options options = parse_url(
      "rediss://h?wait=2&timeout=1500ms&connect_timeout=3s&tls_ca=/ca%3f&tls_cert=/cert&tls_key=/"
      "key&tls_verify="
      "false");
  EXPECT_EQ(options.replicas, 2);
  EXPECT_EQ(options.timeout, milliseconds{1500});
  EXPECT_EQ(options.connect_timeout, milliseconds{3000});
  EXPECT_EQ(options.tls_ca, "/ca?");
  EXPECT_EQ(options.tls_certificate, "/cert");
  EXPECT_EQ(options.tls_key, "/key");
  EXPECT_FALSE(options.tls_verify);
}

TEST(RedisUrl, SaysWhatIsWrong) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"localhost:6379", "redis://"},
      {"http://localhost", "redis+sentinel://"},
      {"redis://", "a host is missing"},
      {"redis://:6379", "host before a port"},
      {"redis://h:", "port of the host \"h\""},
      {"redis://h:0", "1 to 65535"},
      {"redis://h:65536", "1 to 65535"},
      {"redis://h:6379x", "1 to 65535"},
      {"redis://::1", "[::1]:6379"},
      {"redis://[::1", "must end with ]"},
      {"redis://[::1]6379", "after the ]"},
      {"redis://a,b", "redis+cluster://"},
      {"redis+cluster://a,,b", "a host is missing"},
      {"redis://user@h", ":PASSWORD"},
      {"redis://user:@h", "password before the @ is empty"},
      {"redis://u:%zz@h", "in the password, a %"},
      {"redis://h/first", "database \"first\""},
      {"redis://h/-1", "database \"-1\""},
      {"redis://h?databse=1", "did you mean database?"},
      {"redis://h?tiemout=1s", "did you mean timeout?"},
      {"redis://h?colour=red", "there are database, wait"},
      {"redis://h?password=x", "USER:PASSWORD@HOST"},
      {"redis://h?timeout=5", "5s or 500ms, not \"5\""},
      {"redis://h?timeout=0s", "timeout must be a time"},
      {"redis://h?timeout=99999s", "timeout must be a time"},
      {"redis://h?wait=many", "wait must be a number"},
      {"redis://h?wait=1&wait=1", "wait stands there twice"},
      {"redis://h?wait", "write wait="},
      {"redis://h?wait=", "wait has no value"},
      {"redis://h?tls=yes", "true or false"},
      {"redis://h#x", "%23"},
      {"redis+unix://run/redis.sock", "three slashes"},
      {"redis+unix:///", "three slashes"},
      {"redis+unix:///s?tls=true", "unix socket has no TLS"},
      {"redis+sentinel://a", "name of the master is missing"},
      {"redis+sentinel://a/", "name of the master is missing"},
      {"redis+sentinel://a/m/x", "database \"x\""},
      {"redis+cluster://a/1", "database 0 only"},
      {"redis+cluster://a?database=1", "database 0 only"},
      {"redis://h?sentinel_password=x", "redis+sentinel:// only"},
      {"redis+sentinel://h/m?sentinel_user=x", "needs sentinel_password"},
      {"rediss://h?tls=false", "redis://"},
      {"rediss://h?tls_key=/k", "tls_key needs tls_cert"},
      {"redis://h?tls_ca=/ca", "rediss://"},
  };
  for (const auto& [url, expected] : cases)
    EXPECT_THAT(mistake(url), HasSubstr(std::string{expected})) << url;
}

TEST(RedisUrl, NeverShowsAPassword) {
  for (const std::string_view url :
       {"redis://user:secret", "redis://user:sec/secret@h", "redis://user:sec?secret@h",
        "redis://u:sec#secret@h", "redis://u:secret%@h", "redis://u:secret@h:x", "redis://u:secret@h?x=1",
        "redis://u:secret:@", "redis+sentinel://h/m?sentinel_password=secret%", "redis://h?password=secret",
        "redis://secret@h", "rediss://u:secret@h?tls=false"}) {
    EXPECT_THAT(mistake(url), Not(HasSubstr("secret"))) << url;
    EXPECT_NE(mistake(url), "none") << url;
  }
}

}  // namespace tidemill::redis::tests
