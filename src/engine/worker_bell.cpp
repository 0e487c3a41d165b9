#include "engine/worker_bell.hpp"

#include <utility>

namespace tidemill::engine {

void WorkerBell::ring() {
  std::optional<std::stop_source> inside;
  {
    const std::lock_guard lock{mutex_};
    if (rung_) return;
    rung_ = true;
    inside = inside_;
  }
  rings_.notify_one();
  // The store hangs a callback on the token; it may take locks of its own, so ours is not held.
  if (inside) inside->request_stop();
}

bool WorkerBell::nap(Duration longest) {
  std::unique_lock lock{mutex_};
  rings_.wait_for(lock, longest, [this] { return rung_; });
  return std::exchange(rung_, false);
}

Wake WorkerBell::wait(Store& store, std::string_view worker, std::span<const std::string_view> queues,
                      Duration longest) {
  std::stop_token token;
  {
    const std::lock_guard lock{mutex_};
    if (std::exchange(rung_, false)) return Wake::stopped;
    inside_.emplace();
    token = inside_->get_token();
  }
  const auto leave = [this] {
    const std::lock_guard lock{mutex_};
    inside_.reset();
    rung_ = false;
  };
  try {
    const Wake wake = store.wait(worker, queues, longest, token);
    leave();
    return wake;
  } catch (...) {
    leave();
    throw;
  }
}

}  // namespace tidemill::engine
