#include <tidemill/testing.hpp>
#include <tidemill/tidemill.hpp>

#include <cassert>

using namespace std::chrono_literals;

int main() {
  // [testing]
  tidemill::testing::FakeClock clock;
  const auto store = tidemill::open("memory:", {.clock = &clock});
  tidemill::Client client{*store};
  client.enqueue("mail:send", "{}", {.delay = 24h});

  tidemill::Router router;
  int sent = 0;
  router.handle("mail:send", [&](tidemill::Context&) {
    ++sent;
    return tidemill::Outcome::success();
  });
  tidemill::testing::InlineWorker worker{*store, router};
  worker.drain();
  assert(sent == 0);
  assert(tidemill::testing::has_task(*store, {.kind = "mail:send", .state = tidemill::State::scheduled}));
  clock.advance(24h);
  worker.drain();
  assert(sent == 1);
  // [testing]
  return sent == 1 ? 0 : 1;
}
