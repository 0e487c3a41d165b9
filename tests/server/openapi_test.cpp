// The OpenAPI document against the server, and the tests against the document.
#include <algorithm>

#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Of the document: "POST /api/v1/tasks/{id}/run".
std::vector<std::string>& documented() {
  static std::vector<std::string> all;
  return all;
}

bool matches(const std::string& pattern, const std::string& name) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '{') {
      if (at >= name.size() || name[at++] != pattern[i]) return false;
      continue;
    }
    i = pattern.find('}', i);
    at = std::min(name.find('/', at), name.size());
  }
  return at == name.size();
}

/// After all tests: each route that the document has was driven with success by one of them.
class AllRoutesDriven : public ::testing::Environment {
 public:
  void TearDown() override {
    const auto& run = *::testing::UnitTest::GetInstance();
    if (run.test_to_run_count() != run.total_test_count() || !run.Passed()) return;
    EXPECT_FALSE(documented().empty());
    for (const std::string& pattern : documented()) {
      // "/schedules/preview" is no schedule.
      EXPECT_TRUE(
          std::ranges::any_of(driven(), [&](const std::string& name) { return matches(pattern, name); }))
          << "no test succeeds with " << pattern;
    }
    for (const std::string& name : driven()) {
      EXPECT_TRUE(
          std::ranges::any_of(documented(), [&](const auto& pattern) { return matches(pattern, name); }))
          << "the document lacks " << name;
    }
  }
};

const auto* const environment = ::testing::AddGlobalTestEnvironment(new AllRoutesDriven);

class OpenApiTest : public ServeTest {
 protected:
  /// Calls `check(method, path, operation)` for each.
  template <class Check>
  void each_operation(Check check) const {
    const auto paths = get("/openapi.json").json().at("paths").as_object();
    for (const auto& [path, methods] : paths) {
      for (const auto& [method, operation] : methods.as_object()) {
        std::string upper{method};
        std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
        SCOPED_TRACE(fmt::format("{} {}", upper, std::string_view{path}));
        check(upper, std::string{path}, operation);
      }
    }
  }
  static std::string filled(std::string path) {
    if (path.ends_with("/{code}/mute")) return "/api/v1/attention/queue_paused/mute";
    for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{'))
      path.replace(at, path.find('}') - at + 1, "nobody");
    return path;
  }
};

TEST_F(OpenApiTest, TheDocumentIsWhatToolsExpect) {
  const Reply document = get("/openapi.json");
  EXPECT_EQ(document.header("Content-Type"), "application/json");
  EXPECT_EQ(document.text("/openapi"), "3.1.0");
  EXPECT_EQ(document.text("/info/title"), "Tidemill");
  EXPECT_EQ(document.text("/components/securitySchemes/token/scheme"), "bearer");
  std::set<std::string> names;
  each_operation([&](const std::string& method, const std::string& path,
                     const boost::json::value& operation) {
    EXPECT_FALSE(operation.at("summary").as_string().empty());
    EXPECT_TRUE(operation.at("responses").as_object().contains("default"));
    EXPECT_TRUE(names.insert(method + " " + path).second);
    std::size_t in_path = 0;
    for (const auto& parameter : operation.at("parameters").as_array()) {
      if (parameter.at("in").as_string() != "path") continue;
      ++in_path;
      EXPECT_THAT(path, HasSubstr(fmt::format("{{{}}}", std::string_view{parameter.at("name").as_string()})));
    }
    EXPECT_EQ(in_path, static_cast<std::size_t>(std::ranges::count(path, '{')));
  });
  EXPECT_GE(names.size(), 55U);
  documented().assign(names.begin(), names.end());
}

TEST_F(OpenApiTest, EachRouteOfItIsThere) {
  each_operation([&](const std::string& method, const std::string& path, const boost::json::value&) {
    if (path == "/api/v1/events") return;  // Has no end.
    const std::string query = path.ends_with("/wait") ? "?timeout=0s" : "";
    const Reply reply = send(method, filled(path) + query);
    EXPECT_NE(reply.status, 0);
    EXPECT_NE(reply.status, 405);
    EXPECT_NE(reply.status, 500) << reply.body;
    EXPECT_THAT(reply.body, Not(HasSubstr("there is nothing at")));
  });
}

TEST_F(OpenApiTest, ItsExamplesAreTaken) {
  post("/tasks", R"({"kind":"a","queue":"mail"})");  // For the claim, that would wait for one.
  post("/tasks", R"({"kind":"a","id":"nobody"})");   // For those that change a task.
  const std::string waits =
      post("/operations", R"({"action":"run","q":"kind:x","start_after_ms":"1h"})").text("/id");
  each_operation(
      [&](const std::string& method, const std::string& path, const boost::json::value& operation) {
        if (!operation.as_object().contains("requestBody")) return;
        const std::string body =
            boost::json::serialize(operation.at_pointer("/requestBody/content/application~1json/example"));
        const std::string schedule = "/api/v1/schedules/{id}";
        const std::string at = path.starts_with(schedule)
                                   ? "/api/v1/schedules/nightly" + path.substr(schedule.size())
                               : path == "/api/v1/operations/{id}" ? "/api/v1/operations/" + waits
                                                                   : filled(path);
        const Reply reply =
            send(method, at + (path == "/api/v1/schedules" && method == "PUT" ? "?owner=me" : ""), body);
        // A lock that nobody holds is a conflict, not a mistake.
        EXPECT_THAT(reply.status, ::testing::AnyOf(200, 201, 202, 204, 409)) << reply.body;
      });
}

}  // namespace

}  // namespace tidemill::testing
