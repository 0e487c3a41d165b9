#pragma once

#include <memory>

#include <tidemill/log.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>
#include <tidemill/worker.hpp>

#include "config/config.hpp"
#include "deliver/command_delivery.hpp"
#include "drivers/http/client.hpp"

namespace tidemill::server {

/// The worker of a server: claims tasks and hands them to the URLs and commands of the configuration.
///
/// Thread safety: start and stop from one thread.
class Deliveries {
 public:
  /// `store` must outlive it. Throws Error{invalid} that names the delivery that is wrong.
  Deliveries(Store& store, const config::Config& config, Log log);
  /// As `stop`.
  ~Deliveries();
  Deliveries(const Deliveries&) = delete;
  Deliveries& operator=(const Deliveries&) = delete;

  void start() { worker_->start(); }
  /// What is in flight may finish, for the configured time; the rest goes back. May be called twice.
  void stop();
  /// What is called now. May be called from any thread.
  std::vector<http::Client::HostLoad> hosts() { return client_.load(); }

 private:
  http::Client client_;
  deliver::CommandPool commands_;
  Router router_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tidemill::server
