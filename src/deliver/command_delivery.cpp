#include "deliver/command_delivery.hpp"

#include <algorithm>
#include <cctype>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "drivers/process/process.hpp"

namespace tidemill::deliver {

namespace {

constexpr int exit_hopeless = 65;
constexpr int exit_not_now = 69;

/// Names of headers as shells can read them.
std::string variable(std::string_view header) {
  std::string name;
  for (const char c : header) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0
                ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
                : '_';
  }
  return name;
}

/// A zero byte would end a value, so it does.
std::map<std::string, std::string> environment_of(const CommandDelivery& delivery, const Context& context) {
  const Task& task = context.task();
  std::map<std::string, std::string> out = delivery.environment;
  out.emplace("TIDEMILL_ID", task.ref.id);
  out.emplace("TIDEMILL_QUEUE", task.ref.queue);
  out.emplace("TIDEMILL_KIND", task.kind);
  out.emplace("TIDEMILL_ATTEMPT", std::to_string(context.attempt()));
  for (const auto& [name, value] : task.headers) {
    const std::string suffix = variable(name);
    out.emplace(fmt::format("TIDEMILL_HEADER_{}", suffix), value);
    if (suffix == "TRACEPARENT") out.emplace(suffix, value);
  }
  return out;
}

std::string describe_failure(const process::End& end) {
  const std::string how = end.signal != 0 ? fmt::format("signal {} ({})", end.signal, sigdescr_np(end.signal))
                                          : fmt::format("exit code {}", end.exit_code);
  return end.last_error_line.empty() ? how : fmt::format("{} ({})", end.last_error_line, how);
}

std::string describe_bytes(std::size_t bytes) {
  return bytes % 1024 == 0 ? fmt::format("{} KiB", bytes / 1024) : fmt::format("{} bytes", bytes);
}

/// The reason of the attempt, or else the pool's end.
std::string_view why_stopped(const Context& context) {
  const StopReason reason = context.stop_reason();
  return to_string(reason == StopReason::none ? StopReason::shutdown : reason);
}

Outcome to_outcome(process::End end, Context& context, const CommandDelivery& delivery) {
  if (end.output_cut) {
    context.log(Level::warning, fmt::format("the output was longer than {}: the rest was left out",
                                            describe_bytes(delivery.output_bytes_max)));
  }
  // One that was stopped has not done its work, whatever its exit code says: many programs end with 0 on
  // SIGTERM.
  if (end.stopped) {
    return Outcome::failure(fmt::format("stopped: {}; {}", why_stopped(context), describe_failure(end)));
  }
  if (end.signal == 0 && end.exit_code == 0) return Outcome::success(std::move(end.output));
  if (end.signal == 0 && end.exit_code == exit_hopeless) return Outcome::archive(describe_failure(end));
  if (end.signal == 0 && end.exit_code == exit_not_now) return Outcome::snooze(delivery.snooze);
  return Outcome::failure(describe_failure(end));
}

Outcome run(const CommandDelivery& delivery, Context& context, std::stop_token stop) {
  const process::Command command{
      .argv = delivery.argv,
      .shell = delivery.shell,
      .directory = delivery.directory,
      .limits = {.memory_bytes = delivery.memory_bytes_max,
                 .cpu = std::chrono::ceil<std::chrono::seconds>(delivery.cpu_max),
                 .files = delivery.files_max},
      .input = context.task().payload,
      .environment = environment_of(delivery, context),
      .withheld = delivery.withheld,
      .output_bytes_max = delivery.output_bytes_max,
      .on_error_line = [&context](std::string_view line) { context.log(Level::info, line); },
      .grace = std::chrono::ceil<std::chrono::milliseconds>(delivery.grace)};
  return to_outcome(process::run(command, std::move(stop)), context, delivery);
}

void check(const CommandDelivery& delivery) {
  if (delivery.argv.empty() != delivery.shell.empty()) return;
  throw Error{ErrorKind::invalid,
              "a command delivery has either a program with its arguments or a shell command"};
}

}  // namespace

Handler command_handler(const CommandDelivery& delivery) {
  check(delivery);
  return [delivery](Context& context) { return run(delivery, context, context.stop_token()); };
}

// ---- The pool

