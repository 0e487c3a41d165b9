#include "gateways/persistent_queue/check.hpp"

#include <chrono>
#include <string_view>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t service_name_max = 128;
constexpr int days_max = 36'500;
/// The least that must be sure of a lease between two renewals.
constexpr Duration sure_least = 300ms;

void require(bool condition, std::string_view what) {
  if (!condition) throw Error{ErrorKind::invalid, fmt::format("PersistentQueue's options: {}", what)};
}

}  // namespace

void check(const TableOptions& options) {
  require(!options.service_name.empty(), "empty service name");
  require(options.service_name.size() <= service_name_max,
          fmt::format("service_name has {} bytes; {} are the most", options.service_name.size(),
                      service_name_max));
  require(static_cast<bool>(options.db), "wrong db engine: db is empty; give a connection");
  const FirstPull& pull = options.first_pull_days;
  require(
      pull.is_none() || pull.is_unlimited() || (pull.days() >= 0 && pull.days() <= days_max),
      fmt::format("first_pull_days is {}; it may be 0 to {}, none() or unlimited()", pull.days(), days_max));
  require(options.queue_size_max >= 1, "queue_size_max must be 1 or more");
  require(options.load_limit >= 1, "load_limit must be 1 or more");
  require(options.retries_max >= 0, "max_retries must not be negative");
  require(options.handler_timeout >= Duration::zero(), "handler_timeout must not be negative");
  require(options.lease > 1s, "lock second less than 1: lease must be 2 s or more");
  require(options.renew_interval > Duration::zero(), "renew_interval must be more than zero");
  require(options.safety_margin >= Duration::zero(), "safety_margin must not be negative");
  const Duration sure =
      Duration{options.lease} - Duration{1s} - options.safety_margin - options.renew_interval;
  require(sure >= sure_least,
          fmt::format("a lease of {} s is too short for renewals every {} ms with a margin of {} ms; between "
                      "two renewals a second and both must fit in, and 300 ms more",
                      options.lease.count(), options.renew_interval / Duration{1ms},
                      options.safety_margin / Duration{1ms}));
  require(options.contest_interval > Duration::zero(), "contest_interval must be more than zero");
  require(options.lease_min >= 0s && options.lease_min <= options.lease,
          "lease_min must be zero or more, and no more than lease");
  require(!options.takeover_grace || *options.takeover_grace >= Duration::zero(),
          "takeover_grace must not be negative");
  require(options.poll_interval > Duration::zero(), "poll_interval must be more than zero");
}

}  // namespace tidemill::persistent_queue
