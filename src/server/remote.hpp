#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "engine/remote.hpp"
#include "server/remote_json.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// Claim, renew and report over HTTP. One thread waits for tasks on behalf of all claims that wait.
///
/// Thread safety: all members may be called from any thread.
class RemoteRoutes {
 public:
  /// `service` must outlive it.
  RemoteRoutes(Service& service, Later later);
  /// As `close`.
  ~RemoteRoutes();
  RemoteRoutes(const RemoteRoutes&) = delete;
  RemoteRoutes& operator=(const RemoteRoutes&) = delete;

  void add_routes(Routes& routes);
  /// Answers the claims that wait, without tasks, and ends. May be called twice.
  void close();

 private:
  struct Waiting;

  void begin_claim(Ask&& ask, const http::Answer& answer);
  http::Response renew(const Ask& ask);
  void begin_report(const Ask& ask, const http::Answer& answer);
  http::Response report(const ReportBody& body, const std::atomic<bool>& gone);
  engine::RemoteClaimed claim_at_once(const ClaimBody& body);

  void loop();
  void serve_round(bool last);
  void wait_for_tasks(const std::vector<std::shared_ptr<Waiting>>& waiting);
  void flush_statistics();

  Service& service_;
  const Later later_;
  engine::RemoteLeases leases_;
  const std::string id_;
  std::chrono::steady_clock::time_point flushed_{};
  std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<std::shared_ptr<Waiting>> waiting_;  // Guarded by mutex_.
  std::stop_source interrupt_;                     // Ends a wait in the store. Guarded by mutex_.
  bool closed_ = false;                            // Guarded by mutex_.
  std::thread thread_;                             // Last: it uses all the others.
};

}  // namespace tidemill::server
