// The entries of a Go scheduler on the same Redis, on the command line and over HTTP.
#include <gmock/gmock.h>

#include "cli/cli_fixture.hpp"
#include "http_peer.hpp"
#include "redis_server.hpp"
#include "stores/redis/message.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class GoSchedulesTest : public CliTest {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    redis_.emplace();
    setenv("TIDEMILL_STORE", redis_->url().c_str(), 1);
    redis::Client client{redis::Options{.addresses = {redis_->address()}}};
    const std::string key = "asynq:schedulers:{web:4242:c0ffee}";
    const redis_store::SchedulerEntry entry{.id = "e1",
                                            .spec = "30 2 * * *",
                                            .task_type = "report",
                                            .task_payload = "{}",
                                            .options = {"Queue(\"low\")"},
                                            .next_at = TimePoint{1893456000s}};
    ASSERT_TRUE(client.exec(redis::Command{"RPUSH", key}.add(encode(entry))).ok());
    ASSERT_TRUE(client.exec(redis::Command{"ZADD", "asynq:schedulers"}.add("32503680000").add(key)).ok());
  }

  std::optional<RedisServer> redis_;
};

constexpr const char* refused = R"(schedule "e1" belongs to the Go scheduler web:4242, which alone)";

TEST_F(GoSchedulesTest, AreListedAndNotChanged) {
  good("schedules", "put", "ours", "--spec", "@hourly", "--kind", "k");
  const auto all = good("schedules", "--json").objects();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(text(all[0], "id"), "e1");
  EXPECT_EQ(text(all[0], "spec"), "30 2 * * *");
  EXPECT_EQ(text(all[0], "zone"), "");
  EXPECT_EQ(text(all[0], "queue"), "low");
  EXPECT_EQ(text(all[0], "kind"), "report");
  EXPECT_EQ(text(all[0], "owner"), "Go scheduler web:4242");
  EXPECT_EQ(all[0].at("read_only"), true);
  EXPECT_EQ(all[1].at("read_only"), false);
  EXPECT_THAT(good("schedules").out, HasSubstr("Go scheduler web:4242"));
  for (const char* const verb : {"pause", "resume", "fire", "erase"})
    bad(1, refused, "schedules", verb, "e1");
  bad(1, refused, "schedules", "put", "e1", "--spec", "@hourly", "--kind", "k");
}

TEST_F(GoSchedulesTest, AreListedAndNotChangedOverAServer) {
  Process server = start({"serve", "--listen", "127.0.0.1:0"}, "server");
  const auto said = [&] { return read_file(directory_ / "server.out"); };
  ASSERT_TRUE(eventually([&] { return said().find('\n') != std::string::npos || server.ended(); }));
  const auto port = static_cast<std::uint16_t>(std::stoi(said().substr(said().rfind(':') + 1)));
  const auto ask = [&](const std::string& method, const std::string& path, const std::string& body = "") {
    Peer peer{port};
    peer.send(
        fmt::format("{} /api/v1/schedules/e1{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "application/json\r\nContent-Length: {}\r\n\r\n{}",
                    method, path, body.size(), body));
    return peer.response();
  };
  EXPECT_THAT(ask("GET", ""), HasSubstr(R"("owner":"Go scheduler web:4242","paused":false)"));
  EXPECT_THAT(ask("GET", ""), HasSubstr(R"("read_only":true)"));
  for (const std::string path : {"/pause", "/resume", "/run"}) {
    const std::string answer = ask("POST", path);
    EXPECT_THAT(answer, HasSubstr("HTTP/1.1 409 ")) << path;
    EXPECT_THAT(answer, HasSubstr("belongs to the Go scheduler web:4242")) << path;
  }
  EXPECT_THAT(ask("DELETE", ""), HasSubstr("HTTP/1.1 409 "));
  EXPECT_THAT(ask("PUT", "", R"({"spec":"@daily","task":{"kind":"k"}})"), HasSubstr("HTTP/1.1 409 "));
  // And for the command line in front of it.
  setenv("TIDEMILL_STORE", fmt::format("http://127.0.0.1:{}", port).c_str(), 1);
  EXPECT_EQ(good("schedules", "--json").objects().at(0).at("read_only"), true);
  for (const char* const verb : {"pause", "fire", "erase"})
    bad(1, "belongs to the Go scheduler web:4242", "schedules", verb, "e1");
}

}  // namespace
}  // namespace tidemill::testing
