#pragma once

#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/log.hpp>
#include <tidemill/store.hpp>
#include <tidemill/task.hpp>

namespace tidemill {

/// One task of a batch: a kind, a payload and what else there is to say.
struct NewTask {
  std::string kind = {};
  std::string payload = {};
  EnqueueOptions options = {};
};

struct ClientOptions {
  /// Callers on many threads are merged into one write of at most so many tasks and bytes (group commit).
  std::size_t batch_max = 512;
  std::size_t batch_bytes_max = 1U << 20U;
  /// Longest wait of a call for the store.
  Duration timeout = std::chrono::seconds{30};
  /// Called with each task before it is checked, on the caller's thread; may change it. What it throws
  /// refuses the task: an Error goes to the caller as it is, all else as Error{invalid}.
  std::function<void(NewTask& task)> before_enqueue = {};
  /// Called with each task that went to the store and what came of it, as `enqueue_all` answers (failed and
  /// unknown too), before the caller is told: on the caller's thread, or the client's for `enqueue_async`.
  /// Inside a transaction the commit is still to come. What it throws is logged.
  std::function<void(const Task& task, const Enqueued& answer)> after_enqueue = {};
  Log log = {};
};

/// Puts tasks into a store.
///
/// Every call returns when the store has accepted the tasks durably, or throws and has written nothing,
/// unless the error's kind is `unknown_outcome`. Bad input throws Error{invalid} before anything is written.
///
/// Thread safety: all members may be called from any thread. When several threads enqueue at once, one of
/// them writes for all: throughput grows with the number of callers, and a lone caller pays no delay.
class Client {
 public:
  /// `store` must outlive the client.
  explicit Client(Store& store, ClientOptions options = {});
  /// Waits for the asynchronous calls under way.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Answers created, replaced or exists. Throws Error{conflict} when the unique key is taken and the options
  /// say `reject`, or say `replace` and its holder runs.
  Enqueued enqueue(std::string_view kind, std::string payload, const EnqueueOptions& options = {});

  template <Payload T>
  Enqueued enqueue(const T& payload, const EnqueueOptions& options = {}) {
    return enqueue(T::kind, Codec<T>::encode(payload), options);
  }

  /// Inside the caller's own database transaction: the task exists if and only if that commits. Throws
  /// Error{invalid} when the transaction belongs to another store, Error{unsupported} when this one has none.
  Enqueued enqueue(Transaction& inside, std::string_view kind, std::string payload,
                   const EnqueueOptions& options = {});

  template <Payload T>
  Enqueued enqueue(Transaction& inside, const T& payload, const EnqueueOptions& options = {}) {
    return enqueue(inside, T::kind, Codec<T>::encode(payload), options);
  }

  /// Many tasks in as few writes as the store allows; one answer each, in their order. Nothing about a single
  /// task throws: what `enqueue` would throw is in its answer (`invalid`, `exists`, `busy`).
  std::vector<Enqueued> enqueue_all(std::span<const NewTask> tasks);

  template <Payload T>
  std::vector<Enqueued> enqueue_all(std::span<const T> payloads, const EnqueueOptions& options = {}) {
    std::vector<NewTask> tasks;
    tasks.reserve(payloads.size());
    for (const T& payload : payloads) {
      tasks.push_back({std::string{T::kind}, Codec<T>::encode(payload), options});
    }
    return enqueue_all(tasks);
  }

  /// Returns at once; the future has what `enqueue` would return or throw.
  std::future<Enqueued> enqueue_async(std::string_view kind, std::string payload,
                                      const EnqueueOptions& options = {});

  template <Payload T>
  std::future<Enqueued> enqueue_async(const T& payload, const EnqueueOptions& options = {}) {
    return enqueue_async(T::kind, Codec<T>::encode(payload), options);
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
