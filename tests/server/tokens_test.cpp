// Tokens that are made over the API.
#include <sqlite3.h>

#include <chrono>

#include <fmt/chrono.h>

#include "redis_server.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* root = "the-secret-of-root";
constexpr const char* file =
    "tokens:\n"
    "  - {name: root, role: admin, secret: the-secret-of-root}\n"
    "  - {name: some, role: admin, secret: the-secret-of-some, queues: [mail]}\n"
    "  - {name: eyes, role: viewer, secret: the-secret-of-eyes}\n";

class TokensTest : public ServerTest {
 protected:
  void SetUp() override {
    serve(file);
    token_ = root;
  }
  Reply patch(const std::string& target, const std::string& body, const std::string& more = "") const {
    return send("PATCH", "/api/v1" + target, body, "Content-Type: application/json\r\n" + more);
  }
  /// Its secret.
  std::string make(const std::string& body) const {
    const Reply made = post("/tokens", body);
    EXPECT_EQ(made.status, 201) << made.body;
    return made.has("/secret") ? made.text("/secret") : "";
  }
  int status(const std::string& secret, const std::string& path = "/queues") {
    return as(secret, [&] { return get(path).status; });
  }
  int enqueue(const std::string& secret, const std::string& queue) {
    return as(secret,
              [&] { return post("/tasks", fmt::format(R"({{"kind":"a","queue":"{}"}})", queue)).status; });
  }
  /// One of the list; null when it isn't there.
  boost::json::value listed(const std::string& name) const {
    const auto all = get("/tokens").at("/items");
    for (const auto& each : all.as_array()) {
      if (each.at("name").as_string() == name) return each;
    }
    return nullptr;
  }
  /// In so many seconds.
  static std::string soon(std::chrono::seconds wait) {
    return fmt::format("{:%FT%TZ}",
                       std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now() + wait));
  }
};

