#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "server/service.hpp"

namespace tidemill::server {

/// Sends all tasks that match, one a line, as fast as the reader takes them.
///
/// Thread safety: all members may be called from any thread.
class Exports {
 public:
  /// `service` must outlive it.
  Exports(Service& service, Later later) : service_(service), later_(std::move(later)) {}

  void add_routes(Routes& routes);
  /// Cuts those that run, and refuses others. May be called twice.
  void close();

 private:
  class Running;
  http::Response run(const Ask& ask, const http::Answer& answer);
  void send(const Ask& ask, TaskQuery query, Page page, http::Stream& stream) const;

  Service& service_;
  const Later later_;
  std::mutex mutex_;
  std::set<std::shared_ptr<http::Stream>> running_;  // Guarded by mutex_.
  bool closed_ = false;                              // Guarded by mutex_.
};

}  // namespace tidemill::server
