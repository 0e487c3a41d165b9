// The store, and the server's own configuration.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AdminTest : public ServerTest {};

TEST_F(AdminTest, TheStoreTellsHowItIs) {
  serve();
  const Reply store = get("/store");
  EXPECT_TRUE(store.at("/reachable").as_bool());
  EXPECT_GE(store.number("/answer_us"), 0);
  EXPECT_EQ(store.count("/concerns"), 0U);
  const Reply checks = post("/store/checks");
  EXPECT_EQ(checks.status, 200);
  EXPECT_EQ(checks.text("/items/0/check"), "answer");
  EXPECT_THAT(checks.body, HasSubstr(R"("level":"ok","text":"no task is held by a worker that is gone")"));
}

TEST_F(AdminTest, TheConfigurationIsShownWithoutSecrets) {
  serve(
      "tokens: [{name: a, role: admin, secret: the-first-secret, queues: []}]\n"
      "queues: {mail: 3}\n"
      "deliveries:\n"
      "  - kinds: [a]\n"
      "    http: {url: 'https://example.com/x', headers: {Authorization: Bearer hush}, secrets: "
      "[whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo]}\n"
      "  - kinds: [b]\n"
      "    command: {argv: [/bin/true], environment: {PASSWORD: hush}}\n");
  const Reply config = as("the-first-secret", [&] { return get("/config"); });
  EXPECT_EQ(config.status, 200);
  EXPECT_THAT(config.text("/store"), HasSubstr("sqlite:"));
  EXPECT_EQ(config.text("/tokens/0/name"), "a");
  EXPECT_EQ(config.text("/tokens/0/role"), "admin");
  EXPECT_EQ(config.number("/queues/mail"), 3);
  EXPECT_EQ(config.text("/deliveries/0/http/headers/0"), "Authorization");
  EXPECT_TRUE(config.at("/deliveries/0/http/signed").as_bool());
  EXPECT_EQ(config.text("/deliveries/1/command/environment/0"), "PASSWORD");
  EXPECT_EQ(config.number("/limits/body"), 8 << 20) << "what the file leaves to us";
  EXPECT_THAT(config.body, Not(HasSubstr("hush")));
  EXPECT_THAT(config.body, Not(HasSubstr("aHVzaGh1c2hodXNo")));
  EXPECT_THAT(config.body, Not(HasSubstr("the-first-secret")));
}

TEST_F(AdminTest, TheConfigurationIsReadAnew) {
  serve("queues: {mail: 1}\n");
  configure("queues: {mail: 5}\nlimits: {connections: 77}\n");
  const Reply reloaded = post("/config/reload");
  EXPECT_EQ(reloaded.body, R"({"waiting_for_restart":["limits"]})");
  EXPECT_EQ(post("/config/reload").body, reloaded.body) << "it still waits";
  EXPECT_EQ(get("/config").number("/queues/mail"), 5);
  EXPECT_NE(get("/config").number("/limits/connections"), 77);
  configure("queues: {mail: five}\n");
  const Reply wrong = post("/config/reload");
  expect_problem(400, "invalid", wrong);
  EXPECT_THAT(wrong.text("/detail"), HasSubstr("tidemill.yaml:1:"));
  EXPECT_EQ(get("/config").number("/queues/mail"), 5);
}

TEST_F(AdminTest, WithoutAFileThereIsNothingToReadAnew) {
  serve();
  const Reply answer = post("/config/reload");
  expect_problem(400, "invalid", answer);
  EXPECT_THAT(answer.text("/detail"), HasSubstr("--config"));
}

}  // namespace

}  // namespace tidemill::testing
