#include <thread>

#include <tidemill/tidemill.hpp>

int main() {
  const auto store = tidemill::open("sqlite:jobs.db");
  tidemill::Router router;
  // [async]
  router.handle("http:call", [](tidemill::Context& context) {
    // The thread that runs this goes back to the pool; the slot is taken until the completion is called.
    std::thread{[completion = context.defer()]() mutable {
      completion(tidemill::Outcome::success("200 OK"));
    }}.detach();
    return tidemill::Outcome::deferred();
  });
  // [async]
  tidemill::Worker{*store, router, {.concurrency = 1000, .threads = 2}}.run();
}
