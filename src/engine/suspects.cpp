#include "engine/suspects.hpp"

#include <algorithm>

namespace tidemill::engine {

SuspectGate& SuspectGate::of_process() {
  // Never destroyed: a handler that was left behind may end after main has returned.
  static auto* const gate = new SuspectGate;
  return *gate;
}

void SuspectGate::listen(const std::weak_ptr<Listener>& listener) {
  const std::lock_guard lock{mutex_};
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  listeners_.push_back(listener);
}

bool SuspectGate::enter(const detail::Attempt& attempt) {
  const std::lock_guard lock{mutex_};
  if (inside_ == nullptr) inside_ = &attempt;
  return inside_ == &attempt;
}

void SuspectGate::leave(const detail::Attempt& attempt) {
  std::vector<std::weak_ptr<Listener>> listeners;
  {
    const std::lock_guard lock{mutex_};
    if (inside_ != &attempt) return;
    inside_ = nullptr;
    listeners = listeners_;
  }
  for (const auto& weak : listeners) {
    if (const auto listener = weak.lock()) listener->gate_is_free();
  }
}

}  // namespace tidemill::engine
