#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/worker.hpp>

#include "cli/bench.hpp"
#include "core/url.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us.

namespace tidemill::cli::bench {

namespace {

using Steady = std::chrono::steady_clock;

constexpr std::string_view kind = "bench:task";
constexpr std::string_view backlog_kind = "bench:backlog";
constexpr std::size_t bulk_size = 1000;
constexpr std::size_t pickups_max = 1000;
constexpr auto pickup_interval = std::chrono::milliseconds{10};
constexpr Duration due_lead = std::chrono::seconds{2};
constexpr Duration spread_over = std::chrono::seconds{10};
constexpr auto stalled_after = std::chrono::seconds{60};

double seconds_since(Steady::time_point start) {
  return std::chrono::duration<double>(Steady::now() - start).count();
}

/// What handlers saw. Their latencies are kept by slot of a vector that is there from the start, so that
/// taking them costs no lock.
class Arrivals {
 public:
  explicit Arrivals(std::size_t expected) : expected_(expected), milliseconds_(expected) {}

  void add(double milliseconds) {
    const std::size_t place = count_.fetch_add(1);
    if (place < expected_) milliseconds_[place] = milliseconds;
    if (place + 1 == expected_) {
      const std::lock_guard lock{mutex_};
      all_here_.notify_all();
    }
  }

  /// Throws when nothing more arrives.
  void wait() {
    std::unique_lock lock{mutex_};
    for (std::size_t seen = 0; count_ < expected_; seen = count_) {
      if (all_here_.wait_for(lock, stalled_after, [&] { return count_ >= expected_; })) return;
      if (count_ > seen) continue;
      throw Error{ErrorKind::unavailable,
                  fmt::format("{} of {} tasks have run, and no more for a minute", count_.load(), expected_)};
    }
  }

  Latencies latencies() const { return Latencies{milliseconds_}; }

