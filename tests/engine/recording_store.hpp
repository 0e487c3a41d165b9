#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include <tidemill/store.hpp>

namespace tidemill::tests {

/// A store that takes enqueues only, remembers how they came, and answers as the test wants.
class RecordingStore : public Store {
 public:
  struct Seen {
    std::vector<Task> tasks;
    Call call;
    bool inside = false;
  };
  /// Answers one call; may throw or wait. Called without the lock, so also by several threads at once.
  using Answer = std::function<std::vector<Enqueued>(const Seen&)>;

  explicit RecordingStore(Answer answer = created) : answer_(std::move(answer)) {}

  static std::vector<Enqueued> created(const Seen& seen) {
    std::vector<Enqueued> answers;
    for (const Task& task : seen.tasks) answers.push_back({Put::created, task.ref.id, ""});
    return answers;
  }

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override {
    const Seen seen{{tasks.begin(), tasks.end()}, call, inside != nullptr};
    {
      const std::lock_guard lock{mutex_};
      calls_.push_back(seen);
    }
    came_.notify_all();
    return answer_(seen);
  }

  std::vector<Seen> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }
  /// Blocks until so many calls have come.
  void await_calls(std::size_t count) const {
    std::unique_lock lock{mutex_};
    came_.wait(lock, [&] { return calls_.size() >= count; });
  }

  Claimed claim(const Claim&, const Call&) override { return {}; }
  std::vector<Reported> report(std::span<const Report>, const Call&) override { return {}; }
  Renewed renew(const WorkerInfo&, std::span<const Beat>, Duration, std::span<const Stat>,
                const Call&) override {
    return {};
  }
  Swept sweep(std::string_view, Duration, std::size_t, const Call&) override { return {}; }
  Wake wait(std::string_view, std::span<const std::string_view>, Duration, std::stop_token) override {
    return Wake::timeout;
  }
  TimePoint now() override { return Clock::system().now(); }
  const Capabilities& capabilities() const noexcept override { return limits; }

  Capabilities limits = {};

 private:
  const Answer answer_;
  mutable std::mutex mutex_;
  mutable std::condition_variable came_;
  std::vector<Seen> calls_;  // Guarded by mutex_.
};

}  // namespace tidemill::tests
