// Mails as background tasks, on a Redis that Go programs with Asynq may share:
//
//   asynq enqueue NAME      a welcome mail now, and a reminder in a day
//   asynq work              sends what is due, with a handler for each kind, until SIGINT or SIGTERM
//   asynq work-one          the same with one handler for all kinds
//   asynq schedule [SPEC]   enqueues a periodic mail by a cron spec (each minute), until SIGINT or SIGTERM
//   asynq periodic FILE     enqueues the periodic mails of a file, which is read again every ten seconds
//
// The store is named by TIDEMILL_STORE: redis://localhost:6379/0.
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

#include <tidemill/periodic_file.hpp>
#include <tidemill/tidemill.hpp>

using namespace std::chrono_literals;

struct Welcome {
  static constexpr std::string_view kind = "task:welcome";
  std::string username = {};
};
TIDEMILL_FIELDS(Welcome, username)

struct Reminder {
  static constexpr std::string_view kind = "task:reminder";
  std::string username = {};
};
TIDEMILL_FIELDS(Reminder, username)

struct Periodic {
  static constexpr std::string_view kind = "task:periodic";
  std::string username = {};
};
TIDEMILL_FIELDS(Periodic, username)

namespace {

/// Stands for a mail server. One line in one write: handlers run on many threads.
void send(std::string_view what, std::string_view username) {
  if (username.empty()) throw std::runtime_error{"there is no user without a name"};
  std::cout << std::string{what} + " mail to " + std::string{username} + "\n" << std::flush;
}

void enqueue(tidemill::Store& store, const std::string& username) {
  tidemill::ClientOptions options;
  options.after_enqueue = [](const tidemill::Task& task, const tidemill::Enqueued& answer) {
    std::cout << task.kind << " is " << tidemill::to_string(answer.put) << " as " << answer.id << "\n";
  };
  tidemill::Client client{store, options};
  client.enqueue(Welcome{.username = username});
  client.enqueue(Reminder{.username = username}, {.delay = 24h});
}

/// Around each handler: when it starts, and how long a success has taken.
tidemill::Outcome logged(tidemill::Context& context, const tidemill::Handler& next) {
  const tidemill::Log log;
  const std::string& kind = context.task().kind;
  const auto started = std::chrono::steady_clock::now();
  log.info("begins", {{"kind", kind}, {"id", context.task().ref.id}});
  tidemill::Outcome outcome = next(context);
  if (outcome.kind() == tidemill::Outcome::Kind::success) {
    const std::chrono::duration<double, std::milli> ran = std::chrono::steady_clock::now() - started;
    log.info("has ended", {{"kind", kind}, {"ms", std::to_string(ran.count())}});
  }
  return outcome;
}

tidemill::Router handler_by_kind() {
  tidemill::Router router;
  router.use(logged);
  router.handle<Welcome>([](const Welcome& mail) { send("welcome", mail.username); });
  router.handle<Reminder>([](const Reminder& mail) { send("reminder", mail.username); });
  router.handle<Periodic>([](const Periodic& mail) { send("periodic", mail.username); });
  return router;
}

tidemill::Router one_handler() {
  tidemill::Router router;
  router.use(logged);
  router.handle("task:*", [](tidemill::Context& context) {
    const tidemill::Task& task = context.task();
    if (task.kind == Welcome::kind) {
      send("welcome", tidemill::Codec<Welcome>::decode(task.payload).username);
    } else if (task.kind == Reminder::kind) {
      send("reminder", tidemill::Codec<Reminder>::decode(task.payload).username);
    } else {
      return tidemill::Outcome::archive("there is no mail of the kind " + task.kind);
    }
    return tidemill::Outcome::success();
  });
  return router;
}

void work(tidemill::Store& store, const tidemill::Router& router) {
  tidemill::WorkerOptions options = tidemill::WorkerOptions::asynq();
  options.concurrency = 10;
  options.on_error = [](const tidemill::FailedAttempt& failed) {
    std::cerr << failed.task.kind + " " + failed.task.ref.id + " failed: " + std::string{failed.error} + "\n";
  };
  tidemill::Worker{store, router, options}.run();
}

/// Runs what has `start()` until SIGINT or SIGTERM.
template <class Service>
void run(Service& service) {
  // Blocked before there are threads, so that they reach `sigwait` and nobody else.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  service.start();
  int number = 0;
  sigwait(&ends, &number);
}

void schedule(tidemill::Store& store, const std::string& spec) {
  tidemill::Inspector{store}.put_schedule(
      {.id = "periodic-mail",
       .spec = spec,
       .kind = std::string{Periodic::kind},
       .payload = tidemill::Codec<Periodic>::encode({.username = "ada"})});
  tidemill::Scheduler scheduler{store};
  run(scheduler);
}

void periodic(tidemill::Store& store, const std::string& file) {
  tidemill::PeriodicTaskManager manager{
      store, {.provider = [file] { return tidemill::read_periodic_file(file); }, .sync_interval = 10s}};
  run(manager);
}

int usage() {
  std::cerr << "usage: asynq enqueue NAME | work | work-one | schedule [SPEC] | periodic FILE\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string command = argc > 1 ? argv[1] : "";
  const std::string argument = argc > 2 ? argv[2] : "";
  const char* const url = std::getenv("TIDEMILL_STORE");
  const auto store = tidemill::open(url != nullptr ? url : "redis://localhost:6379/0");
  if (command == "enqueue" && argc == 3) {
    enqueue(*store, argument);
  } else if (command == "work" && argc == 2) {
    work(*store, handler_by_kind());
  } else if (command == "work-one" && argc == 2) {
    work(*store, one_handler());
  } else if (command == "schedule" && argc <= 3) {
    schedule(*store, argc == 3 ? argument : "* * * * *");
  } else if (command == "periodic" && argc == 3) {
    periodic(*store, argument);
  } else {
    return usage();
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "asynq: " << error.what() << "\n";
  return 1;
}
