#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/service.hpp"

namespace tidemill::server {

/// Answers when a task has ended. One thread looks after all tasks that somebody waits for.
///
/// Thread safety: all members may be called from any thread.
class Waits {
 public:
  /// `service` must outlive it.
  explicit Waits(Service& service);
  /// As `close`.
  ~Waits();
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

  void add_routes(Routes& routes);
  /// Answers all that wait, and ends. May be called twice.
  void close();

 private:
  struct Waiting;
  void begin(const Ask& ask, const http::Answer& answer);
  void loop();
  void look(std::vector<std::shared_ptr<Waiting>>& waiting, bool last);

  Service& service_;
  std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<std::shared_ptr<Waiting>> fresh_;  // Guarded by mutex_.
  bool closed_ = false;                          // Guarded by mutex_.
  std::thread thread_;                           // Last: it uses all the others.
};

}  // namespace tidemill::server
