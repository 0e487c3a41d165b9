#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include <tidemill/log.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>
#include <tidemill/worker.hpp>

#include "config/config.hpp"
#include "deliver/command_delivery.hpp"
#include "drivers/http/client.hpp"

namespace tidemill::server {

/// The workers of a server: one that claims tasks of its store, and one for each queue of other systems'
/// tables. They hand them to the URLs and commands of the configuration.
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

  /// Opens other systems' tables. Throws Error{unavailable} or {corrupt} when one can't be had; then nothing
  /// has begun.
  void start();
  /// What is in flight may finish, for the configured time; the rest goes back. May be called twice.
  void stop();
  /// What is called now. May be called from any thread.
  std::vector<http::Client::HostLoad> hosts() { return client_.load(); }

 private:
  /// A queue of PersistentQueue's tables; open once it is started.
  struct Gateway {
    config::PersistentQueue from = {};
    Router router = {};
    std::unique_ptr<Store> store = {};
    std::unique_ptr<Worker> worker = {};
  };
  void open_gateways();
  Handler handler_of(const config::Delivery& delivery, const std::vector<std::string>& secrets);

  const Log log_;
  const Duration shutdown_timeout_;
  http::Client client_;
  deliver::CommandPool commands_;
  Router router_;
  std::unique_ptr<Worker> worker_;  ///< Null: no delivery is of the server's own store.
  std::list<Gateway> gateways_;
};

}  // namespace tidemill::server
