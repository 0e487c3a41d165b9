#pragma once

#include <future>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "drivers/http/client.hpp"
#include "go_tools.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace tidemill::testing {

/// Asynqmon in front of a Redis, on a free port. Killed when the object goes.
class Asynqmon {
 public:
  /// Waits until it answers.
  explicit Asynqmon(const RedisServer& redis)
      : client_({.allow_networks = {"127.0.0.0/8"}}), port_(free_port()) {
    process_ = Process{{asynqmon().program.string(), fmt::format("-port={}", port_),
                        fmt::format("-redis-addr=127.0.0.1:{}", redis.port()), "-enable-metrics-exporter"},
                       {.out = directory_ / "log", .err = directory_ / "log"}};
    const bool up = eventually([this] { return process_.ended() || get("/api/queues").status == 200; });
    if (!up || process_.ended()) {
      throw std::runtime_error{fmt::format("Asynqmon does not start:\n{}", read_file(directory_ / "log"))};
    }
  }

  /// `path` begins with a slash; the address of its API begins with /api.
  http::CallResult get(const std::string& path) { return call("GET", path); }
  /// Any method, with a body of JSON where it is not empty.
  http::CallResult call(const std::string& method, const std::string& path, std::string body = {}) {
    http::Call call{.method = method,
                    .url = fmt::format("http://127.0.0.1:{}{}", port_, path),
                    .headers = {{"Content-Type", "application/json"}},
                    .body = std::move(body),
                    .response_bytes_max = 4U << 20U};
    std::promise<http::CallResult> promise;
    std::future<http::CallResult> result = promise.get_future();
    client_.send(std::move(call), [&](http::CallResult done) { promise.set_value(std::move(done)); });
    return result.get();
  }

 private:
  TemporaryDirectory directory_;
  http::Client client_;
  std::uint16_t port_;
  Process process_;
};

}  // namespace tidemill::testing
