#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tidemill::engine {

struct BatcherOptions {
  /// The thread's, at most 15 bytes.
  std::string name = "tm-batcher";
  /// A batch ends at so many items, or where the next one would take it over so much weight.
  std::size_t batch_max = 512;
  std::size_t batch_weight_max = 1U << 20U;
  /// How much may wait for its batch: items, and their weight.
  std::size_t queued_max = 100'000;
  std::size_t queued_weight_max = 256U << 20U;
};

/// Takes items from many threads and flushes what has gathered on a thread of its own. No timer is needed:
/// the next batch gathers while the last one is in flight. Who wants to wait for a flush uses GroupCommit,
/// which needs no thread.
///
/// Thread safety: push, try_push and queued may be called from any thread; close from one.
template <class Item>
class Batcher {
 public:
  /// Handles a batch of at least one, on the batcher's thread. Must not throw.
  using Flush = std::function<void(std::span<Item>)>;
  using Weigh = std::function<std::size_t(const Item&)>;

  explicit Batcher(Flush flush, BatcherOptions options = {}, Weigh weigh = {})
      : flush_(std::move(flush)), options_(std::move(options)), weigh_(std::move(weigh)) {
    thread_ = std::thread{[this] { run(); }};
  }
  /// As `close`.
  ~Batcher() { close(); }
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// Waits while too much waits already. False after `close`: the item is left as it was.
  bool push(Item&& item) {
    std::unique_lock lock{mutex_};
    room_.wait(lock, [&] { return closed_ || has_room(); });
    return add(std::move(item));
  }

  /// Does not wait: false, and the item is left as it was, when too much waits already or after `close`.
  bool try_push(Item&& item) {
    const std::lock_guard lock{mutex_};
    return has_room() && add(std::move(item));
  }

  /// How many wait for a flush that has not begun.
  std::size_t queued() const {
    const std::lock_guard lock{mutex_};
    return queue_.size();
  }

  /// Takes no more, flushes what it has taken, and ends its thread. May be called twice.
  void close() {
    {
      const std::lock_guard lock{mutex_};
      closed_ = true;
    }
    filled_.notify_one();
    room_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::size_t weight_of(const Item& item) const { return weigh_ ? weigh_(item) : 0; }

  /// One item always fits, however heavy.
  bool has_room() const {
    return queue_.empty() ||
           (queue_.size() < options_.queued_max && queued_weight_ < options_.queued_weight_max);
  }

  /// REQUIRES: mutex_ is held.
  bool add(Item&& item) {
    if (closed_) return false;
    queued_weight_ += weight_of(item);
    queue_.push_back(std::move(item));
    if (queue_.size() == 1) filled_.notify_one();
    return true;
  }

  void run() {
    pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
    std::vector<Item> batch;
    while (take(batch)) {
      room_.notify_all();
      flush_(batch);
      batch.clear();
    }
  }

  /// False when there is nothing left to come.
  bool take(std::vector<Item>& batch) {
    std::unique_lock lock{mutex_};
    filled_.wait(lock, [&] { return closed_ || !queue_.empty(); });
    std::size_t weight = 0;
    while (!queue_.empty() && batch.size() < options_.batch_max) {
      const std::size_t next = weight_of(queue_.front());
      if (!batch.empty() && weight + next > options_.batch_weight_max) break;
      weight += next;
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queued_weight_ -= weight;
    return !batch.empty();
  }

  const Flush flush_;
  const BatcherOptions options_;
  const Weigh weigh_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable room_;
  std::deque<Item> queue_;         // Guarded by mutex_.
  std::size_t queued_weight_ = 0;  // Guarded by mutex_.
  bool closed_ = false;            // Guarded by mutex_.
  std::thread thread_;             // Last: it uses all the others.
};

}  // namespace tidemill::engine
