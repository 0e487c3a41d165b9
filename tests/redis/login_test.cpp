// Ways to reach a server: unix sockets, TLS, passwords, older protocols, names.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "certificates.hpp"
#include "client_fixture.hpp"
#include "drivers/redis/failure.hpp"
#include "process.hpp"

namespace tidemill::redis::tests {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

namespace {

testing::RedisServer::Lines lines_of(const testing::Certificates& certificates, std::uint16_t port,
                                     const std::string& name) {
  return {fmt::format("tls-port {}", port), "tls-ca-cert-file " + certificates.file("ca.crt"),
          "tls-cert-file " + certificates.file(name + ".crt"),
          "tls-key-file " + certificates.file(name + ".key")};
}

/// A server that speaks TLS on a port of its own.
struct TlsServer {
  explicit TlsServer(const testing::Certificates& certificates, const std::string& name = "server",
                     bool clients = false)
      : port(testing::free_port()), server([&] {
          auto lines = lines_of(certificates, port, name);
          lines.emplace_back(clients ? "tls-auth-clients yes" : "tls-auth-clients no");
          return lines;
        }()) {}
  std::string url(const std::string& host, const std::string& query) const {
    return fmt::format("rediss://{}:{}?{}", host, port, query);
  }
  std::uint16_t port;
  testing::RedisServer server;
};

}  // namespace

class RedisLogin : public RedisClient {
 protected:
  void start() override {}

  static std::string ping(const std::string& url, Deadline deadline = soon()) {
    Client client{parse_url(url)};
    return ask(client, Command{"PING"}, deadline);
  }
};

TEST_F(RedisLogin, OverAUnixSocket) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory / "redis.sock";
  const testing::RedisServer redis{{"unixsocket " + path, "requirepass pass"}};
  EXPECT_EQ(ping("redis+unix://:pass@" + path), "+PONG");
  EXPECT_THAT(ping("redis+unix:///no/such/socket", shortly()),
              AllOf(StartsWith("!unsent"), HasSubstr("No such file")));
  EXPECT_THAT(ping("redis+unix:///" + std::string(200, 'x'), shortly()), HasSubstr("too long"));
}

TEST_F(RedisLogin, ByAName) {
  const testing::RedisServer redis;
  EXPECT_EQ(ping(fmt::format("redis://localhost:{}", redis.port())), "+PONG");
  EXPECT_THAT(ping("redis://nobody.invalid", shortly()), StartsWith("!unsent: nobody.invalid:6379: "));
}

TEST_F(RedisLogin, AWrongPasswordIsAnsweredAtOnce) {
  const testing::RedisServer redis{
      {"requirepass se%cret", "user worker on >other ~* +@all", "user reader on >third ~* +get +hello"}};
  const auto with = [&](const std::string& who) {
    return fmt::format("redis://{}127.0.0.1:{}", who, redis.port());
  };
  EXPECT_EQ(ping(with(":se%25cret@")), "+PONG");
  EXPECT_EQ(ping(with("default:se%25cret@")), "+PONG");
  EXPECT_EQ(ping(with("worker:other@")), "+PONG");
  EXPECT_THAT(ping(with(":wrong@"), Deadline::max()),
              AllOf(StartsWith("-WRONGPASS"), Not(HasSubstr("wrong@"))));
  EXPECT_THAT(ping(with("nobody:other@"), Deadline::max()), StartsWith("-WRONGPASS"));
  EXPECT_THAT(ping(with(""), Deadline::max()), StartsWith("-NOAUTH"));
  EXPECT_THAT(ping(with("reader:third@"), Deadline::max()), StartsWith("-NOPERM"));
}

TEST_F(RedisLogin, WithoutHelloInResp2) {
  const testing::RedisServer redis{{"rename-command HELLO \"\"", "requirepass pass"}};
  const std::string url = fmt::format("redis://:pass@127.0.0.1:{}/1", redis.port());
  Client client{parse_url(url)};
  EXPECT_EQ(ask(client, Command{"HSET", "h"}.add("a").add("1")), "1");
  EXPECT_EQ(ask(client, Command{"HGETALL", "h"}), "[\"a\",\"1\"]");
  EXPECT_EQ(ask(client, Command{"GET", "none"}), "nil");
  EXPECT_THAT(ask(client, Command{"CLIENT"}.add("INFO")),
              AllOf(HasSubstr("name=tidemill"), HasSubstr("resp=2"), HasSubstr("db=1")));
  EXPECT_THAT(ping(fmt::format("redis://:wrong@127.0.0.1:{}", redis.port()), Deadline::max()),
              StartsWith("-WRONGPASS"));
  Listener listener{client, {}};
  const std::vector<Command> commands{Command{"PING"}};
  EXPECT_THAT(all_shown(listener.exec(commands, Deadline::max())), HasSubstr("no RESP3"));
}

