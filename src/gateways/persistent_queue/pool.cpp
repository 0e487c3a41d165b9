#include "gateways/persistent_queue/pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace tidemill::persistent_queue {

Pool::~Pool() {
  std::unique_lock lock{mutex_};
  closing_ = true;
  for (Idle* const each : idle_) each->wakes.notify_one();
  gone_.wait(lock, [this] { return threads_ == 0; });
}

std::size_t Pool::threads() const {
  const std::lock_guard lock{mutex_};
  return threads_;
}

void Pool::submit(Work work) {
  {
    const std::lock_guard lock{mutex_};
    if (!idle_.empty()) {
      Idle* const one = idle_.back();
      idle_.pop_back();
      one->work = std::move(work);
      one->wakes.notify_one();
      return;
    }
    ++threads_;
  }
  try {
    std::thread{[this, first = work]() mutable { loop(std::move(first)); }}.detach();
  } catch (...) {
    {
      const std::lock_guard lock{mutex_};
      --threads_;
    }
    work();  // There is no thread to be had: then this one does it.
  }
}

void Pool::loop(Work first) {
  pthread_setname_np(pthread_self(), "tm-job");
  Work work = std::move(first);
  Idle self;
  while (true) {
    work();
    work = nullptr;
    std::unique_lock lock{mutex_};
    idle_.push_back(&self);
    self.wakes.wait_for(lock, expiry_, [&] { return closing_ || self.work != nullptr; });
    if (self.work == nullptr) {
      std::erase(idle_, &self);
      --threads_;
      // Under the lock: whoever waits for the last thread destroys what it would touch after.
      gone_.notify_all();
      return;
    }
    work = std::exchange(self.work, nullptr);
  }
}

}  // namespace tidemill::persistent_queue
