#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
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
  /// Deletes the task that the path names; one that runs is cancelled, and deleted when its attempt has
  /// ended. Waits for that as long as `timeout` of the query says. Must not block; throws Problem.
  void erase(Ask&& ask, const http::Answer& answer);
  /// Answers all that wait, and ends. May be called twice.
  void close();

 private:
  struct Waiting;
  /// The answer to what became of the task; none as long as there is something to wait for. `over`: there
  /// is no more time.
  using Look = std::function<std::optional<http::Response>(const Ref& ref, const std::optional<Task>& task,
                                                           bool over)>;
  void wait(Ask&& ask, const http::Answer& answer);
  void begin(Ask&& ask, const http::Answer& answer, bool must_exist, Look look);
  void find(Waiting& waiting);
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