/// What waits for a thread, in order. Shared with the handlers, and with the stop tokens' callbacks.
class CommandPool::Queue : public std::enable_shared_from_this<Queue> {
 public:
  struct Stopped {
    std::weak_ptr<Queue> queue;
    std::uint64_t number;
    void operator()() const {
      if (const auto there = queue.lock()) there->drop(number);
    }
  };
  struct Job {
    Job(std::shared_ptr<const CommandDelivery> how, Context& attempt)
        : delivery(std::move(how)), context(attempt), done(attempt.defer()) {}

    std::shared_ptr<const CommandDelivery> delivery;
    Context context;  // A copy: the handler's may go when it returns.
    Completion done;
    std::optional<std::stop_callback<Stopped>> on_stop;
  };

  /// Ends the attempt at once if it can't wait: it is stopped already, or the pool is.
  void add(std::shared_ptr<const CommandDelivery> delivery, Context& context) {
    auto job = std::make_unique<Job>(std::move(delivery), context);
    const std::uint64_t number = next_number();
    const std::stop_token token = context.stop_token();
    job->on_stop.emplace(token, Stopped{weak_from_this(), number});
    {
      const std::lock_guard lock{mutex_};
      // A callback that has run already found nothing to drop.
      if (!token.stop_requested() && !closed_) {
        jobs_.emplace(number, std::move(job));
        more_.notify_one();
        return;
      }
    }
    end_unstarted(*job);
  }

  /// Waits for the next one; null once `stop` fires.
  std::unique_ptr<Job> next(std::stop_token stop) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock{mutex_};
      if (!more_.wait(lock, stop, [this] { return !jobs_.empty(); }) || stop.stop_requested()) return nullptr;
      job = std::move(jobs_.extract(jobs_.begin()).mapped());
    }
    job->on_stop.reset();  // Not under the lock, which the callback takes.
    return job;
  }

  /// Ends all that waits; what is added from now on ends at once.
  void close() {
    std::map<std::uint64_t, std::unique_ptr<Job>> left;
    {
      const std::lock_guard lock{mutex_};
      closed_ = true;
      left.swap(jobs_);
    }
    for (auto& [number, job] : left) end_unstarted(*job);
  }

  static void end_unstarted(Job& job) {
    job.done(Outcome::failure(fmt::format("stopped: {}; it waited for other commands and had not begun",
                                          why_stopped(job.context))));
  }

 private:
  std::uint64_t next_number() {
    const std::lock_guard lock{mutex_};
    return ++last_number_;
  }

  void drop(std::uint64_t number) {
    std::unique_ptr<Job> job;
    {
      const std::lock_guard lock{mutex_};
      const auto found = jobs_.find(number);
      if (found == jobs_.end()) return;
      job = std::move(found->second);
      jobs_.erase(found);
    }
    end_unstarted(*job);
  }

  std::mutex mutex_;  // Guards all below.
  std::condition_variable_any more_;
  std::map<std::uint64_t, std::unique_ptr<Job>> jobs_;
  std::uint64_t last_number_ = 0;
  bool closed_ = false;
};

struct CommandPool::Threads {
  std::vector<std::jthread> all;
};

namespace {

/// Stopped by the attempt or by the pool.
Outcome run_in_pool(const CommandDelivery& delivery, Context& context, const std::stop_token& pool) {
  std::stop_source either;
  const auto pass_on = [&either] { either.request_stop(); };
  const std::stop_callback by_attempt{context.stop_token(), pass_on};
  const std::stop_callback by_pool{pool, pass_on};
  try {
    return run(delivery, context, either.get_token());
  } catch (const std::exception& error) {
    return Outcome::failure(error.what());
  }
}

}  // namespace

CommandPool::CommandPool(std::size_t threads)
    : queue_(std::make_shared<Queue>()), threads_(std::make_unique<Threads>()) {
  for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i) {
    threads_->all.emplace_back([queue = queue_](const std::stop_token& stop) {
      while (const auto job = queue->next(stop)) {
        // A worker that stops marks all of its attempts before their callbacks run.
        if (job->context.stop_reason() == StopReason::none) {
          job->done(run_in_pool(*job->delivery, job->context, stop));
        } else {
          Queue::end_unstarted(*job);
        }
      }
    });
  }
}

CommandPool::~CommandPool() {
  for (std::jthread& thread : threads_->all) thread.request_stop();
  queue_->close();
}

Handler CommandPool::handler(CommandDelivery delivery) {
  check(delivery);
  return [queue = queue_,
          delivery = std::make_shared<const CommandDelivery>(std::move(delivery))](Context& context) {
    queue->add(delivery, context);
    return Outcome::deferred();
  };
}

}  // namespace tidemill::deliver
