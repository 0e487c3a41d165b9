// The HTTP client against receivers that misbehave, and against URLs that lead where they should not.
#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "client_fixture.hpp"
#include "drivers/http/address_guard.hpp"
#include "drivers/http/target.hpp"
#include "process.hpp"

namespace tidemill::http::tests {

namespace {

using namespace std::chrono_literals;
using testing::eventually;
using ::testing::HasSubstr;
using testing::Received;
using testing::Receiver;

constexpr std::string_view answer_head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";

// ---- Addresses that are not public

bool allows(const AddressGuard& guard, const std::string& text) {
  if (text.find(':') == std::string::npos) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &address.sin_addr), 1) << text;
    return guard.allows(reinterpret_cast<const sockaddr*>(&address));
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &address.sin6_addr), 1) << text;
  return guard.allows(reinterpret_cast<const sockaddr*>(&address));
}

TEST(AddressGuard, RefusesWhatIsNotPublic) {
  const AddressGuard guard{{}};
  for (const char* text : {"0.0.0.0",
                           "0.1.2.3",
                           "10.0.0.0",
                           "10.255.255.255",
                           "100.64.0.1",
                           "100.127.255.1",
                           "127.0.0.1",
                           "127.255.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.0.1",
                           "224.0.0.1",
                           "239.255.255.255",
                           "240.0.0.1",
                           "198.18.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "fc00::1",
                           "fdff::1",
                           "fe80::1",
                           "febf::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.1.2.3",
                           "::127.0.0.1",
                           "64:ff9b::7f00:1",
                           "64:ff9b::a00:1",
                           "64:ff9b:1::1",
                           "2002:7f00:1::",
                           "2002:a00:1::1",
                           "fec0::1",
                           "::ffff:169.254.1.1"})
    EXPECT_FALSE(allows(guard, text)) << text;
}

TEST(AddressGuard, AllowsWhatIsPublic) {
  const AddressGuard guard{{}};
  for (const char* text : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.0.1", "100.128.0.1", "126.1.1.1",
                           "128.0.0.1", "169.253.1.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "223.1.1.1",
                           "2606:4700::1111", "2001:4860:4860::8888", "::ffff:1.1.1.1", "64:ff9b::101:101"})
    EXPECT_TRUE(allows(guard, text)) << text;
}

TEST(AddressGuard, AllowsTheNetworksThatAreGivenAndNoOthers) {
  const AddressGuard guard{{"10.1.0.0/16", "192.168.7.20", "fd00:1::/32", "172.16.0.0/13"}};
  for (const char* text : {"10.1.2.3", "192.168.7.20", "fd00:1::5", "::ffff:10.1.2.3", "64:ff9b::a01:203",
                           "172.16.0.1", "172.23.255.255"})
    EXPECT_TRUE(allows(guard, text)) << text;
  for (const char* text :
       {"10.2.0.1", "192.168.7.21", "fd00:2::5", "127.0.0.1", "::1", "172.24.0.1", "::ffff:10.2.0.1"})
    EXPECT_FALSE(allows(guard, text)) << text;
  const AddressGuard all6{{"::/0"}};
  EXPECT_TRUE(allows(all6, "::1"));
  EXPECT_FALSE(allows(all6, "127.0.0.1"));
  EXPECT_FALSE(allows(all6, "::ffff:127.0.0.1"));
  EXPECT_TRUE(allows(AddressGuard{{"0.0.0.0/0"}}, "127.0.0.1"));
}

TEST(AddressGuard, WhatIsNoNetworkIsRefusedWithOneThatWouldBe) {
  for (const char* text :
       {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "localhost", "fd00::/129", "1.2.3.4/-1", "10.0.0.0/8x"}) {
    try {
      const AddressGuard guard{{text}};
      ADD_FAILURE() << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr("as in 10.0.0.0/8"));
    }
  }
}

