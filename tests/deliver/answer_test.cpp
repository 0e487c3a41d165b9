// What an answer means for a task, and how calls are signed.
#include <gmock/gmock.h>

#include <tidemill/error.hpp>

#include "deliver/answer.hpp"
#include "deliver/signature.hpp"
#include "deliver/text.hpp"

namespace tidemill::deliver {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view call = "POST http://h/p";
const TimePoint now{std::chrono::seconds{784'111'777}};  // Sun, 06 Nov 1994 08:49:37 GMT

// ---- Answers

TEST(RetryAfter, IsSecondsOrADateAndADayAtMost) {
  EXPECT_EQ(retry_after("120", now), 120s);
  EXPECT_EQ(retry_after("86401", now), 24h);
  EXPECT_EQ(retry_after("99999999999999999999999", now), 24h);
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), 60s);
  EXPECT_EQ(retry_after("Sunday, 06-Nov-94 08:50:37 GMT", now), 60s);
  EXPECT_EQ(retry_after("Sun Nov  6 08:50:37 1994", now), 60s);
  EXPECT_EQ(retry_after("Sun, 06 Nov 2094 08:00:00 GMT", now), 24h);
  // At once, again and again, would be the end of all its retries within moments.
  for (const char* text : {"", "soon", "-1", "1.5", "0", "00", "Sun, 06 Nov 1994 08:49:37 GMT"})
    EXPECT_EQ(retry_after(text, now), std::nullopt) << text;
}

TEST(Answer, EachStatusHasItsOutcome) {
  using Kind = Outcome::Kind;
  EXPECT_EQ(outcome_of({.status = 200, .body = "done"}, call, now).text(), "done");
  EXPECT_EQ(outcome_of({.status = 204}, call, now).kind(), Kind::success);
  EXPECT_EQ(outcome_of({.status = 410}, call, now).kind(), Kind::archive);
  for (const int status : {301, 400, 404, 429, 500, 503}) {
    const Outcome outcome = outcome_of({.status = status}, call, now);
    EXPECT_EQ(outcome.kind(), Kind::failure) << status;
    EXPECT_EQ(outcome.delay(), std::nullopt) << status;
  }
  for (const int status : {429, 503, 400}) {
    const Outcome outcome = outcome_of({.status = status, .headers = {{"retry-after", "7"}}}, call, now);
    EXPECT_EQ(outcome.delay(), Duration{7s}) << status;
  }
  EXPECT_EQ(outcome_of({.error = "reset"}, call, now).kind(), Kind::failure);
}

TEST(Answer, TheErrorSaysWhoSaidWhat) {
  EXPECT_EQ(
      outcome_of({.status = 503, .reason = "Service Unavailable", .body = "try\nlater"}, call, now).text(),
      "503 Service Unavailable from POST http://h/p: try later");
  EXPECT_EQ(outcome_of({.status = 500}, call, now).text(), "500 from POST http://h/p");
  EXPECT_EQ(outcome_of({.error = "timed out"}, call, now).text(), "POST http://h/p: timed out");
  EXPECT_THAT(outcome_of({.error = "no", .refused_address = true}, call, now).text(),
              HasSubstr("outgoing.allow_networks"));
  const Outcome large = outcome_of({.status = 500, .body = std::string(5000, 'x')}, call, now);
  EXPECT_EQ(large.text().size(), std::string{"500 from POST http://h/p: "}.size() + 1024);
}

TEST(Answer, ARedirectSaysWhereItPointsWithoutItsQuery) {
  const auto text = [](const char* location) {
    return outcome_of({.status = 302, .reason = "Found", .headers = {{"location", location}}}, call, now)
        .text();
  };
  EXPECT_EQ(text("https://u:secret@other/x?key=secret"),
            "302 Found from POST http://h/p: it points to https://other/x, and redirects are not followed");
  EXPECT_THAT(text("/login?key=secret"), HasSubstr("it points to /login,"));
  EXPECT_THAT(text("/login?key=secret"), Not(HasSubstr("secret")));
}

TEST(Printable, IsCleanTextOnOneLine) {
  EXPECT_EQ(printable(" a\r\n\tb\x1b[0m\x7f ", 100), "a   b [0m");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f", 100), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable("a\xff\xfe", 100), "a\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(printable("abcdef", 3), "abc");
  EXPECT_EQ(printable("\n\n", 100), "");
}

// ---- Signatures

const std::string published_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
constexpr std::string_view published_id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
constexpr std::string_view published_body = R"({"test": 2432232314})";
constexpr std::string_view published = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

TEST(Signature, IsThePublishedOne) {
  EXPECT_EQ(Signer{{published_secret}}.sign(published_id, 1'614'265'330, published_body), published);
}

// Computed with Python's hmac: a second key of 32 bytes, 0 to 31, without padding.
TEST(Signature, EachSecretSigns) {
  const Signer signer{{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", published_secret}};
  EXPECT_EQ(signer.sign(published_id, 1'614'265'330, published_body),
            fmt::format("v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI= {}", published));
  EXPECT_EQ(Signer{{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}.sign("i", 1, ""),
            Signer{{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}}.sign("i", 1, ""));
  EXPECT_TRUE(Signer{{}}.empty());
}

TEST(Signature, ASecretThatIsNoneIsRefusedAndNotQuoted) {
  const std::string short_one = "whsec_" + std::string(28, 'A');
  const std::string long_one = "whsec_" + std::string(88, 'A');
  for (const std::string& secret :
       {std::string{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, std::string{"whsec_"},
        std::string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La-_Sw"},
        std::string{"whsec_MfKQ9r8GKYqrTwjU=D8ILPZIo2LaLaSw"}, short_one, long_one}) {
    try {
      const Signer signer{{published_secret, secret}};
      ADD_FAILURE() << secret;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("secret 2"));
      EXPECT_THAT(error.what(), Not(HasSubstr("MfKQ"))) << error.what();
    }
  }
}

}  // namespace

}  // namespace tidemill::deliver
