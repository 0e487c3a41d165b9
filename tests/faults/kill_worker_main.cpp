// The processes that kill_test kills. Each writes down what it has done with one write to a file opened with
// O_APPEND, so that no line is torn and no line is lost that a test could then miss.
//
//   kill_worker_main work    URL EFFECTS LEASE_MS        a line "id attempt pid" for each run of a handler
//   kill_worker_main hang    URL EFFECTS                 the same, and no handler ever ends
//   kill_worker_main merge   URL EFFECTS LEASE_MS        a line "group 0 pid" for each set that is merged
//   kill_worker_main enqueue URL ACKS PREFIX COUNT BATCH [GROUPS]
//                                                        a line "id" for each acknowledged task
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

#include <tidemill/tidemill.hpp>

namespace {

using namespace std::chrono_literals;

class LineLog {
 public:
  explicit LineLog(const std::string& file)
      : fd_(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {}
  ~LineLog() { close(fd_); }
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  void add(const std::string& lines) const {
    if (write(fd_, lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) _exit(3);
  }

 private:
  int fd_;
};

tidemill::WorkerOptions worker_options(std::chrono::milliseconds lease) {
  tidemill::WorkerOptions options;
  options.concurrency = 16;
  options.threads = 4;
  options.log = tidemill::Log::to_stderr(tidemill::Level::warning);
  if (lease > 0ms) {
    options.lease = lease;
    options.beat = lease / 4;
    options.margin = lease / 4;
  }
  return options;
}

void work(const std::string& url, const std::string& effects, std::chrono::milliseconds lease, bool hang) {
  const LineLog log{effects};
  const auto store = tidemill::open(url);
  tidemill::Router router;
  router.handle("kill:task", [&](tidemill::Context& context) {
    log.add(context.task().ref.id + " " + std::to_string(context.attempt()) + " " + std::to_string(getpid()) +
            "\n");
    while (hang) pause();
    return tidemill::Outcome::success(std::to_string(getpid()));
  });
  tidemill::Worker{*store, router, worker_options(lease)}.run();
}

/// The merged task has the ids of its parts, each behind a blank.
void merge(const std::string& url, const std::string& effects, std::chrono::milliseconds lease) {
  const LineLog log{effects};
  const auto store = tidemill::open(url);
  tidemill::Router router;
  router.handle("kill:merged", [](tidemill::Context&) { return tidemill::Outcome::success(); });
  tidemill::WorkerOptions options = worker_options(lease);
  tidemill::Aggregation rule{.size_max = 20, .grace = 200ms, .timeout = lease};
  rule.aggregate = [&](std::string_view group, std::span<const tidemill::Task> tasks) {
    log.add(std::string{group} + " 0 " + std::to_string(getpid()) + "\n");
    poll(nullptr, 0, 10);  // So that most kills fall before the set is settled.
    tidemill::NewTask merged{"kill:merged", "", {.crashes_max = 1000, .retention = 1h}};
    for (const tidemill::Task& task : tasks) merged.payload += " " + task.ref.id;
    return merged;
  };
  options.groups.push_back(std::move(rule));
  tidemill::Worker{*store, router, options}.run();
}

/// Calls again while the store can't be reached: then nothing has happened.
template <class Call>
auto when_there(Call call) {
  while (true) {
    try {
      return call();
    } catch (const tidemill::Error& error) {
      if (error.kind() != tidemill::ErrorKind::unavailable) throw;
    }
    poll(nullptr, 0, 20);
  }
}

/// With `groups`, the tasks take turns in so many of them.
void enqueue(const std::string& url, const std::string& acks, const std::string& prefix, std::size_t count,
             std::size_t batch, std::size_t groups) {
  const LineLog log{acks};
  const auto store = tidemill::open(url);
  tidemill::Client client{*store};
  // No crash limit: a task may be in the hands of several processes that are killed, through no fault of its
  // own.
  tidemill::EnqueueOptions options{.crashes_max = 1000, .retention = 1h};
  for (std::size_t i = 0; i < count;) {
    std::vector<tidemill::NewTask> tasks;
    for (; i < count && tasks.size() < batch; ++i) {
      options.id = prefix + "-" + std::to_string(i);
      if (groups > 0) options.group = "g" + std::to_string(i % groups);
      tasks.push_back({"kill:task", "{}", options});
    }
    std::string lines;
    if (batch == 1) {
      const tidemill::NewTask& task = tasks[0];
      lines = when_there([&] { return client.enqueue(task.kind, task.payload, task.options); }).id + "\n";
    } else {
      for (const tidemill::Enqueued& answer : when_there([&] { return client.enqueue_all(tasks); })) {
        if (answer.put == tidemill::Put::created) lines += answer.id + "\n";
      }
    }
    log.add(lines);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 4 && arguments[0] == "work") {
      work(arguments[1], arguments[2], std::chrono::milliseconds{std::stoi(arguments[3])}, false);
    } else if (arguments.size() == 3 && arguments[0] == "hang") {
      work(arguments[1], arguments[2], 0ms, true);
    } else if (arguments.size() == 4 && arguments[0] == "merge") {
      merge(arguments[1], arguments[2], std::chrono::milliseconds{std::stoi(arguments[3])});
    } else if ((arguments.size() == 6 || arguments.size() == 7) && arguments[0] == "enqueue") {
      const std::size_t groups = arguments.size() == 7 ? std::stoul(arguments[6]) : 0;
      enqueue(arguments[1], arguments[2], arguments[3], std::stoul(arguments[4]), std::stoul(arguments[5]),
              groups);
    } else {
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << "kill_worker_main " << arguments[0] << ": " << error.what() << std::endl;
    return 1;
  }
  return 0;
}
