#include <tidemill/tidemill.hpp>

#include <iostream>

// [payload]
struct Resize {
  static constexpr std::string_view kind = "image:resize";
  std::string file = {};
  int width = 320;
};
TIDEMILL_FIELDS(Resize, file, width)
// [payload]

namespace {

using namespace std::chrono_literals;

void enqueue(tidemill::Store& store) {
  // [enqueue]
  tidemill::Client client{store};
  client.enqueue(Resize{.file = "cat.png"});
  client.enqueue(Resize{.file = "dog.png", .width = 640}, {.queue = "slow", .delay = 5min, .retries_max = 3});
  client.enqueue(Resize{.file = "cat.png"}, {.unique = tidemill::Unique{}});  // One at a time for each payload.
  // [enqueue]
}

// [worker]
void work(tidemill::Store& store) {
  tidemill::Router router;
  router.handle<Resize>([](tidemill::Context& context, const Resize& resize) {
    if (context.stop_requested()) return tidemill::Outcome::snooze(1s);
    context.log(tidemill::Level::info, "resizing " + resize.file);
    return tidemill::Outcome::success();
  });
  router.handle("report:*", [](tidemill::Context& context) -> tidemill::Outcome {
    throw std::runtime_error("no printer for " + context.task().payload);  // Tried again, with back-off.
  });
  tidemill::Worker worker{store, router, {.queues = {{"default", 3}, {"slow", 1}}, .concurrency = 4}};
  worker.run();  // Until SIGINT or SIGTERM; start() and stop() for programs with a loop of their own.
}
// [worker]

void schedule(tidemill::Store& store) {
  // [schedule]
  tidemill::Inspector inspector{store};
  inspector.put_schedule({.id = "nightly-report",
                          .spec = "30 2 * * MON-FRI",
                          .zone = "Europe/Berlin",
                          .overlap = tidemill::Overlap::skip,
                          .kind = "report:nightly",
                          .payload = "{}"});
  tidemill::Scheduler scheduler{store};
  scheduler.start();  // Any number of processes may do this.
  // [schedule]
}

void inspect(tidemill::Store& store) {
  // [inspect]
  tidemill::Inspector inspector{store};
  for (const auto& queue : inspector.queues()) std::cout << queue.name << (queue.paused ? " is paused\n" : "\n");
  const auto page = inspector.tasks({.filter = {.states = tidemill::State::archived}});
  for (const auto& task : page.tasks) std::cout << task.ref.id << ": " << task.error << '\n';
  inspector.act(tidemill::Act::run, {.kind = "image:*", .states = tidemill::State::archived});  // All of them again.
  // [inspect]
}

}  // namespace

int main() {
  const auto store = tidemill::open("sqlite:jobs.db");
  enqueue(*store);
  schedule(*store);
  inspect(*store);
  work(*store);
}