TEST_F(RedisLogin, SpeaksResp3AndTellsItsName) {
  const testing::RedisServer redis;
  Client client{parse_url(redis.url())};
  EXPECT_THAT(ask(client, Command{"CLIENT"}.add("INFO")),
              AllOf(HasSubstr("name=tidemill"), HasSubstr("resp=3")));
}

TEST_F(RedisLogin, OverTls) {
  const testing::Certificates certificates;
  const std::string ca = "tls_ca=" + certificates.file("ca.crt");
  const TlsServer redis{certificates};
  Client client{parse_url(redis.url("localhost", ca))};
  const std::string large(5U << 20U, 'x');
  ASSERT_EQ(ask(client, Command{"SET", "large"}.add(large)), "+OK");
  std::vector<Command> commands;
  for (int i = 0; i < 20; ++i) {
    commands.push_back(Command{"GET", "large"}.reads());
    commands.push_back(Command{"SET", "other"}.add(large));
  }
  const std::vector<Reply> replies = client.exec(commands, soon());
  for (std::size_t i = 0; i < replies.size(); i += 2) {
    ASSERT_TRUE(replies[i].text == large);
    ASSERT_EQ(shown_reply(replies[i + 1]), "+OK");
  }
  EXPECT_EQ(ping(redis.url("127.0.0.1", ca)), "+PONG");
  EXPECT_THAT(ping(redis.url("127.0.0.1", "wait=0")), AllOf(StartsWith("-TLS"), HasSubstr("certificate")));
  EXPECT_EQ(ping(redis.url("127.0.0.1", "tls_verify=false")), "+PONG");
  EXPECT_THAT(ping(fmt::format("redis://127.0.0.1:{}", redis.port), shortly()), StartsWith("!unsent"));
  EXPECT_THAT(ping(fmt::format("rediss://127.0.0.1:{}?{}", redis.server.port(), ca), shortly()),
              StartsWith("!unsent"));
}

TEST_F(RedisLogin, OverTlsAfterARestart) {
  const testing::Certificates certificates;
  TlsServer redis{certificates};
  Client client{parse_url(redis.url("localhost", "tls_ca=" + certificates.file("ca.crt")))};
  EXPECT_EQ(ask(client, Command{"INCR", "n"}), "1");
  redis.server.restart();
  EXPECT_EQ(ask(client, Command{"INCR", "n"}), "1");
  redis.server.freeze();
  EXPECT_THAT(ask(client, Command{"INCR", "n"}, shortly()), StartsWith("?lost"));
  EXPECT_THAT(ask(client, Command{"INCR", "n"}, shortly()), StartsWith("!unsent"));
}

TEST_F(RedisLogin, ACertificateForAnotherNameIsRefused) {
  const testing::Certificates certificates;
  const TlsServer redis{certificates, "elsewhere"};
  const std::string ca = "tls_ca=" + certificates.file("ca.crt");
  for (const std::string host : {"localhost", "127.0.0.1"})
    EXPECT_THAT(ping(redis.url(host, ca)), AllOf(StartsWith("-TLS"), HasSubstr("mismatch"))) << host;
}

TEST_F(RedisLogin, ShowsACertificateOfItsOwn) {
  const testing::Certificates certificates;
  const TlsServer redis{certificates, "server", true};
  const std::string ca = "tls_ca=" + certificates.file("ca.crt");
  const std::string own = fmt::format("&tls_cert={}&tls_key={}", certificates.file("client.crt"),
                                      certificates.file("client.key"));
  EXPECT_EQ(ping(redis.url("localhost", ca + own)), "+PONG");
  EXPECT_THAT(ping(redis.url("localhost", ca), shortly()), StartsWith("!unsent"));
}

TEST_F(RedisLogin, SaysWhichFileCanNotBeRead) {
  const auto mistake = [](const std::string& query) {
    try {
      const Client client{parse_url("rediss://localhost?" + query)};
    } catch (const Failure& failure) {
      return std::string{failure.what()};
    }
    return std::string{"none"};
  };
  const testing::Certificates certificates;
  EXPECT_THAT(mistake("tls_ca=/no/ca"), AllOf(HasSubstr("tls_ca"), HasSubstr("/no/ca")));
  EXPECT_THAT(mistake("tls_cert=/no/cert"), AllOf(HasSubstr("tls_cert"), HasSubstr("/no/cert")));
  EXPECT_THAT(mistake(fmt::format("tls_cert={}&tls_key={}", certificates.file("client.crt"),
                                  certificates.file("server.key"))),
              HasSubstr("tls_key"));
}

}  // namespace tidemill::redis::tests
