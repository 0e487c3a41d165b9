// Ways to reach a server: unix sockets, TLS, passwords; and what a server doesn't allow.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "certificates.hpp"
#include "fixture.hpp"
#include "proxy.hpp"

namespace tidemill::mysql::tests {

using ::testing::HasSubstr;
using ::testing::Not;

namespace {

constexpr Sql read_cipher{
    "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS "
    "WHERE VARIABLE_NAME = 'SSL_CIPHER'"};

bool encrypted(const std::string& url) {
  Connection db{parse_url(url)};
  Query row = db.query(read_cipher);
  row.step();
  return row.boolean(0);
}

}  // namespace

class MysqlLogin : public MysqlTest {};

TEST_F(MysqlLogin, OverAUnixSocket) {
  Connection db{parse_url("mysql://root@/test?socket=" + server().socket())};
  static constexpr Sql read{
      "SELECT HOST = 'localhost' FROM information_schema.processlist WHERE id = "
      "CONNECTION_ID()"};
  EXPECT_TRUE(db.any(read));
  const Failure failure = failure_of([&] { Connection(parse_url("mysql://root@/test?socket=/no/such")); });
  EXPECT_EQ(failure.outcome(), Outcome::undone);
  EXPECT_EQ(failure.state(), "");
  EXPECT_THAT(failure.what(), HasSubstr("/no/such"));
}

TEST_F(MysqlLogin, ByAName) {
  EXPECT_FALSE(encrypted(fmt::format("mysql://root@localhost:{}/test", server().port())));
}

TEST_F(MysqlLogin, SaysWhyItCanNotConnect) {
  const Failure nobody =
      failure_of([&] { Connection{parse_url(testing::MysqlServer::url_at(testing::free_port()))}; });
  EXPECT_EQ(nobody.outcome(), Outcome::undone);
  EXPECT_EQ(nobody.number(), 2002U);
  EXPECT_EQ(nobody.state(), "");
  direct->execute("CREATE USER worker IDENTIFIED BY 'se/cret'; CREATE DATABASE hidden");
  const auto as = [&](const std::string& who, const std::string& database) {
    return parse_url(fmt::format("mysql://{}@127.0.0.1:{}/{}", who, server().port(), database));
  };
  EXPECT_NO_THROW(Connection{as("worker:se%2Fcret", "test")});
  const Failure wrong = failure_of([&] { Connection{as("worker:wr0ng", "test")}; });
  EXPECT_EQ(wrong.number(), 1045U);
  EXPECT_EQ(wrong.state(), "28000");
  EXPECT_TRUE(wrong.forbidden());
  EXPECT_THAT(wrong.what(), Not(HasSubstr("wr0ng")));
  EXPECT_TRUE(failure_of([&] { Connection{as("worker:se%2Fcret", "hidden")}; }).forbidden());
  EXPECT_TRUE(failure_of([&] { Connection{as("root", "nowhere")}; }).missing());
  direct->execute("CREATE TABLE hidden.pair (`key` INT)");
  Connection worker{as("worker:se%2Fcret", "test")};
  static constexpr Sql look{"SELECT * FROM hidden.pair"};
  EXPECT_TRUE(failure_of([&] { worker.query(look); }).forbidden());
}

TEST_F(MysqlLogin, ByTls) {
  const testing::Certificates certificates;
  const testing::MysqlServer tls{{"--ssl-ca=" + certificates.file("ca.crt"),
                                  "--ssl-cert=" + certificates.file("server.crt"),
                                  "--ssl-key=" + certificates.file("server.key")}};
  const testing::MysqlServer elsewhere{{"--ssl-ca=" + certificates.file("ca.crt"),
                                        "--ssl-cert=" + certificates.file("elsewhere.crt"),
                                        "--ssl-key=" + certificates.file("elsewhere.key")}};
  const std::string verify = "tls=verify&tls_ca=" + certificates.file("ca.crt");
  EXPECT_FALSE(encrypted(tls.url()));
  EXPECT_TRUE(encrypted(tls.url("tls=require")));
  EXPECT_TRUE(encrypted(tls.url(verify)));
  EXPECT_TRUE(encrypted(tls.url(verify + "&tls_cert=" + certificates.file("client.crt") +
                                "&tls_key=" + certificates.file("client.key"))));
  EXPECT_TRUE(encrypted(elsewhere.url("tls=require")));
  const auto why = [](const std::string& url) {
    const Failure failure = failure_of([&] { encrypted(url); });
    EXPECT_EQ(failure.number(), 2026U) << failure.what();
    EXPECT_EQ(failure.outcome(), Outcome::undone);
    return std::string{failure.what()};
  };
  EXPECT_THAT(why(elsewhere.url(verify)), HasSubstr("SSL"));
  EXPECT_THAT(why(tls.url("tls=verify")), HasSubstr("SSL"));
  EXPECT_THAT(why(tls.url("tls=verify&tls_ca=/no/such")), HasSubstr("SSL"));
  for (const std::string& any : {std::string{"tls=require"}, verify})
    EXPECT_THAT(why(server().url(any)), HasSubstr("SSL"));
}

TEST_F(MysqlLogin, TlsIsGivenUpAtTheDeadlineToo) {
  const testing::Certificates certificates;
  testing::MysqlServer tls{{"--ssl-ca=" + certificates.file("ca.crt"),
                            "--ssl-cert=" + certificates.file("server.crt"),
                            "--ssl-key=" + certificates.file("server.key")}};
  Connection db{parse_url(tls.url("tls=require"))};
  static constexpr Sql sleep_long{"SELECT SLEEP(60)"};
  db.give_up_at(shortly());
  EXPECT_TRUE(failure_of([&] { db.query(sleep_long); }).timed_out());
  testing::Proxy proxy{tls.port()};
  proxy.harm_always("\x16\x03\x01", 0, true);  // What TLS begins with.
  const Failure late = failure_of([&] {
    Connection(parse_url(testing::MysqlServer::url_at(proxy.port(), "tls=require&connect_timeout=1s")));
  });
  EXPECT_TRUE(late.timed_out());
  EXPECT_TRUE(proxy.harmed());
  Connection cut{parse_url(tls.url("tls=require"))};
  tls.stop(SIGKILL);
  EXPECT_TRUE(failure_of([&] { cut.query(sleep_long); }).lost());
}

TEST_F(MysqlLogin, AServerThatTakesNoWrites) {
  testing::MysqlServer replica;
  Connection root{parse_url(replica.url())};
  root.execute(
      "CREATE TABLE main.pair (`key` BIGINT PRIMARY KEY); CREATE USER worker; GRANT ALL ON test.* TO worker; "
      "SET GLOBAL read_only = 1");
  Connection db{parse_url(fmt::format("mysql://worker@127.0.0.1:{}/test", replica.port()))};
  const Failure failure = failure_of([&] { db.run(insert_key, 1); });
  EXPECT_TRUE(failure.read_only());
  EXPECT_EQ(failure.outcome(), Outcome::refused);
  EXPECT_FALSE(failure.retryable());
  EXPECT_FALSE(failure.forbidden());
  root.execute("START TRANSACTION READ ONLY");
  EXPECT_TRUE(failure_of([&] { root.run(insert_key, 1); }).read_only());
  EXPECT_FALSE(root.in_transaction());
}

TEST_F(MysqlLogin, ATableThatIsFull) {
  direct->execute(
      "SET SESSION max_heap_table_size = 16384; CREATE TABLE main.small (a CHAR(200)) ENGINE=MEMORY");
  static constexpr Sql fill{"INSERT INTO main.small SELECT 'x' FROM mysql.help_topic LIMIT 200"};
  EXPECT_TRUE(failure_of([&] { direct->run(fill); }).full());
}

}  // namespace tidemill::mysql::tests
