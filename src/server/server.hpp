#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "config/config.hpp"

/// The server: API, deliveries and scheduler over one store.
namespace tidemill::server {

/// Thread safety: all members from one thread.
class Server {
 public:
  /// How the configuration is read anew. Throws Error{invalid}.
  using Read = std::function<config::Config()>;

  /// Listens when this returns. `store` must outlive the server. Throws Error{invalid} for a configuration
  /// that can't be carried out, Error{unavailable} when it can't listen.
  Server(Store& store, config::Config config, Read read, Log log, Log statements);
  /// As `stop`.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Where it listens: "http://127.0.0.1:8470"; empty when it has no API.
  std::string url() const;

  /// Reads the configuration and takes it over, without a break: tokens, deliveries, queues, schedules. What
  /// needs a restart (store, listen, roles, limits) stays as it was, and the log says so. Throws
  /// Error{invalid}, and nothing has changed then. POST /config/reload does the same.
  void reload();

  /// No request is cut; deliveries in flight finish or go back. May be called twice.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::server
