// Makes a thumbnail of every image in a directory, in as many processes as you like, any of which may be
// killed at any time:
//
//   thumbnails draw DIR COUNT     makes images to work on
//   thumbnails enqueue DIR        one task for each image in DIR
//   thumbnails work OUT           makes thumbnails in OUT until SIGINT or SIGTERM
//   thumbnails check DIR OUT      whether all are there, and what it took
//
// The store is named by TIDEMILL_STORE.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <tidemill/tidemill.hpp>

#include "image.hpp"

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct Thumbnail {
  static constexpr std::string_view kind = "image:thumbnail";
  std::string file = {};
  std::size_t width = 64;
};
TIDEMILL_FIELDS(Thumbnail, file, width)

namespace {

std::vector<fs::path> images_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator{directory}) {
    if (entry.path().extension() == ".ppm") files.push_back(entry.path());
  }
  return files;
}

void draw(const fs::path& directory, std::size_t count) {
  fs::create_directories(directory);
  for (std::size_t i = 0; i < count; ++i) {
    image::write(directory / (std::to_string(i) + ".ppm"), image::draw(i, 128, 96));
  }
}

void enqueue(tidemill::Store& store, const fs::path& directory) {
  std::vector<Thumbnail> payloads;
  for (const fs::path& file : images_in(directory)) payloads.push_back({.file = fs::absolute(file).string()});
  tidemill::Client client{store};
  // Unique: to enqueue a directory again while its tasks are still there adds nothing. Kept for an hour: so
  // that `check` can look at what became of each.
  std::size_t created = 0;
  for (const tidemill::Enqueued& answer : client.enqueue_all<Thumbnail>(
           payloads, {.retries_max = 3, .unique = tidemill::Unique{}, .retention = 1h})) {
    if (answer.put == tidemill::Put::created) ++created;
  }
  std::cout << created << " tasks enqueued\n";
}

void work(tidemill::Store& store, const fs::path& out) {
  fs::create_directories(out);
  tidemill::Router router;
  router.handle<Thumbnail>([&out](tidemill::Context& context, const Thumbnail& task) {
    const image::Image image = image::read(task.file);
    if (context.stop_requested()) return tidemill::Outcome::failure("stopped");
    // To do it twice is harmless: the second file is the same and takes the place of the first in one step.
    image::write(out / fs::path{task.file}.filename(), image::shrink(image, task.width));
    return tidemill::Outcome::success();
  });
  tidemill::WorkerOptions options;
  options.concurrency = 4;
  // A dead process's tasks come back after two seconds, so that nobody waits long for this example. The
  // defaults (25 s) suit most programs better: they bear a stall of the machine.
  options.lease = 2s;
  options.beat = 500ms;
  options.margin = 500ms;
  options.log = tidemill::Log::to_stderr(tidemill::Level::warning);
  tidemill::Worker{store, router, options}.run();
}

/// How many tasks have been in the hands of a process that died.
std::size_t count_taken_over(tidemill::Inspector& inspector) {
  std::size_t count = 0;
  tidemill::TaskQuery query{.filter = {.kind = std::string{Thumbnail::kind}}, .limit = 1000};
  do {
    const tidemill::Page page = inspector.tasks(query);
    for (const tidemill::Task& task : page.tasks) count += task.crashes > 0 ? 1 : 0;
    query.cursor = page.next;
  } while (!query.cursor.empty());
  return count;
}

/// Zero when every image has its thumbnail and every task has completed.
int check(tidemill::Store& store, const fs::path& directory, const fs::path& out) {
  std::size_t there = 0;
  const std::vector<fs::path> files = images_in(directory);
  for (const fs::path& file : files) {
    const fs::path thumbnail = out / file.filename();
    if (fs::exists(thumbnail) && image::read(thumbnail).width == Thumbnail{}.width) ++there;
  }
  tidemill::Inspector inspector{store};
  std::uint64_t completed = 0;
  std::uint64_t other = 0;
  for (const tidemill::QueueInfo& queue : inspector.queues()) {
    for (const auto& [state, count] : queue.counts) {
      (state == tidemill::State::completed ? completed : other) += count;
    }
  }
  std::cout << files.size() << " images, " << there << " thumbnails, " << completed << " tasks completed, "
            << other << " not, " << count_taken_over(inspector) << " taken over from dead processes\n";
  return there == files.size() && completed == files.size() && other == 0 ? 0 : 1;
}

int run(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  if (command == "draw" && arguments.size() == 3) return draw(arguments[1], std::stoul(arguments[2])), 0;
  const char* url = std::getenv("TIDEMILL_STORE");
  const auto store = tidemill::open(url != nullptr ? url : "sqlite:thumbnails.db");
  if (command == "enqueue" && arguments.size() == 2) return enqueue(*store, arguments[1]), 0;
  if (command == "work" && arguments.size() == 2) return work(*store, arguments[1]), 0;
  if (command == "check" && arguments.size() == 3) return check(*store, arguments[1], arguments[2]);
  std::cerr << "thumbnails draw DIR COUNT | enqueue DIR | work OUT | check DIR OUT\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "thumbnails: " << error.what() << '\n';
    return 1;
  }
}