 private:
  const std::size_t expected_;
  std::vector<double> milliseconds_;
  std::atomic<std::size_t> count_{0};
  std::mutex mutex_;
  std::condition_variable all_here_;
};

/// The store and the queue that a workload uses. Ends with the queue empty.
class Bench {
 public:
  Bench(Store& store, const Plan& plan) : plan_(plan), store_(store), client_(store), inspector_(store) {
    if (plan_.backlog > 0) fill(plan_.backlog, backlog_kind, {.queue = plan_.queue, .priority = -100}, {});
  }
  ~Bench() {
    try {
      inspector_.act(Act::erase, Filter{.queue = plan_.queue});
    } catch (const Error&) {
      // The error that led here is the one to tell; the next run says that the queue is not empty.
    }
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Client& client() { return client_; }
  Store& store() { return store_; }

  /// In bulk. `due`: of the n-th one.
  void fill(std::size_t count, std::string_view what, EnqueueOptions options,
            const std::function<TimePoint(std::size_t)>& due) {
    std::vector<NewTask> batch;
    for (std::size_t i = 0; i < count;) {
      batch.clear();
      for (; i < count && batch.size() < bulk_size; ++i) {
        if (due) options.run_at = due(i);
        batch.push_back({std::string{what},
                         payload(i, due ? due(i).time_since_epoch().count() : 0, plan_.payload_bytes),
                         options});
      }
      check(client_.enqueue_all(batch));
    }
  }

  /// Runs tasks until `arrivals` has them all and, as nothing is done before it is reported, until none is
  /// active.
  template <class Measure>
  double work(Arrivals& arrivals, Measure measure,
              const std::function<void(Steady::time_point)>& while_it_works = {}) {
    Router router;
    router.handle(kind, [&](Context& context) {
      arrivals.add(measure(context.task()));
      return Outcome::success();
    });
    router.handle(backlog_kind, [](Context&) { return Outcome::success(); });
    Worker worker{store_, router, worker_options()};
    const auto start = Steady::now();
    worker.start();
    if (while_it_works) while_it_works(start);
    arrivals.wait();
    if (plan_.backlog == 0) wait_until_empty();
    const double took = seconds_since(start);
    worker.stop();
    return took;
  }

 private:
  WorkerOptions worker_options() const {
    WorkerOptions options;
    options.queues = {{plan_.queue, 1}};
    options.concurrency = plan_.concurrency;
    options.threads = std::min(plan_.handlers, plan_.concurrency);
    options.log = Log{[](Level, std::string_view, std::span<const Field>) {}, Level::error};
    return options;
  }

  static void check(const std::vector<Enqueued>& answers) {
    for (const Enqueued& answer : answers) {
      if (answer.put != Put::created)
        throw Error{ErrorKind::unavailable, "a task was not enqueued: " + answer.why};
    }
  }

  void wait_until_empty() {
    const auto give_up = Steady::now() + stalled_after;
    while (!is_empty()) {
      if (Steady::now() > give_up)
        throw Error{ErrorKind::unavailable, "all tasks have run, and some are still there"};
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

  bool is_empty() {
    for (const QueueInfo& queue : inspector_.queues()) {
      if (queue.name != plan_.queue) continue;
      return std::all_of(queue.counts.begin(), queue.counts.end(),
                         [](const auto& entry) { return entry.second == 0; });
    }
    return true;
  }

  const Plan& plan_;
  Store& store_;
  Client client_;
  Inspector inspector_;
};

// ---- Enqueue

Measured enqueue_threads(Store& store, const Plan& plan, std::int32_t threads) {
  Bench bench{store, plan};
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  const auto produce = [&](std::exception_ptr& failure) {
    try {
      for (std::size_t i = next++; i < plan.tasks; i = next++) {
        bench.client().enqueue(kind, payload(i, 0, plan.payload_bytes), {.queue = plan.queue});
      }
    } catch (...) {
      failure = std::current_exception();
    }
  };
  const auto start = Steady::now();
  {
    std::vector<std::jthread> producers;
    for (std::exception_ptr& failure : failures) producers.emplace_back(produce, std::ref(failure));
  }
  Measured measured{.tasks = plan.tasks, .seconds = seconds_since(start)};
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return measured;
}

/// How much a fresh file beside the store's own takes with all tasks pending; a file that has been in use
/// would hide some in the holes that others have left.
std::optional<double> bytes_per_task(const Plan& plan) {
  if (Url::parse(plan.url).scheme != "sqlite") return {};
  const std::string path = Url::parse(plan.url).path + ".bench-size";
  const auto remove_all = [&] {
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  };
  remove_all();
  Plan beside = plan;
  beside.url = "sqlite:" + path;
  beside.backlog = 0;
  {
    open(beside.url);
  }
  const auto before = std::filesystem::file_size(path);
  std::uintmax_t after = 0;
  {
    // Closing the last connection brings the log home; the queue is left full.
    const auto store = open(beside.url);
    Client client{*store};
    for (std::size_t i = 0; i < plan.tasks; i += bulk_size) {
      std::vector<NewTask> batch;
      for (std::size_t j = i; j < std::min(i + bulk_size, plan.tasks); ++j) {
        batch.push_back({std::string{kind}, payload(j, 0, plan.payload_bytes), {.queue = plan.queue}});
      }
      client.enqueue_all(batch);
    }
  }
  after = std::filesystem::file_size(path);
  remove_all();
  return static_cast<double>(after - before) / static_cast<double>(plan.tasks);
}

Measured enqueue_bulk(Store& store, const Plan& plan) {
  Measured measured{.tasks = plan.tasks};
  {
    Bench bench{store, plan};
    const auto start = Steady::now();
    bench.fill(plan.tasks, kind, {.queue = plan.queue}, {});
    measured.seconds = seconds_since(start);
  }
  measured.bytes_per_task = bytes_per_task(plan);
  return measured;
}

// ---- Drain, pickup, due

Measured drain(Store& store, const Plan& plan) {
  Bench bench{store, plan};
  bench.fill(plan.tasks, kind, {.queue = plan.queue}, {});
  Arrivals arrivals{plan.tasks};
  const double took = bench.work(arrivals, [](const Task&) { return 0.0; });
  return {.tasks = plan.tasks, .seconds = took};
}

double since_stamp(const Task& task) {
  return static_cast<double>(steady_now() - stamp_of(task.payload)) / 1e6;
}

Measured pickup(Store& store, const Plan& plan, const std::function<void(Bench&, const Plan&)>& produce) {
  Plan few = plan;
  few.tasks = std::min(plan.tasks, pickups_max);
  Bench bench{store, few};
  Arrivals arrivals{few.tasks};
  const double took = bench.work(arrivals, since_stamp, [&](Steady::time_point) { produce(bench, few); });
  return {.tasks = few.tasks, .seconds = took, .latencies = arrivals.latencies()};
}

/// The same program once more, as a producer.
void produce_elsewhere(const Plan& plan) {
  std::vector<std::string> arguments{"tidemill",        "bench-producer",
                                     "--store",         plan.url,
                                     "--queue",         plan.queue,
                                     "--tasks",         std::to_string(plan.tasks),
                                     "--payload-bytes", std::to_string(plan.payload_bytes)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int code = posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv.data(), environ);
  if (code != 0) throw Error{ErrorKind::unavailable, "the producing process can't be started"};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) throw Error{ErrorKind::unavailable, "the producing process failed"};
}

/// Tasks due from `first` on, `between` in all apart. Latencies are how late they start, by the store's
/// clock.
Measured due(Store& store, const Plan& plan, Duration between) {
  Bench bench{store, plan};
  // The store's clock, counted on by the steady one.
  const TimePoint store_now = bench.store().now();
  const auto steady_then = Steady::now();
  const auto now = [&] { return store_now + std::chrono::floor<Duration>(Steady::now() - steady_then); };
  // Slow stores need longer to take the tasks in; none may be due before all are there.
  const Duration fill_time{static_cast<std::int64_t>(plan.tasks) * 40};
  const TimePoint first = store_now + due_lead + fill_time;
  const auto due_at = [&](std::size_t i) {
    return first + between * static_cast<std::int64_t>(i) / static_cast<std::int64_t>(plan.tasks);
  };
  bench.fill(plan.tasks, kind, {.queue = plan.queue}, due_at);
  if (now() > first)
    throw Error{ErrorKind::unavailable,
                "the store took the tasks in too slowly to measure; use fewer (--tasks)"};
  Arrivals arrivals{plan.tasks};
  const auto lateness = [&](const Task& task) {
    const TimePoint at{Duration{stamp_of(task.payload)}};
    return std::chrono::duration<double, std::milli>(now() - at).count();
  };
  TimePoint start{};
  const double took = bench.work(arrivals, lateness, [&](Steady::time_point) { start = now(); });
  return {.tasks = plan.tasks,
          .seconds = took - std::chrono::duration<double>(first - start).count(),
          .latencies = arrivals.latencies()};
}

}  // namespace

Latencies::Latencies(std::vector<double> milliseconds) : sorted_(std::move(milliseconds)) {
  std::sort(sorted_.begin(), sorted_.end());
}

double Latencies::at(double share) const {
  if (sorted_.empty()) return 0;
  const auto place = static_cast<std::size_t>(share * static_cast<double>(sorted_.size()));
  return sorted_[std::min(place, sorted_.size() - 1)];
}

std::span<const std::string> workloads() {
  static const std::vector<std::string> names{"enqueue-one", "enqueue-threads", "enqueue-bulk", "drain",
                                              "pickup",      "pickup-process",  "due",          "spread"};
  return names;
}

Measured run(const std::string& workload, const Plan& plan, Store& store) {
  Measured measured = [&] {
    if (workload == "enqueue-one") return enqueue_threads(store, plan, 1);
    if (workload == "enqueue-threads") return enqueue_threads(store, plan, plan.producers);
    if (workload == "enqueue-bulk") return enqueue_bulk(store, plan);
    if (workload == "drain") return drain(store, plan);
    if (workload == "pickup") {
      return pickup(store, plan, [](Bench& bench, const Plan& few) { produce_slowly(bench.client(), few); });
    }
    if (workload == "pickup-process")
      return pickup(store, plan, [](Bench&, const Plan& few) { produce_elsewhere(few); });
    if (workload == "due") return due(store, plan, {});
    Plan fifth = plan;
    fifth.tasks = std::max<std::size_t>(plan.tasks / 5, 1);
    return due(store, fifth, spread_over);
  }();
  measured.workload = workload + (plan.backlog > 0 ? "-deep" : "");
  return measured;
}

std::string payload(std::size_t number, std::int64_t stamp, std::size_t bytes) {
  std::string text = fmt::format(R"({{"id":{:08},"t":{:019},"pad":"")", number, stamp);
  text.pop_back();
  text.resize(std::max(bytes, text.size() + 2), 'x');
  text.replace(text.size() - 2, 2, "\"}");
  return text;
}

std::int64_t stamp_of(std::string_view payload) {
  const auto at = payload.find(R"("t":)");
  std::int64_t stamp = 0;
  if (at != std::string_view::npos) std::from_chars(payload.data() + at + 4, payload.data() + at + 23, stamp);
  return stamp;
}

std::int64_t steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Steady::now().time_since_epoch()).count();
}

void produce_slowly(Client& client, const Plan& plan) {
  const auto start = Steady::now();
  for (std::size_t i = 0; i < plan.tasks; ++i) {
    std::this_thread::sleep_until(start + pickup_interval * static_cast<std::int64_t>(i));
    client.enqueue(kind, payload(i, steady_now(), plan.payload_bytes), {.queue = plan.queue});
  }
}

}  // namespace tidemill::cli::bench
