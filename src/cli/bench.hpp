#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/store.hpp>

namespace tidemill::cli::bench {

struct Plan {
  std::string url = {};
  std::string queue = {};
  std::size_t tasks = 100'000;
  std::size_t backlog = 0;
  std::size_t payload_bytes = 100;
  std::int32_t producers = 64;
  std::int32_t concurrency = 100;
  std::int32_t handlers = 4;
};

/// From the least to the greatest, in milliseconds.
class Latencies {
 public:
  explicit Latencies(std::vector<double> milliseconds);
  /// `share` of all are at most this.
  double at(double share) const;

 private:
  std::vector<double> sorted_;
};

struct Measured {
  std::string workload = {};
  std::size_t tasks = 0;
  double seconds = 0;
  std::optional<Latencies> latencies = {};
  std::optional<double> bytes_per_task = {};  ///< Of a pending one, at rest in a file.
};

/// In the order in which they run.
std::span<const std::string> workloads();
/// Fills a queue of the store that is empty, measures, and leaves it empty; `plan.url` is the store's, for
/// other processes and files beside it. Throws Error when tasks are lost or time runs out.
Measured run(const std::string& workload, const Plan& plan, Store& store);

/// JSON of about `bytes` bytes with a number and a stamp in it: the steady clock's nanoseconds, which all
/// processes of a machine share.
std::string payload(std::size_t number, std::int64_t stamp, std::size_t bytes);
std::int64_t stamp_of(std::string_view payload);
std::int64_t steady_now();

/// One task every 10 ms, each with the instant just before its enqueue.
void produce_slowly(Client& client, const Plan& plan);

}  // namespace tidemill::cli::bench
