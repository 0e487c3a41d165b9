// Templates: what each placeholder gives in a URL, a header and a body, and what is refused when.
#include <gmock/gmock.h>

#include <tidemill/error.hpp>

#include "deliver/template.hpp"

namespace tidemill::deliver {

namespace {

using ::testing::HasSubstr;
using Use = Template::Use;

const Task task{
    .ref = {.queue = "mail", .id = "id 1"},
    .kind = "mail:send",
    .payload = R"( {"to":"a/b ü\"\n","n":12345678901234567890.10,"user":{"id":7,"tags":["x",{"y":1e2}]},)"
               R"("none":null,"url":"https://h/p?q=1","dots":"..","last":"\u00e9"} )",
    .headers = {{"tenant", "acme & co"}, {"x.y", "dotted"}, {"broken", "a\r\nb: c"}}};

std::string render(std::string_view text, Use use, const Task& of = task) {
  return Template{text, use}.render(TaskValues{of, 3});
}
std::string refusal(std::string_view text, Use use, const Task& of = task) {
  try {
    return "not refused: " + render(text, use, of);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid) << "any other kind may archive the task";
    return error.what();
  }
}

TEST(Template, InAUrlValuesArePercentEncoded) {
  EXPECT_EQ(render("http://h/{{kind}}/{{id}}/{{queue}}?n={{attempt}}&t={{headers.tenant}}", Use::url),
            "http://h/mail%3Asend/id%201/mail?n=3&t=acme%20%26%20co");
  EXPECT_EQ(render("http://h/{{payload.to}}", Use::url), "http://h/a%2Fb%20%C3%BC%22%0A");
  EXPECT_EQ(render("http://h/{{payload.user.id}}/{{payload.user.tags.0}}", Use::url), "http://h/7/x");
  EXPECT_EQ(render("http://h/{{payload.user.tags.1}}", Use::url), "http://h/%7B%22y%22%3A1e2%7D");
  EXPECT_EQ(render("http://h/{{headers.x.y}}", Use::url), "http://h/dotted");
}

TEST(Template, AtTheBeginningOfAUrlThereMayBeAWholeOne) {
  EXPECT_EQ(render("{{payload.url}}", Use::url), "https://h/p?q=1");
  EXPECT_EQ(render("{{ payload.url }}&id={{payload.url}}", Use::url),
            "https://h/p?q=1&id=https%3A%2F%2Fh%2Fp%3Fq%3D1");
}

TEST(Template, APartOfAUrlThatLeadsElsewhereIsRefused) {
  EXPECT_THAT(refusal("http://h/users/{{payload.dots}}/x", Use::url), HasSubstr("lead elsewhere"));
}

TEST(Template, InAHeaderValuesStayAsTheyAre) {
  EXPECT_EQ(render("a {{headers.tenant}} {{payload.n}}", Use::header), "a acme & co 12345678901234567890.10");
  EXPECT_THAT(refusal("{{headers.broken}}", Use::header), HasSubstr("line break"));
  EXPECT_THAT(refusal("{{payload.to}}", Use::header), HasSubstr("{{payload.to}} can't be filled in"));
}

TEST(Template, InABodyValuesAreJson) {
  EXPECT_EQ(render("{{payload}}", Use::body), task.payload);
  EXPECT_EQ(
      render(R"({"id":{{id}},"n":{{payload.n}},"attempt":{{attempt}},"user":{{payload.user}}})", Use::body),
      R"({"id":"id 1","n":12345678901234567890.10,"attempt":3,"user":{"id":7,"tags":["x",{"y":1e2}]}})");
  EXPECT_EQ(render(R"([{{payload.none}},{{payload.to}},{{headers.broken}}])", Use::body),
            R"([null,"a/b ü\"\n","a\r\nb: c"])");
  EXPECT_EQ(render("{\"all\":{{payload}}}", Use::body), "{\"all\":" + task.payload + "}");
}

TEST(Template, BetweenQuotesAValueIsAPartOfTheString) {
  EXPECT_EQ(render(R"({"text":"Task {{id}} to {{payload.to}}: \"{{payload.n}}\"","id":{{id}}})", Use::body),
            R"({"text":"Task id 1 to a/b ü\"\n: \"12345678901234567890.10\"","id":"id 1"})");
  EXPECT_EQ(render(R"("{{payload.user.tags.1}}")", Use::body), R"("{\"y\":1e2}")");
}

TEST(Template, BracesOfTheTextAreItsOwn) {
  EXPECT_EQ(render("{{{attempt}}}", Use::body), "{3}");
  EXPECT_EQ(render("{{{{attempt}}}}", Use::body), "{{3}}");
  EXPECT_EQ(render("{\"a\":{\"b\":1}} }}", Use::body), "{\"a\":{\"b\":1}} }}");
  EXPECT_EQ(render("", Use::body), "");
}

TEST(Template, WhatTheTaskLacksIsNamed) {
  EXPECT_THAT(refusal("{{payload.user.name}}", Use::body),
              HasSubstr("{{payload.user.name}} can't be filled in: payload.user has no \"name\""));
  EXPECT_THAT(refusal("{{payload.user.tags.2}}", Use::body), HasSubstr("payload.user.tags has no \"2\""));
  EXPECT_THAT(refusal("{{payload.user.tags.x}}", Use::body), HasSubstr("has no \"x\""));
  EXPECT_THAT(refusal("{{payload.n.x}}", Use::body), HasSubstr("payload.n has no \"x\""));
  EXPECT_THAT(refusal("{{headers.absent}}", Use::header), HasSubstr("no header \"absent\""));
  const Task bytes{.payload = "{no JSON"};
  EXPECT_THAT(refusal("{{payload.a}}", Use::body, bytes), HasSubstr("not JSON"));
  EXPECT_EQ(render("{{payload}}", Use::body, bytes), "{no JSON");
}

TEST(Template, WhatIsNoPlaceholderIsRefusedWithItsPlace) {
  EXPECT_THAT(refusal("http://h/{{paylod}}", Use::url),
              HasSubstr("column 10: there is no placeholder {{paylod}}"));
  EXPECT_THAT(refusal("{{paylod}}", Use::body), HasSubstr("did you mean \"payload\""));
  EXPECT_THAT(refusal("{{kind.x}}", Use::body), HasSubstr("write kind, id, queue, attempt, payload"));
  EXPECT_THAT(refusal("{{}}", Use::body), HasSubstr("column 1"));
  EXPECT_THAT(refusal("{{payload.}}", Use::body), HasSubstr("a name is missing beside a dot"));
  EXPECT_THAT(refusal("{{payload.a..b}}", Use::body), HasSubstr("a name is missing beside a dot"));
  EXPECT_THAT(refusal("{{headers.}}", Use::body), HasSubstr("a name is missing beside a dot"));
  EXPECT_THAT(refusal("a {{id", Use::body), HasSubstr("column 3: \"{{\" has no \"}}\" after it"));
}

}  // namespace

}  // namespace tidemill::deliver
