// The HTTP server against clients that write bytes of their own: what it must answer, refuse, bound and
// survive.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "drivers/http/server.hpp"
#include "http_peer.hpp"

namespace tidemill::http {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::Peer;
using ::testing::StartsWith;

constexpr auto patience = 20s;

/// Answers with what it was asked, at once; what asks for /late waits for the test.
class HttpServer : public ::testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    server.emplace(std::move(options), [this](Request&& request, Answer answer) {
      const std::lock_guard lock{mutex};
      seen.push_back(request);
      if (request.path == "/late") {
        late.push_back(std::move(answer));
      } else if (request.path == "/dropped") {
        return;
      } else if (request.path == "/none") {
        answer({.status = 204, .content_type = {}});
      } else {
        answer(
            {.body = fmt::format("{} {} {} {}", request.method, request.path, request.query, request.body)});
      }
      changed.notify_all();
    });
  }
  std::string ask(std::string_view bytes) {
    Peer peer{server->port()};
    peer.send(bytes);
    return peer.response();
  }
  Answer take_late() {
    std::unique_lock lock{mutex};
    EXPECT_TRUE(changed.wait_for(lock, patience, [&] { return !late.empty(); }));
    Answer answer = late.front();
    late.pop_front();
    return answer;
  }
  std::size_t requests() {
    const std::lock_guard lock{mutex};
    return seen.size();
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Request> seen;
  std::deque<Answer> late;
  std::optional<Server> server;
};

std::string get(std::string_view path, std::string_view headers = "") {
  return fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n", path, headers);
}
std::string post(std::string_view path, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", path, body.size(), body);
}

// ---- Requests

TEST_F(HttpServer, AnswersWhatItWasAsked) {
  start();
  const std::string answer =
      ask("POST /a%2Fb?x=1&y HTTP/1.1\r\nHost: x\r\nX-Name:  value \r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\nPOST /a%2Fb x=1&y body"));
  ASSERT_EQ(requests(), 1U);
  EXPECT_EQ(seen[0].header("x-name"), "value");
  EXPECT_EQ(seen[0].header("absent"), "");
  EXPECT_EQ(seen[0].peer, "127.0.0.1");
}

