#include <span>
#include <string_view>

#include <tidemill/tidemill.hpp>

int main() {
  using namespace std::chrono_literals;
  const auto store = tidemill::open("sqlite:jobs.db");
  tidemill::Router router;
  // [groups]
  tidemill::Client client{*store};
  client.enqueue("mail:note", "Ada liked your photo", {.group = "user:42"});

  tidemill::WorkerOptions options;
  options.groups = {{.aggregate =
                         [](std::string_view, std::span<const tidemill::Task> tasks) {
                           tidemill::NewTask digest{.kind = "mail:digest"};
                           for (const auto& task : tasks) digest.payload += task.payload + '\n';
                           return digest;
                         },
                     .size_max = 100,
                     .delay_max = 1h,
                     .grace = 5min}};
  // [groups]
  tidemill::Worker{*store, router, options}.run();
}