TEST_F(HttpClient, NoConnectionIsMadeToAnAddressThatIsNotPublic) {
  Receiver receiver{[](Received& received) { received.hang(); }};
  start({});
  for (const char* host :
       {"127.0.0.1", "[::1]", "localhost", "LOCALHOST", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "2130706433", "0x7f.1", "127.1", "017700000001", "[64:ff9b::127.0.0.1]"}) {
    const CallResult result = ask({.url = fmt::format("http://{}:{}/", host, receiver.port())});
    EXPECT_EQ(result.status, 0) << host;
    EXPECT_TRUE(result.refused_address) << host << ": " << result.error;
    EXPECT_THAT(result.error, HasSubstr("is not public")) << host;
  }
  EXPECT_EQ(receiver.connections(), 0);
}

TEST_F(HttpClient, WhatIsAllowedIsAllowedToNoOtherAddress) {
  start({.allow_networks = {"127.0.0.1"}});
  EXPECT_EQ(ask({.url = url()}).status, 200);
  EXPECT_TRUE(ask({.url = fmt::format("http://127.0.0.2:{}/", server.port())}).refused_address);
  EXPECT_TRUE(ask({.url = fmt::format("http://[::1]:{}/", server.port())}).refused_address);
}

TEST(Target, ShowsNothingThatMayBeSecret) {
  const Target target = parse_target("HTTPS://user:secret@Example.com/a/b?key=secret#x");
  EXPECT_EQ(target.shown(), "https://example.com/a/b");
  EXPECT_EQ(target.key(), "https://example.com:443");
  EXPECT_TRUE(target.credentials);
  EXPECT_EQ(parse_target("http://[::1]:8080").shown(), "http://[::1]:8080/");
  EXPECT_FALSE(parse_target("http://[::1]:8080").credentials);
  for (const char* url : {"", "example.com", "/path", "http://", "gopher://x/", "http://a b/",
                          "http://x:99999/", "http://[::1/", "http://a\r\nb/"})
    EXPECT_THROW(parse_target(url), std::invalid_argument) << url;
}

// ---- Receivers that misbehave

TEST_F(HttpClient, AnEndlessBodyCostsNoMoreThanTheLimit) {
  Receiver receiver{[](Received& received) {
    if (received.request() && received.send(answer_head)) received.endlessly(std::string(65536, 'x'));
  }};
  const CallResult result = ask({.url = url_of(receiver.port()), .timeout = 0ms, .response_bytes_max = 1000});
  EXPECT_EQ(result.status, 200) << result.error;
  EXPECT_TRUE(result.body_cut);
  EXPECT_EQ(result.body, std::string(1000, 'x'));
  EXPECT_TRUE(eventually([&] { return receiver.open() == 0; }));
}

TEST_F(HttpClient, ABodyOfTheLimitsSizeIsNotCut) {
  const std::string body = "POST / ";
  CallResult result = ask({.url = url(), .response_bytes_max = body.size()});
  EXPECT_FALSE(result.body_cut);
  EXPECT_EQ(result.body, body);
  result = ask({.url = url(), .response_bytes_max = body.size() - 1});
  EXPECT_TRUE(result.body_cut);
  result = ask({.url = url(), .response_bytes_max = 0});
  EXPECT_TRUE(result.body_cut);
  EXPECT_EQ(result.status, 200);
}

TEST_F(HttpClient, EndlessHeadersAreAnError) {
  for (const char* line : {"X-Name: value\r\n", "X-Name: \r\n"}) {
    Receiver receiver{[line](Received& received) {
      if (received.request() && received.send("HTTP/1.1 200 OK\r\n")) received.endlessly(line);
    }};
    const CallResult result = ask({.url = url_of(receiver.port()), .timeout = 0ms});
    EXPECT_EQ(result.status, 0) << line;
    EXPECT_NE(result.error, "") << line;
    EXPECT_THAT(result.error, HasSubstr("longer than 64 KiB"));
  }
}

