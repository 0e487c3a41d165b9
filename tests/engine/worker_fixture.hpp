#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <tidemill/client.hpp>
#include <tidemill/worker.hpp>

#include "core/rules.hpp"
#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"
#include "faulty_store.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
inline void PrintTo(State state, std::ostream* out) { *out << to_string(state); }
inline void PrintTo(StopReason reason, std::ostream* out) { *out << to_string(reason); }
}  // namespace tidemill

namespace tidemill::tests {

/// Waits until it is so; false after a time that no healthy run needs.
inline bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock{mutex};
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    never.wait_for(lock, std::chrono::milliseconds{1});
  }
  return true;
}

/// Opens once; handlers wait at it until the test opens it.
class Gate {
 public:
  void open() {
    {
      const std::lock_guard lock{mutex_};
      open_ = true;
    }
    opened_.notify_all();
  }
  void wait() {
    std::unique_lock lock{mutex_};
    opened_.wait_for(lock, std::chrono::seconds{30}, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Blocks until the token fires.
inline void await_stop(const Context& context) {
  std::mutex mutex;
  std::condition_variable_any fired;
  std::unique_lock lock{mutex};
  fired.wait_for(lock, context.stop_token(), std::chrono::seconds{30}, [] { return false; });
}

/// Keeps what is logged.
class Lines {
 public:
  Log log() {
    return Log{[this](Level, std::string_view message, std::span<const Field> fields) {
                 std::string line{message};
                 for (const Field& field : fields)
                   line.append(" ").append(field.name).append("=").append(field.value);
                 const std::lock_guard lock{mutex_};
                 lines_.push_back(std::move(line));
               },
               Level::debug};
  }
  std::size_t count(std::string_view part) const {
    const std::lock_guard lock{mutex_};
    std::size_t found = 0;
    for (const std::string& line : lines_) found += line.find(part) != std::string::npos ? 1U : 0U;
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// A memory store, a faulty one in front of it, a router to fill, and a worker with short times.
class WorkerTest : public ::testing::Test {
 protected:
  static WorkerOptions quick() {
    using std::chrono::hours;
    using std::chrono::milliseconds;
    using std::chrono::seconds;
    WorkerOptions options;
    options.concurrency = 4;
    options.lease = seconds{2};
    options.beat = milliseconds{50};
    options.margin = milliseconds{200};
    options.sweep = milliseconds{20};
    options.poll = milliseconds{100};
    options.shutdown_timeout = seconds{10};
    options.stuck_after = seconds{10};
    options.retry = RetryPolicy::linear(hours{1}, seconds{0});
    return options;
  }

  /// Made and started; the log goes to `lines` unless the options have a sink of their own.
  Worker& start(WorkerOptions options = quick()) {
    options.log = lines.log();
    worker = std::make_unique<Worker>(store, router, std::move(options));
    worker->start();
    return *worker;
  }

  Ref enqueue(std::string_view kind, const EnqueueOptions& options = {}, std::string payload = "{}") {
    return {options.queue, client.enqueue(kind, std::move(payload), options).id};
  }

  std::optional<Task> task(const Ref& ref) { return catalog.get(std::vector{ref}, clock.call()).front(); }
  State state(const Ref& ref) {
    const auto found = task(ref);
    return found ? found->state : State::gone;
  }
  ::testing::AssertionResult becomes(const Ref& ref, State wanted) {
    if (eventually([&] { return state(ref) == wanted; })) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << "it is " << to_string(state(ref)) << ", not " << to_string(wanted);
  }
  std::vector<Attempt> attempts(const Ref& ref) { return catalog.attempts(ref, clock.call()); }

  Changed act(Act act, const Ref& ref) {
    Changed answer = Changed::wrong_state;
    for (const Change& change : rules::changes(act)) {
      answer = catalog.change(std::vector{ref}, change, clock.call()).front();
      if (answer != Changed::wrong_state) break;
    }
    return answer;
  }

  /// Claims as a process that is dead from then on.
  std::vector<Lease> claim_and_die(std::size_t count, Duration lease = std::chrono::milliseconds{1}) {
    const std::vector<Want> wants{{"default", count}};
    const Claim claim{.worker = "dead", .wants = wants, .count_max = count, .bytes_max = 0, .lease = lease};
    return memory->claim(claim, clock.call()).leases;
  }

  Gate gate;  // Outlives the worker, as all must that handlers use to the end.
  std::unique_ptr<Store> memory = open_memory();
  FaultyStore store{*memory};
  engine::StoreClock clock{*memory};
  Catalog& catalog = *memory->catalog();
  Client client{*memory};
  Router router;
  Lines lines;
  std::unique_ptr<Worker> worker;
};

}  // namespace tidemill::tests
