#pragma once

#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "server/meter.hpp"

namespace tidemill::server {

/// A store whose calls are counted, and logged at level debug.
///
/// Thread safety: as the store beneath.
class MeteredStore final : public Store {
 public:
  /// Both must outlive it.
  MeteredStore(Store& store, Meter& meter, Log statements)
      : store_(store), meter_(meter), log_(std::move(statements)) {}

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override;
  Claimed claim(const Claim& claim, const Call& call) override;
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override;
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override;
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override;
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  TimePoint now() override { return store_.now(); }
  const Capabilities& capabilities() const noexcept override { return store_.capabilities(); }
  std::vector<Concern> concerns() override { return store_.concerns(); }
  std::vector<Gauge> gauges() override { return store_.gauges(); }
  Catalog* catalog() noexcept override { return store_.catalog(); }
  Locks* locks() noexcept override { return store_.locks(); }
  Documents* documents() noexcept override { return store_.documents(); }
  Groups* groups() noexcept override { return store_.groups(); }

 private:
  template <class Work>
  auto metered(std::string_view verb, std::size_t items, Work work);

  Store& store_;
  Meter& meter_;
  const Log log_;
};

}  // namespace tidemill::server