TEST_F(TokensTest, ATokenIsOfItsRoleAndQueuesUntilItIsDeleted) {
  const Reply made = post("/tokens", R"({"name":"shop","role":"producer","queues":["mail","img:*"]})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.header("Location"), "/api/v1/tokens/shop");
  EXPECT_EQ(made.header("Cache-Control"), "no-store");
  EXPECT_EQ(made.text("/role"), "producer");
  EXPECT_EQ(made.text("/source"), "store");
  EXPECT_EQ(made.text("/by"), "root");
  const std::string secret = made.text("/secret");
  EXPECT_EQ(secret.substr(0, 4), "tmt_");
  EXPECT_EQ(secret.size(), 4U + 43U);
  EXPECT_EQ(enqueue(secret, "mail"), 201);
  EXPECT_EQ(enqueue(secret, "img:small"), 201);
  EXPECT_EQ(enqueue(secret, "pay"), 403);
  expect_problem(403, "forbidden", as(secret, [&] { return get("/queues"); }));
  expect_problem(403, "forbidden", as(secret, [&] { return get("/tokens"); }));

  const Reply patched = patch("/tokens/shop", R"({"role":"operator","queues":null})");
  EXPECT_EQ(patched.text("/role"), "operator");
  EXPECT_FALSE(patched.has("/queues"));
  EXPECT_FALSE(patched.has("/secret"));
  EXPECT_EQ(enqueue(secret, "pay"), 201);
  EXPECT_EQ(status(secret), 200);

  EXPECT_EQ(erase("/tokens/shop").status, 204);
  expect_problem(401, "bad_credentials", as(secret, [&] { return get("/queues"); }));
  expect_problem(404, "not_found", erase("/tokens/shop"));
  expect_problem(404, "not_found", patch("/tokens/shop", R"({"role":"viewer"})"));
  expect_problem(404, "not_found", post("/tokens/shop/rotate"));
  const std::string another = make(R"({"name":"shop","role":"viewer"})");
  EXPECT_EQ(status(another), 200);
  EXPECT_EQ(status(secret), 401) << "its name has come back, and its secret has not";
}

TEST_F(TokensTest, ARotatedTokenKeepsItsOldSecretForTheOverlap) {
  const std::string first = make(R"({"name":"shop","role":"viewer"})");
  const Reply rotated = post("/tokens/shop/rotate", R"({"overlap":"1h"})");
  ASSERT_EQ(rotated.status, 200) << rotated.body;
  EXPECT_EQ(rotated.header("Cache-Control"), "no-store");
  EXPECT_TRUE(rotated.has("/former_until"));
  const std::string second = rotated.text("/secret");
  EXPECT_NE(second, first);
  EXPECT_EQ(status(first), 200);
  EXPECT_EQ(status(second), 200);

  const Reply at_once = post("/tokens/shop/rotate");
  ASSERT_EQ(at_once.status, 200) << at_once.body;
  EXPECT_FALSE(at_once.has("/former_until"));
  const std::string third = at_once.text("/secret");
  EXPECT_EQ(status(first), 401);
  EXPECT_EQ(status(second), 401);
  EXPECT_EQ(status(third), 200);

  const std::string fourth = post("/tokens/shop/rotate", R"({"overlap":"1s"})").text("/secret");
  EXPECT_TRUE(eventually([&] { return status(third) == 401; }));
  EXPECT_EQ(status(fourth), 200);
  EXPECT_FALSE(listed("shop").as_object().contains("former_until"));
  expect_mistake("/overlap", "30d", post("/tokens/shop/rotate", R"({"overlap":"31d"})"));
  expect_mistake("/overlop", "overlap", post("/tokens/shop/rotate", R"({"overlop":"1h"})"));
}

TEST_F(TokensTest, AListShowsAllTokensAndNoSecrets) {
  const std::string secret =
      make(R"({"name":"shop","role":"producer","queues":["mail"],"requests_per_minute":600})");
  const Reply all = get("/tokens");
  EXPECT_EQ(all.count("/items"), 4U);
  EXPECT_EQ(all.text("/items/0/name"), "root");
  EXPECT_EQ(all.text("/items/0/source"), "file");
  EXPECT_EQ(listed("shop").at("source").as_string(), "store");
  EXPECT_EQ(listed("shop").at("requests_per_minute").as_int64(), 600);
  EXPECT_EQ(listed("shop").at("queues").as_array().size(), 1U);
  EXPECT_THAT(all.body, Not(HasSubstr("secret")));
  EXPECT_THAT(all.body, Not(HasSubstr("sha256")));
  EXPECT_THAT(all.body, Not(HasSubstr("tmt_")));
  EXPECT_THAT(log(), HasSubstr("a token was made"));
  EXPECT_THAT(log(), Not(HasSubstr(secret)));
  EXPECT_THAT(read_file(directory_ / "jobs.db") + read_file(directory_ / "jobs.db-wal"),
              Not(HasSubstr(secret)));
}

TEST_F(TokensTest, MistakesAreToldWithTheirPlace) {
  expect_mistake("/role", "operator", post("/tokens", R"({"name":"x","role":"oprator"})"));
  expect_mistake("/role", "is missing", post("/tokens", R"({"name":"x"})"));
  expect_mistake("/name", "is missing", post("/tokens", R"({"role":"viewer"})"));
  expect_mistake("/name", "with a blank", post("/tokens", R"({"name":" x","role":"viewer"})"));
  expect_mistake("/quues", "queues", post("/tokens", R"({"name":"x","role":"viewer","quues":["a"]})"));
  expect_mistake("/queues", "for all queues", post("/tokens", R"({"name":"x","role":"viewer","queues":[]})"));
  expect_mistake("/queues/1", "empty", post("/tokens", R"({"name":"x","role":"viewer","queues":["a",""]})"));
  expect_mistake("/queues/0", "text", post("/tokens", R"({"name":"x","role":"viewer","queues":[7]})"));
  expect_mistake("/requests_per_minute", "1",
                 post("/tokens", R"({"name":"x","role":"viewer","requests_per_minute":0})"));
  expect_mistake("/expires_at", "past",
                 post("/tokens", R"({"name":"x","role":"viewer","expires_at":"2020-01-01T00:00:00Z"})"));
  expect_mistake("/secret", "no such field",
                 post("/tokens", R"({"name":"x","role":"viewer","secret":"of-my-own-0123456789"})"));
  make(R"({"name":"shop","role":"viewer"})");
  expect_problem(409, "conflict", post("/tokens", R"({"name":"shop","role":"admin"})"));
  expect_problem(409, "conflict", post("/tokens", R"({"name":"eyes","role":"admin"})"));
  expect_mistake("/name", "another", patch("/tokens/shop", R"({"name":"store"})"));
  expect_mistake("/role", "viewer", patch("/tokens/shop", R"({"role":"viewr"})"));
  // An answer that is kept would have the secret in it.
  const std::string key = "Content-Type: application/json\r\nIdempotency-Key: 1\r\n";
  for (const char* const target : {"/api/v1/tokens", "/api/v1/tokens/shop/rotate"}) {
    const Reply kept = send("POST", target, R"({"name":"y","role":"viewer"})", key);
    expect_problem(400, "invalid", kept);
    EXPECT_THAT(kept.text("/detail"), HasSubstr("Idempotency-Key"));
  }
  EXPECT_TRUE(listed("y").is_null());
}

TEST_F(TokensTest, TokensOfTheFileAreNotChangedHere) {
  for (const Reply& refused :
       {patch("/tokens/eyes", R"({"role":"admin"})"), erase("/tokens/eyes"), post("/tokens/eyes/rotate")}) {
    expect_problem(409, "in_configuration", refused);
    EXPECT_THAT(refused.text("/hint"), HasSubstr("/config/reload"));
  }
  EXPECT_EQ(status("the-secret-of-eyes"), 200);
}

TEST_F(TokensTest, WhoeverIsBoundToQueuesMakesNone) {
  make(R"({"name":"shop","role":"viewer"})");
  token_ = "the-secret-of-some";
  expect_problem(403, "forbidden", post("/tokens", R"({"name":"x","role":"admin"})"));
  expect_problem(403, "forbidden", get("/tokens"));
  expect_problem(403, "forbidden", patch("/tokens/shop", R"({"role":"admin"})"));
  expect_problem(403, "forbidden", post("/tokens/shop/rotate"));
  expect_problem(403, "forbidden", erase("/tokens/shop"));
}

TEST_F(TokensTest, AnAdminOfTheStoreMayMakeTokensAndDeleteItsOwn) {
  const std::string secret = make(R"({"name":"deputy","role":"admin"})");
  const std::string made = as(secret, [&] { return make(R"({"name":"shop","role":"viewer"})"); });
  EXPECT_EQ(listed("shop").at("by").as_string(), "deputy");
  EXPECT_EQ(as(secret, [&] { return erase("/tokens/deputy").status; }), 204);
  EXPECT_EQ(status(secret), 401);
  EXPECT_EQ(status(made), 200);
  EXPECT_EQ(status(root), 200);
}

TEST_F(TokensTest, OnlyWhatWasSeenIsChanged) {
  make(R"({"name":"shop","role":"viewer"})");
  const std::string etag{listed("shop").at("etag").as_string()};
  const auto if_match = [&] { return fmt::format("If-Match: \"{}\"\r\n", etag); };
  const Reply changed = patch("/tokens/shop", R"({"requests_per_minute":5})", if_match());
  EXPECT_EQ(changed.status, 200) << changed.body;
  EXPECT_NE(changed.header("ETag"), fmt::format("\"{}\"", etag));
  expect_problem(412, "changed", patch("/tokens/shop", R"({"role":"admin"})", if_match()));
  expect_problem(412, "changed", send("DELETE", "/api/v1/tokens/shop", "", if_match()));
  expect_problem(412, "changed", send("POST", "/api/v1/tokens/shop/rotate", "", if_match()));
}

TEST_F(TokensTest, ATokenMayExpire) {
  const std::string secret = make(R"({"name":"shop","role":"viewer","expires_at":"2100-01-01T00:00:00Z"})");
  EXPECT_EQ(listed("shop").at("expires_at").as_string(), "2100-01-01T00:00:00Z");
  EXPECT_EQ(status(secret), 200);
  EXPECT_EQ(patch("/tokens/shop", fmt::format(R"({{"expires_at":"{}"}})", soon(5s))).status, 200);
  EXPECT_TRUE(eventually([&] { return status(secret) == 401; }));
  EXPECT_TRUE(eventually([&] { return listed("shop").is_null(); }));
  EXPECT_NE(make(R"({"name":"shop","role":"viewer"})"), secret);
}

TEST_F(TokensTest, TokensSurviveARestart) {
  const std::string secret = make(R"({"name":"shop","role":"viewer"})");
  EXPECT_EQ(server_.end(SIGTERM), 0);
  serve(file);
  EXPECT_EQ(status(secret), 200);
  EXPECT_EQ(status("tmt_wrong"), 401);
}

TEST_F(TokensTest, AnotherServerTakesChangesOver) {
  Process first = std::move(server_);
  const std::uint16_t here = port_;
  serve(file);
  const std::uint16_t there = port_;
  const auto with = [&](std::uint16_t port, auto work) {
    port_ = port;
    return work();
  };
  const std::string secret = with(here, [&] { return make(R"({"name":"shop","role":"viewer"})"); });
  const auto eventually_there = [&](const std::string& token, int wanted) {
    port_ = there;
    return eventually([&] { return status(token) == wanted; });
  };
  EXPECT_TRUE(eventually_there(secret, 200));
  const std::string rotated = with(here, [&] { return post("/tokens/shop/rotate").text("/secret"); });
  EXPECT_TRUE(eventually_there(rotated, 200));
  EXPECT_TRUE(eventually_there(secret, 401));
  EXPECT_EQ(with(here, [&] { return erase("/tokens/shop").status; }), 204);
  EXPECT_TRUE(eventually_there(rotated, 401));
  EXPECT_EQ(first.end(SIGTERM), 0);
}

TEST_F(TokensTest, ANameThatTheFileTakesIsTheFiles) {
  const std::string secret = make(R"({"name":"shop","role":"admin"})");
  configure(std::string{file} + "  - {name: shop, role: viewer, secret: the-secret-of-shop}\n");
  EXPECT_EQ(post("/config/reload").status, 200);
  EXPECT_EQ(status(secret), 401);
  EXPECT_EQ(status("the-secret-of-shop"), 200);
  EXPECT_EQ(get("/tokens").count("/items"), 5U);
  EXPECT_THAT(get("/tokens").body, HasSubstr(R"("overridden":true)"));
  expect_problem(409, "in_configuration", patch("/tokens/shop", R"({"role":"viewer"})"));
  EXPECT_EQ(erase("/tokens/shop").status, 204) << "that of the store";
  expect_problem(409, "in_configuration", erase("/tokens/shop"));
  EXPECT_EQ(status("the-secret-of-shop"), 200);
}

TEST_F(TokensTest, WithoutAnAdminInTheFileNoneIsMade) {
  const std::string secret = make(R"({"name":"deputy","role":"admin"})");
  configure("tokens: [{name: eyes, role: viewer, secret: the-secret-of-eyes}]\n");
  EXPECT_EQ(post("/config/reload").status, 200);
  token_ = secret;
  expect_problem(409, "no_admin_token", post("/tokens", R"({"name":"x","role":"viewer"})"));
  expect_problem(409, "no_admin_token", patch("/tokens/deputy", R"({"queues":["a"]})"));
  expect_problem(409, "no_admin_token", post("/tokens/deputy/rotate"));
  EXPECT_EQ(erase("/tokens/deputy").status, 204);
}

TEST_F(TokensTest, AServerThatGetsTokensKnowsThoseOfTheStore) {
  const std::string secret = make(R"({"name":"shop","role":"viewer"})");
  configure("concurrency: 5\n");
  EXPECT_EQ(post("/config/reload").status, 200);
  token_ = "";
  EXPECT_EQ(status("", "/queues"), 200) << "it is open";
  configure(file);
  EXPECT_EQ(post("/config/reload").status, 200);
  EXPECT_EQ(status(secret), 200);
  EXPECT_EQ(status(""), 401);
}

// As a newer server may write it.
TEST_F(TokensTest, ATokenWithALimitThatIsNotKnownDoesNotCount) {
  const std::string strange = make(R"({"name":"strange","role":"admin"})");
  const std::string known = make(R"({"name":"known","role":"viewer"})");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "jobs.db").c_str(), &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 10'000);
  EXPECT_EQ(sqlite3_exec(db,
                         "UPDATE tidemill_document SET version = version + 1, text = "
                         "replace(text, '{', '{\"networks\":[],') WHERE name = 'strange'",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  EXPECT_TRUE(eventually([&] { return status(strange) == 401; }));
  EXPECT_EQ(status(known), 200);
  EXPECT_TRUE(eventually_logs("token \\\"strange\\\" as it is stored: /networks"));
}

class OpenTokensTest : public ServeTest {};

TEST_F(OpenTokensTest, AnOpenServerMakesNone) {
  const Reply refused = post("/tokens", R"({"name":"shop","role":"admin"})");
  expect_problem(409, "no_admin_token", refused);
  EXPECT_THAT(refused.text("/detail"), HasSubstr("configuration"));
  EXPECT_EQ(get("/tokens").body, R"({"items":[]})");
  expect_problem(409, "no_admin_token", post("/tokens/shop/rotate"));
  expect_problem(409, "no_admin_token", send("PATCH", "/api/v1/tokens/shop", R"({"role":"admin"})"));
}

/// On a store that can go away.
class AwayTest : public TokensTest {
 protected:
  void SetUp() override { TIDEMILL_NEEDS_REDIS(); }
};

TEST_F(AwayTest, TheLastKnownTokensCountWhileTheStoreIsAway) {
  RedisServer redis;
  serve(file, {"--store", redis.url()});
  token_ = root;
  const std::string secret = make(R"({"name":"deputy","role":"admin"})");
  redis.stop();
  ASSERT_TRUE(eventually_logs("the store's tokens can't be read"));
  EXPECT_EQ(status(secret, "/config"), 200);
  EXPECT_EQ(status("tmt_wrong", "/config"), 401);
  redis.start();  // With nothing in it.
  EXPECT_TRUE(eventually([&] { return status(secret, "/config") == 401; }));
  EXPECT_TRUE(eventually_logs("the store's tokens can be read again"));
}

TEST_F(AwayTest, TokensThatAreNotKnownYetAreNotCalledWrong) {
  RedisServer redis;
  serve("concurrency: 5\n", {"--store", redis.url(), "--roles", "api"});
  redis.stop();
  configure(file);
  ASSERT_EQ(post("/config/reload").status, 200);
  expect_problem(503, "store_unavailable", as("tmt_some", [&] { return get("/config"); }));
  EXPECT_EQ(status(root, "/config"), 200);
  redis.start();
  EXPECT_TRUE(eventually([&] { return status("tmt_some", "/config") == 401; }));
}

}  // namespace

}  // namespace tidemill::testing
