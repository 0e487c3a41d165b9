#pragma once

#include <functional>
#include <string>

#include "engine/store_clock.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// Requests with an Idempotency-Key: the first one is carried out, and its answer is kept for a day, for that
/// caller; repeats get the same answer.
///
/// Thread safety: all members may be called from any thread.
class Idempotency {
 public:
  /// `service` must outlive it.
  explicit Idempotency(Service& service) : service_(service), clock_(service.store) {}

  /// Answers as `work` does; without a key that is all. What `work` throws, and failures of the server, are
  /// not kept. `work` gets a text that is the same for each repeat, to make ids of: empty without a key.
  http::Response run(const Ask& ask, const std::function<http::Response(const std::string& seed)>& work);

 private:
  Service& service_;
  engine::StoreClock clock_;
};

/// An id that is the same for the same seed and number.
std::string id_of(const std::string& seed, std::size_t number);

}  // namespace tidemill::server
