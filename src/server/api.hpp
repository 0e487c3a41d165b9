#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "drivers/http/server.hpp"
#include "server/access.hpp"
#include "server/control.hpp"
#include "server/meter.hpp"
#include "server/routes.hpp"

namespace tidemill::server {

struct ApiOptions {
  std::size_t tasks_max = 10'000;  ///< In one request.
  std::size_t threads = 8;         ///< That wait for the store, for all requests but those of a single task.
  std::size_t waiting_max = 10'000;  ///< Requests that may wait for a thread; more are refused.
  /// The names in URLs that lead here, without port; empty: any. Guards a server without tokens against pages
  /// that give it a name of theirs.
  std::vector<std::string> hosts = {};
  std::shared_ptr<const Access> access = {};  ///< None: whoever reaches it may do all.
  const Meter* meter = nullptr;               ///< For /metrics and /readyz; must outlive the API.
  Control* control = nullptr;                 ///< None: no routes for it. Must outlive the API.
  Log log = {};
};

/// The REST API over a store: /api/v1, /healthz, /readyz and /metrics.
///
/// It also carries out operations, takes over the leases of dead workers, and purges: a server without other
/// parts is a whole queue for remote workers.
///
/// Thread safety: all members may be called from any thread.
class Api {
 public:
  /// `store` must outlive the API. Throws Error{unsupported} when it can't list tasks.
  explicit Api(Store& store, ApiOptions options = {});
  /// As `close`.
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  /// Begins to carry out operations and to look after the leases of the dead.
  void start();
  /// Does not block; answers from another thread.
  void handle(http::Request&& request, const http::Answer& answer);
  /// Tells what waits (claims, event streams) to come again; new requests are refused.
  void drain();
  /// Answers what has been taken and refuses what comes later. May be called twice.
  void close();

  void set_access(std::shared_ptr<const Access> access);

  const Routes& routes() const noexcept;

  /// For http::ServerOptions: refusals of the transport look like those of the API.
  static http::Response refusal(int status, std::string_view why);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::server
