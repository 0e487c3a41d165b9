#include "engine/worker_crew.hpp"

#include <utility>

#include <pthread.h>

namespace tidemill::engine {

void name_thread(const char* name) noexcept { pthread_setname_np(pthread_self(), name); }

WorkerCrew::~WorkerCrew() { leave(Steady{}); }

void WorkerCrew::add(const char* name, std::function<void()> body) {
  auto ended = std::make_shared<bool>(false);
  members_.push_back({std::thread{[name, body = std::move(body), ended, ends = ends_]() mutable {
                        name_thread(name);
                        body();
                        body = nullptr;  // What it keeps alive goes before the thread counts as ended.
                        const std::lock_guard lock{ends->mutex};
                        *ended = true;
                        ends->one_more.notify_all();
                      }},
                      ended});
}

std::size_t WorkerCrew::leave(Steady until) {
  std::size_t left = 0;
  for (Member& member : members_) {
    bool ended = false;
    {
      std::unique_lock lock{ends_->mutex};
      ended = ends_->one_more.wait_until(lock, until, [&] { return *member.ended; });
    }
    // A thread that is about to destroy its owner can't wait for itself.
    if (ended && member.thread.get_id() != std::this_thread::get_id()) {
      member.thread.join();
    } else {
      member.thread.detach();
      ++left;
    }
  }
  members_.clear();
  return left;
}

}  // namespace tidemill::engine
