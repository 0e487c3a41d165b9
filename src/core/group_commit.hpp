#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace tidemill {

/// Merges the items of many threads into few batches: whoever comes while nobody works leads, takes what has
/// gathered, and flushes it in its own thread; those who come meanwhile wait and become the next batch. No
/// timer is needed: the batch grows while the last one is in flight, and a lone caller pays no thread switch.
///
/// The idea is that of LevelDB's write queue.
///
/// Thread safety: `run` may be called from any thread; the flush function is never called twice at once.
template <class Item>
class GroupCommit {
 public:
  /// Handles a batch of at least one, whole, and puts each item's answer or error into the item. Must not
  /// throw.
  using Flush = std::function<void(std::span<Item* const>)>;
  /// Whether `next` may join what has been gathered; asked in order, and the batch ends at the first no.
  using Fits = std::function<bool(std::span<Item* const> gathered, const Item& next)>;

  GroupCommit(Flush flush, Fits fits) : flush_(std::move(flush)), fits_(std::move(fits)) {}
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  /// Returns when `item` has been through a flush. An urgent one goes into the very next batch.
  void run(Item& item, bool urgent = false) {
    Waiter self{&item};
    {
      const std::lock_guard lock{mutex_};
      if (urgent) {
        queue_.push_front(&self);
      } else {
        queue_.push_back(&self);
      }
      if (!leading_) {
        leading_ = true;  // Nobody worked, so the queue was empty and `self` is its front.
        self.state.store(leader, std::memory_order_relaxed);
      }
    }
    if (wait(self) == leader) lead();
  }

  /// How many wait for a flush that has not begun.
  std::size_t queued() {
    const std::lock_guard lock{mutex_};
    return queue_.size();
  }

  /// Runs `use` while nobody flushes, unless somebody does: then it returns false at once.
  template <class F>
  bool try_alone(F&& use) {
    {
      const std::lock_guard lock{mutex_};
      if (leading_) return false;
      leading_ = true;
    }
    std::forward<F>(use)();
    pass_on();
    return true;
  }

 private:
  enum : int { waiting, leader, done };
  struct Waiter {
    Item* item;
    std::atomic<int> state{waiting};
    explicit Waiter(Item* i) : item(i) {}
  };

  /// REQUIRES: the caller leads, and its waiter is at the front of the queue.
  void lead() {
    std::vector<Waiter*> group;
    std::vector<Item*> items;
    {
      const std::lock_guard lock{mutex_};
      while (!queue_.empty() && (items.empty() || fits_(items, *queue_.front()->item))) {
        group.push_back(queue_.front());
        items.push_back(queue_.front()->item);
        queue_.pop_front();
      }
    }
    flush_(items);
    // From here on a waiter may be gone.
    for (Waiter* waiter : group) waiter->state.store(done, std::memory_order_release);
    pass_on();
  }

  /// Wakes whoever is done, and who leads now: all that wait look, as one call that wakes all costs less than
  /// one for each.
  void pass_on() {
    Waiter* next = nullptr;
    {
      const std::lock_guard lock{mutex_};
      leading_ = !queue_.empty();
      if (leading_) next = queue_.front();
    }
    if (next != nullptr) next->state.store(leader, std::memory_order_release);
    wakes_.fetch_add(1, std::memory_order_release);
    wakes_.notify_all();
  }

  /// Until the waiter leads or is done; says which.
  int wait(const Waiter& self) {
    while (true) {
      const unsigned seen = wakes_.load(std::memory_order_acquire);
      const int state = self.state.load(std::memory_order_acquire);
      if (state != waiting) return state;
      wakes_.wait(seen, std::memory_order_acquire);
    }
  }

  const Flush flush_;
  const Fits fits_;
  std::atomic<unsigned> wakes_ = 0;  // Moves on when some waiter's state has.
  std::mutex mutex_;
  std::deque<Waiter*> queue_;  // Guarded by mutex_.
  bool leading_ = false;       // Guarded by mutex_.
};

}  // namespace tidemill
