// The HTTP client and the names of hosts. This program answers its own lookups: a name ending in .inside is
// this machine, and one ending in .hangs is this machine once the test lets the lookup end.
#include <gmock/gmock.h>

#include <dlfcn.h>
#include <netdb.h>

#include <algorithm>
#include <atomic>

#include "client_fixture.hpp"
#include "process.hpp"

namespace {

struct Lookups {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = true;
  int running = 0;
  int most = 0;  // At a time.

  void hang() {
    std::unique_lock lock{mutex};
    most = std::max(most, ++running);
    changed.wait(lock, [this] { return open; });
    --running;
  }
};
Lookups lookups;

}  // namespace

// In place of the C library's.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** found) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string_view host = name != nullptr ? name : "";
  if (host.ends_with(".hangs")) lookups.hang();
  const bool here = host.ends_with(".hangs") || host.ends_with(".inside");
  return real(here ? "127.0.0.1" : name, service, hints, found);
}

namespace tidemill::http::tests {

namespace {

using namespace std::chrono_literals;
using testing::eventually;
using ::testing::HasSubstr;
using testing::Received;
using testing::Receiver;

class HttpClientNames : public HttpClient {
 protected:
  HttpClientNames() { set_open(false); }
  ~HttpClientNames() override {
    set_open(true);
    EXPECT_TRUE(eventually([] {
      const std::lock_guard lock{lookups.mutex};
      return lookups.running == 0;
    }));
  }
  static void set_open(bool open) {
    const std::lock_guard lock{lookups.mutex};
    lookups.open = open;
    lookups.most = lookups.running;
    lookups.changed.notify_all();
  }
  static int most() {
    const std::lock_guard lock{lookups.mutex};
    return lookups.most;
  }
  std::string named(std::string_view name) const { return fmt::format("http://{}:{}/", name, server.port()); }
};

TEST_F(HttpClientNames, ANameThatLeadsInsideIsRefusedWhenItsSocketIsOpened) {
  Receiver receiver{[](Received& received) { received.hang(); }};
  start({});
  const CallResult result = ask({.url = fmt::format("http://metadata.inside:{}/", receiver.port())});
  EXPECT_TRUE(result.refused_address) << result.error;
  EXPECT_THAT(result.error, HasSubstr("the address 127.0.0.1 of metadata.inside is not public"));
  EXPECT_EQ(receiver.connections(), 0);
  start();
  EXPECT_EQ(ask({.url = named("metadata.inside")}).status, 200);
}

// Why: libcurl waits for the thread that looks a name up when a call ends before it, unless told otherwise.
TEST_F(HttpClientNames, ALookupThatHangsHoldsUpNobody) {
  start({.connect_timeout = 200ms, .allow_networks = {"127.0.0.1"}});
  std::stop_source stop;
  const Reply timed = send({.url = named("a.hangs")});
  const Reply cancelled = send({.url = named("b.hangs"), .stop = stop.get_token()});
  ASSERT_TRUE(eventually([] { return most() == 2; }));
  stop.request_stop();
  EXPECT_EQ(cancelled.get().error, "cancelled");
  EXPECT_THAT(timed.get().error, HasSubstr("no connection to a.hangs"));
  EXPECT_EQ(ask({.url = url()}).status, 200);
}

TEST_F(HttpClientNames, ManyCallsToOneNameDoNotLookItUpAllAtOnce) {
  std::vector<Reply> replies;
  for (int i = 0; i < 200; ++i) replies.push_back(send({.url = named("many.hangs")}));
  ASSERT_TRUE(eventually([] { return most() == 16; }));
  EXPECT_EQ(ask({.url = url()}).status, 200);
  EXPECT_EQ(most(), 16);
  set_open(true);
  for (const Reply& reply : replies) EXPECT_EQ(reply.get().status, 200) << reply.get().error;
}

}  // namespace

}  // namespace tidemill::http::tests