TEST_F(HttpServer, AConnectionServesManyRequestsAndThoseSentAhead) {
  start();
  Peer peer{server->port()};
  peer.send(get("/1") + post("/2", "two") + get("/3"));
  EXPECT_THAT(peer.response(), HasSubstr("GET /1"));
  EXPECT_THAT(peer.response(), HasSubstr("POST /2  two"));
  EXPECT_THAT(peer.response(), HasSubstr("GET /3"));
  peer.send(get("/4"));
  EXPECT_THAT(peer.response(), HasSubstr("GET /4"));
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(HttpServer, ABodyMayComeInChunks) {
  start();
  EXPECT_THAT(ask("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                  "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              HasSubstr("POST /c  abcde"));
}

TEST_F(HttpServer, AskedWhetherToGoOnItSaysSo) {
  start();
  Peer peer{server->port()};
  peer.send("POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(peer.response(), StartsWith("HTTP/1.1 100 Continue"));
  peer.send("ok");
  EXPECT_THAT(peer.response(), HasSubstr("POST /e  ok"));
}

TEST_F(HttpServer, HeadAndNoContentHaveNoBody) {
  start();
  Peer peer{server->port()};
  peer.send("HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string head = peer.rest();
  EXPECT_THAT(head, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  const std::string none = ask(get("/none", "Connection: close\r\n"));
  EXPECT_THAT(none, StartsWith("HTTP/1.1 204"));
  EXPECT_EQ(none.find("Content-"), std::string::npos) << none;
}

TEST_F(HttpServer, WhoWantsToCloseIsClosed) {
  start();
  Peer peer{server->port()};
  peer.send(get("/", "Connection: close\r\n"));
  EXPECT_THAT(peer.rest(), HasSubstr("Connection: close"));
  Peer old{server->port()};
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.rest(), HasSubstr("GET /old"));
}

// ---- Answers

TEST_F(HttpServer, AnAnswerMayComeLaterFromAnyThreadAndOnlyOnce) {
  start();
  Peer peer{server->port()};
  peer.send(get("/late"));
  const Answer answer = take_late();
  std::thread{[&] {
    answer({.status = 201, .body = "first"});
    answer({.status = 202, .body = "second"});
  }}.join();
  EXPECT_THAT(peer.response(), HasSubstr("first"));
  peer.send(get("/next"));
  EXPECT_THAT(peer.response(), HasSubstr("GET /next"));
}

// Why: the last share of a connection must not end on a thread that isn't the server's. How: each client
// leaves as soon as it has its answer.
TEST_F(HttpServer, ManyAnswersComeFromOtherThreads) {
  start();
  constexpr int each = 50;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < each; ++k) take_late()({.body = "from elsewhere"});
    });
    threads.emplace_back([&] {
      for (int k = 0; k < each; ++k) {
        right +=
            ask(get("/late", "Connection: close\r\n")).find("from elsewhere") != std::string::npos ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4 * each);
}

TEST_F(HttpServer, AnAnswerThatIsDroppedClosesTheConnection) {
  start();
  EXPECT_EQ(ask(get("/dropped")), "");
  EXPECT_THAT(ask(get("/others")), HasSubstr("GET /others"));
}

TEST_F(HttpServer, AnAnswerToOneWhoHasLeftHarmsNobody) {
  start();
  {
    Peer peer{server->port()};
    peer.send(get("/late"));
    const Answer answer = take_late();
    peer.finish();
    answer({.body = std::string(1U << 20U, 'x')});
  }
  EXPECT_THAT(ask(get("/others")), HasSubstr("GET /others"));
}

// ---- Bad input

TEST_F(HttpServer, WhatIsNoRequestIsRefusedAndTheConnectionClosed) {
  start();
  const std::vector<std::string> wrong{
      "\x16\x03\x01\x02 not at all\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
      "GET / HTTP/1.1\r\nbad header\r\n\r\n",
      "GET / HTTP/1.1\r\nName : x\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
  };
  for (const std::string& bytes : wrong) {
    Peer peer{server->port()};
    peer.send(bytes);
    const std::string answer = peer.rest();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 4")) << bytes;
    EXPECT_THAT(answer, HasSubstr("Connection: close")) << bytes;
  }
  EXPECT_EQ(requests(), 0U);
}

// Why: where two readers see two ends of a body, the rest of it is a request to one of them. How: each known
// form smuggles a request to /hidden.
TEST_F(HttpServer, NothingIsSmuggled) {
  start();
  const std::string hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::vector<std::string> forms{
      "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
      "Content-Length: 0\r\nContent-Length: 5\r\n",
      "Content-Length: 0, 5\r\n",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
      "Transfer-Encoding: x\r\n",
      "Content-Length: +0\r\n",
      "Content-Length: 0x0\r\n",
      "Transfer-Encoding : chunked\r\n",
      "Transfer-Encoding: xchunked\r\n",
      "Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
      "Content-Length: 0\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding:\r\n",
      "Transfer-Encoding: chunked, identity\r\n",
      "Transfer-Encoding: gzip, chunked\r\n",
      "Transfer-Encoding: \"chunked\"\r\n",
  };
  for (const std::string& form : forms) {
    // The body is one chunk to some, and a request to others.
    for (const std::string_view before : {"0\r\n\r\n", ""}) {
      Peer peer{server->port()};
      peer.send(fmt::format("POST /seen HTTP/1.1\r\nHost: x\r\n{}\r\n{}{}", form, before, hidden));
      peer.finish();
      EXPECT_THAT(peer.rest(), StartsWith("HTTP/1.1 400")) << form;
    }
  }
  Peer old{server->port()};
  old.send("POST /seen HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden);
  EXPECT_THAT(old.rest(), StartsWith("HTTP/1.1 400"));
  const std::lock_guard lock{mutex};
  EXPECT_THAT(seen, ::testing::IsEmpty());
}

TEST_F(HttpServer, ARequestNamesOneHost) {
  start();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(requests(), 0U);
}

// Why: to a proxy before us the second line may be a header of its own (RFC 9112, section 5.2).
TEST_F(HttpServer, HeadersGoOnOneLineEach) {
  start();
  for (const std::string_view fold : {"\r\n ", "\r\n\t", "\r\n  \t"}) {
    EXPECT_THAT(ask(get("/", fmt::format("X-A: 1{}2\r\n", fold))), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(ask(get("/", fmt::format("X-A:{}2\r\nX-B: 1\r\n", fold))), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(ask(get("/", fmt::format("X-A: 1{}\r\n", fold))), StartsWith("HTTP/1.1 400"));
    // Byte by byte, so that no reading sees the whole.
    Peer slow{server->port()};
    for (const char c : get("/", fmt::format("X-A: 1{}2\r\n", fold))) slow.send({&c, 1});
    EXPECT_THAT(slow.response(), StartsWith("HTTP/1.1 400"));
  }
  EXPECT_EQ(requests(), 0U);
  EXPECT_THAT(ask(get("/", "X-A: 1\r\n") + "\r\n \r\n"), StartsWith("HTTP/1.1 200"));
}

// RFC 9112, section 3.2.2: what a client sends to a proxy.
TEST_F(HttpServer, ATargetMayBeAWholeUrl) {
  start();
  EXPECT_THAT(ask("GET http://a.example:81/x/y?b=c HTTP/1.1\r\nHost: other\r\n\r\n"),
              HasSubstr("GET /x/y b=c"));
  EXPECT_THAT(ask("GET HTTP://a.example HTTP/1.1\r\nHost: other\r\n\r\n"), HasSubstr("GET /  "));
  EXPECT_THAT(ask("GET https://[::1]:8?b=c HTTP/1.1\r\n\r\n"), HasSubstr("GET / b=c"));
  for (const char* const wrong : {"http://", "http:///x", "http://user@a.example/x", "http://?x"})
    EXPECT_THAT(ask(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", wrong)), StartsWith("HTTP/1.1 400"));
  const std::lock_guard lock{mutex};
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].header("host"), "a.example:81");
  EXPECT_EQ(std::ranges::count(seen[0].headers, "host", &Headers::value_type::first), 1);
  EXPECT_EQ(seen[1].header("host"), "a.example");
  EXPECT_EQ(seen[2].header("host"), "[::1]:8");
}

TEST_F(HttpServer, WhatComesAfterChunksIsNoHeader) {
  start();
  EXPECT_THAT(ask("POST /c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "0\r\nX-B: 2\r\n\r\n"),
              HasSubstr("POST /c"));
  ASSERT_EQ(requests(), 1U);
  EXPECT_EQ(seen[0].header("x-a"), "1");
  EXPECT_EQ(seen[0].header("x-b"), "");
}

TEST_F(HttpServer, WhatStandsBesideChunksIsBounded) {
  start({.headers_max = 1000});
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string trailers;
  for (int i = 0; i < 20'000; ++i) trailers += "X-A: 123456\r\n";
  for (const std::string& endless : {"0\r\n" + trailers, "1;" + std::string(200'000, 'a')}) {
    Peer peer{server->port()};
    peer.send(head + endless);
    EXPECT_THAT(peer.rest(), StartsWith("HTTP/1.1 431"));
  }
  EXPECT_EQ(requests(), 0U);
}

TEST_F(HttpServer, WhoSendsFarTooMuchStillHearsWhy) {
  start({.body_max = 100});
  Peer peer{server->port()};
  EXPECT_TRUE(peer.send(post("/", std::string(16U << 20U, 'x'))));
  EXPECT_THAT(peer.response(), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpServer, SizesAreBounded) {
  start({.body_max = 100, .headers_max = 1000});
  EXPECT_THAT(ask(post("/", std::string(101, 'x'))), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nContent-Length: 5000000000\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + std::string(500, 'x')),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask(get("/", fmt::format("X: {}\r\n", std::string(2000, 'x')))), StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(ask(get(std::string(2000, '/'))), StartsWith("HTTP/1.1 431"));
  EXPECT_EQ(requests(), 0U);
  EXPECT_THAT(ask(post("/", std::string(100, 'x'))), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, WhoIsTooSlowIsCut) {
  start({.idle_timeout = 50ms, .headers_timeout = 50ms, .body_timeout = 50ms});
  Peer idle{server->port()};
  EXPECT_EQ(idle.rest(), "");
  Peer headers{server->port()};
  headers.send("GET / HTTP/1.1\r\nHost:");
  EXPECT_THAT(headers.rest(), StartsWith("HTTP/1.1 408"));
  Peer body{server->port()};
  body.send("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_THAT(body.rest(), StartsWith("HTTP/1.1 408"));
  EXPECT_EQ(requests(), 0U);
}

TEST_F(HttpServer, ARequestThatBreaksOffIsNone) {
  start();
  for (const std::string& part : {get("/cut").substr(0, 20), post("/cut", "whole").substr(0, 52)}) {
    Peer peer{server->port()};
    peer.send(part);
    peer.finish();
    EXPECT_EQ(peer.rest(), "");
  }
  EXPECT_EQ(requests(), 0U);
}

TEST_F(HttpServer, RefusalsLookAsTheCallerWants) {
  start({.refusal = [](int status, std::string_view why) {
    return Response{
        .status = status, .content_type = "application/problem+json", .body = fmt::format("[{}]", why)};
  }});
  const std::string answer = ask("nonsense\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("application/problem+json"));
  EXPECT_THAT(answer, HasSubstr("[this is no HTTP/1.1 request]"));
}

TEST_F(HttpServer, ConnectionsAreBounded) {
  start({.connections_max = 2});
  Peer one{server->port()};
  Peer two{server->port()};
  one.send(get("/1"));
  two.send(get("/2"));
  EXPECT_THAT(one.response(), HasSubstr("/1"));
  EXPECT_THAT(two.response(), HasSubstr("/2"));
  Peer three{server->port()};
  EXPECT_EQ(three.rest(), "");
  one.send(get("/again"));
  EXPECT_THAT(one.response(), HasSubstr("/again"));
}

// ---- Start and stop

TEST_F(HttpServer, AnAddressThatIsTakenIsSaid) {
  start();
  try {
    const Server second{{.port = server->port()}, [](Request&&, const Answer&) {}};
    FAIL() << "two listen on one port";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr(fmt::format("127.0.0.1:{}: Address already in use", server->port())));
  }
  EXPECT_THROW((Server{{.host = "nowhere"}, [](Request&&, const Answer&) {}}), std::runtime_error);
}

TEST_F(HttpServer, AStopWaitsForWhatIsUnderWayAndClosesWhatIsIdle) {
  start();
  Peer idle{server->port()};
  idle.send(get("/"));
  idle.response();
  Peer busy{server->port()};
  busy.send(get("/late"));
  const Answer answer = take_late();
  std::thread stopping{[&] { server->stop(20s); }};
  EXPECT_EQ(idle.rest(), "");
  EXPECT_FALSE(Peer{server->port()}.connected());
  answer({.body = "in time"});
  const std::string last = busy.rest();
  EXPECT_THAT(last, HasSubstr("in time"));
  EXPECT_THAT(last, HasSubstr("Connection: close"));
  busy.finish();
  stopping.join();
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(HttpServer, AStopWithoutPatienceCuts) {
  start();
  Peer busy{server->port()};
  busy.send(get("/late"));
  const Answer answer = take_late();
  server->stop(0s);
  late.clear();
}

TEST_F(HttpServer, ManyClientsAtOnce) {
  start();
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      Peer peer{server->port()};
      for (int k = 0; k < 50; ++k) {
        const std::string path = fmt::format("/{}/{}", i, k);
        peer.send(post(path, "x"));
        right += peer.response().find("POST " + path + "  x") != std::string::npos ? 1 : 0;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 800);
}

}  // namespace

}  // namespace tidemill::http