TEST_F(HttpClient, AHeaderWithoutEndIsAnError) {
  Receiver receiver{[](Received& received) {
    if (received.request() && received.send("HTTP/1.1 200 OK\r\nX-Name: ")) received.endlessly("value");
  }};
  EXPECT_THAT(ask({.url = url_of(receiver.port()), .timeout = 0ms}).error, HasSubstr("longer than 64 KiB"));
}

TEST_F(HttpClient, InterimAnswersWithoutEndAreAnError) {
  Receiver receiver{[](Received& received) {
    if (received.request()) received.endlessly("HTTP/1.1 102 Processing\r\n\r\n");
  }};
  EXPECT_THAT(ask({.url = url_of(receiver.port()), .timeout = 0ms}).error, HasSubstr("longer than 64 KiB"));
}

TEST_F(HttpClient, ATricklingAnswerEndsByTheTimeout) {
  Receiver receiver{[](Received& received) {
    if (received.request() && received.send(answer_head)) received.endlessly("x", true);
  }};
  const CallResult result = ask({.url = url_of(receiver.port()), .timeout = 200ms});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.error, HasSubstr("timed out: the answer from 127.0.0.1"));
  EXPECT_THAT(result.error, HasSubstr("(status 200) had not ended within 0.2 s"));
}

TEST_F(HttpClient, TricklingHeadersEndByTheTimeout) {
  Receiver receiver{[](Received& received) {
    if (received.request()) received.endlessly("HTTP/1.1 200 OK\r\nX-Name: value\r\n", true);
  }};
  EXPECT_THAT(ask({.url = url_of(receiver.port()), .timeout = 200ms}).error, HasSubstr("timed out"));
}

TEST_F(HttpClient, WhoNeverAnswersEndsByTheTimeout) {
  Receiver receiver{[](Received& received) { received.hang(); }};
  EXPECT_THAT(ask({.url = url_of(receiver.port()), .timeout = 200ms}).error,
              HasSubstr("timed out: no answer from 127.0.0.1"));
  EXPECT_TRUE(eventually([&] { return receiver.open() == 0; }));
}

TEST_F(HttpClient, AResetInTheMiddleOfTheAnswerIsAnError) {
  Receiver receiver{[](Received& received) {
    if (received.request() && received.send(answer_head) && received.send("some")) received.reset();
  }};
  const CallResult result = ask({.url = url_of(receiver.port())});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.error, HasSubstr("broke"));
}

TEST_F(HttpClient, WhoClosesTooEarlyIsAnError) {
  Receiver silent{[](Received& received) { received.request(); }};
  EXPECT_THAT(ask({.url = url_of(silent.port())}).error,
              HasSubstr("closed the connection without an answer"));
  Receiver early{[](Received& received) {
    if (received.request()) received.send(answer_head);
  }};
  EXPECT_THAT(ask({.url = url_of(early.port())}).error, HasSubstr("in the middle of the answer"));
}

TEST_F(HttpClient, WhatIsNoHttpIsAnError) {
  Receiver receiver{[](Received& received) {
    if (received.request()) received.send("220 mail.example.com ESMTP\r\n");
  }};
  const CallResult result = ask({.url = url_of(receiver.port())});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.error, "");
  EXPECT_NE(ask({.url = fmt::format("https://127.0.0.1:{}/", server.port())}).error, "");
}

TEST_F(HttpClient, WhereNobodyListensIsAnError) {
  std::uint16_t port = 0;
  {
    port = Receiver{[](Received&) {}}.port();
  }
  const CallResult result = ask({.url = url_of(port)});
  EXPECT_THAT(result.error,
              HasSubstr(fmt::format("could not connect to 127.0.0.1:{}: Connection refused", port)));
  EXPECT_FALSE(result.refused_address);
}

TEST_F(HttpClient, ANameThatIsNoneIsAnError) {
  const CallResult result = ask({.url = "http://nobody.invalid/"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.error, HasSubstr("nobody.invalid"));
  EXPECT_FALSE(result.refused_address);
}

}  // namespace

}  // namespace tidemill::http::tests
