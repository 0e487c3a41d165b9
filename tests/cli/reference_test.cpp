// The page of GET /api/v1/docs, made of the routes of the real API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <string>

#include <tidemill/store.hpp>

#include "core/digest.hpp"
#include "server/api.hpp"
#include "server/reference.hpp"
#include "wire/base64.hpp"

namespace tidemill::testing {

namespace {

using server::Route;
using server::Routes;
using ::testing::HasSubstr;
using ::testing::Not;

std::string policy_of(const http::Response& response) {
  const auto found = std::ranges::find(response.headers, "Content-Security-Policy",
                                       [](const auto& header) { return std::string_view{header.first}; });
  return found == response.headers.end() ? "" : std::string{found->second};
}

/// What the browser hashes: all between the tags.
std::string style_of(const std::string& page) {
  const std::size_t begin = page.find("<style>") + 7;
  return page.substr(begin, page.find("</style>") - begin);
}

std::string unhex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

TEST(ReferenceTest, EveryRouteOfTheApiIsOnThePage) {
  const auto store = open("memory:");
  server::Api api{*store};
  std::promise<http::Response> promise;
  http::Request request{.method = "GET", .path = "/api/v1/docs"};
  api.handle(std::move(request),
             http::Answer{[&](http::Response&& response) { promise.set_value(response); }});
  const http::Response response = promise.get_future().get();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/html; charset=utf-8");
  EXPECT_GT(api.routes().all().size(), 50U);
  for (const Route& route : api.routes().all()) {
    EXPECT_THAT(response.body, HasSubstr(fmt::format("<h3><b>{}</b> {}</h3>", route.method, route.pattern)));
    for (const std::string& name : route.parameters)
      EXPECT_THAT(response.body, HasSubstr("<code>" + name + "</code>"));
  }
  EXPECT_THAT(server::openapi(api.routes(), "1"), HasSubstr("\"/api/v1/docs\""));
}

TEST(ReferenceTest, ARouteIsToldWithRolesParametersBodyAndCurl) {
  Routes routes;
  routes.add({.method = "PUT",
              .pattern = "/api/v1/things/{id}/part/{name}",
              .summary = "Make it",
              .roles = server::workers,
              .parameters = {"limit"},
              .body = R"({"say":"it's"})"});
  routes.add({.method = "GET", .pattern = "/healthz", .summary = "Alive"});
  const std::string page = server::reference(routes, "1.2").body;
  EXPECT_THAT(page, HasSubstr("for: admin, worker · in the path: <code>id</code> <code>name</code> · in the "
                              "query: <code>limit</code>"));
  EXPECT_THAT(page, HasSubstr("<pre>{&quot;say&quot;:&quot;it&#39;s&quot;}</pre>"));
  EXPECT_THAT(page, HasSubstr("<pre>curl -X PUT http://localhost:8470/api/v1/things/ID/part/NAME "
                              "-H &#39;Authorization: Bearer TOKEN&#39; "
                              "-H &#39;Content-Type: application/json&#39; "
                              "-d &#39;{&quot;say&quot;:&quot;it&#39;\\&#39;&#39;s&quot;}&#39;</pre>"));
  EXPECT_THAT(page,
              HasSubstr("for: anybody, without a token</p>\n<pre>curl http://localhost:8470/healthz</pre>"));
  EXPECT_THAT(page, HasSubstr("<section id=\"things\">"));
  EXPECT_THAT(page, HasSubstr("<a href=\"#healthz\">healthz</a>"));
  EXPECT_THAT(page, HasSubstr("Version 1.2."));
}

TEST(ReferenceTest, NothingOfARouteBecomesMarkup) {
  const std::string evil = "<script>\"x\" & 'y'</script>";
  Routes routes;
  routes.add({.method = evil, .pattern = "/" + evil, .summary = evil, .parameters = {evil}, .body = evil});
  const std::string page = server::reference(routes, evil).body;
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;"));
}

TEST(ReferenceTest, ThePageMayOnlyUseItsOwnStyle) {
  const http::Response response = server::reference(Routes{}, "1");
  const std::string hash = wire::encode_base64(unhex(sha256_hex(style_of(response.body))));
  EXPECT_THAT(policy_of(response),
              HasSubstr(fmt::format("default-src 'none'; style-src 'sha256-{}';", hash)));
  for (const char* outside : {"<script", " src=", "url(", "@import", "<link", "style=\""})
    EXPECT_THAT(response.body, Not(HasSubstr(outside)));
}

}  // namespace

}  // namespace tidemill::testing
