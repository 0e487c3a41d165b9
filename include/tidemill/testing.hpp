#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>
#include <tidemill/worker.hpp>

/// Help for tests of programs that use Tidemill; needs no test framework.
namespace tidemill::testing {

/// A clock that stands still until it is told to go on.
///
/// Thread safety: all members may be called from any thread.
class FakeClock : public Clock {
 public:
  explicit FakeClock(TimePoint start = TimePoint{std::chrono::hours{24 * 365 * 60}});
  TimePoint now() const override;
  std::chrono::steady_clock::time_point steady() const override;

  /// Both clocks go on.
  void advance(Duration by);
  /// The wall clock jumps, the steady one doesn't.
  void jump(Duration by);

 private:
  mutable std::mutex mutex_;
  TimePoint now_;
  std::chrono::steady_clock::time_point steady_{std::chrono::hours{1}};
};

/// What one attempt came to.
struct Ran {
  Task task = {};
  Outcome outcome = Outcome::deferred();
  Reported reported = Reported::applied;
};

/// Runs tasks in the caller's own thread by the rules of `Worker`, without threads of its own, so that a test
/// says when what happens. Deferred outcomes are waited for.
class InlineWorker {
 public:
  /// `store` and `router` must outlive it. Of the options it uses queues, strict, retry and deferrals_max.
  InlineWorker(Store& store, const Router& router, WorkerOptions options = {});
  ~InlineWorker();

  /// Runs the next task that is due; none when there is none.
  std::optional<Ran> run_one();
  /// Runs tasks until none is due, `most` at most.
  std::vector<Ran> drain(std::size_t most = 10'000);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A yes or no that says why; converts to bool, so it goes into any framework's assertion.
struct Match {
  bool ok = false;
  std::string why = {};
  explicit operator bool() const noexcept { return ok; }
};

/// What a task should look like; an empty field matches all.
struct Expected {
  std::string kind = {};
  std::optional<State> state = {};
  std::string queue = {};
  std::string payload_contains = {};
  std::size_t count_least = 1;
  std::size_t count_most = static_cast<std::size_t>(-1);
};

/// Whether the store has tasks like that: `EXPECT_TRUE(has_task(store, {.kind = "mail:send"}))`. When not,
/// `why` lists what is there.
Match has_task(Store& store, const Expected& expected);
/// Whether the store has none.
Match has_no_task(Store& store, const Expected& expected);

/// The payloads of all tasks of a typed kind, decoded, in the catalogue's order.
std::vector<Task> tasks_of(Store& store, const Expected& expected);
template <Payload T>
std::vector<T> payloads(Store& store, std::optional<State> state = {}) {
  std::vector<T> out;
  for (const Task& task : tasks_of(store, {.kind = std::string{T::kind}, .state = state})) {
    out.push_back(Codec<T>::decode(task.payload));
  }
  return out;
}

}  // namespace tidemill::testing
