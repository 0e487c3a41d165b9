#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/testing.hpp>

#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"

namespace tidemill::testing {

namespace {

/// A queue and how much of its share it is owed: smooth weighted round robin, so that a test sees the same
/// order each time.
struct Turn {
  QueueWeight queue = {};
  std::int64_t owed = 0;
};

void check(const WorkerOptions& options) {
  if (options.queues.empty()) throw Error{ErrorKind::invalid, "an inline worker needs at least one queue"};
  for (const QueueWeight& queue : options.queues) {
    rules::check_queue_name(queue.name);
    if (queue.weight >= 1) continue;
    throw Error{ErrorKind::invalid, fmt::format("the weight of queue \"{}\" is {}; it must be 1 or more",
                                                queue.name, queue.weight)};
  }
}

}  // namespace

struct InlineWorker::Impl {
  Impl(Store& s, const Router& r, WorkerOptions o)
      : store(s), router(r), options(std::move(o)), clock(store), lane(clock) {
    for (const QueueWeight& queue : options.queues) turns.push_back({queue, 0});
  }

  std::optional<Lease> claim();
  /// The queues in the order to try them this time.
  std::vector<Want> wants();
  /// Makes up for the share that the queue has got.
  void served(std::string_view queue);

  Store& store;
  const Router& router;
  const WorkerOptions options;
  engine::StoreClock clock;
  engine::Lane lane;
  const std::string name = "inline-" + to_string(make_uuid());
  std::vector<Turn> turns;
};

std::vector<Want> InlineWorker::Impl::wants() {
  if (!options.strict) {
    for (Turn& turn : turns) turn.owed += turn.queue.weight;
    std::stable_sort(turns.begin(), turns.end(),
                     [](const Turn& a, const Turn& b) { return a.owed > b.owed; });
  }
  std::vector<Want> wants;
  for (const Turn& turn : turns) wants.push_back({turn.queue.name, 1});
  return wants;
}

void InlineWorker::Impl::served(std::string_view queue) {
  std::int64_t all = 0;
  for (const Turn& turn : turns) all += turn.queue.weight;
  for (Turn& turn : turns) {
    if (turn.queue.name == queue) turn.owed -= all;
  }
}

std::optional<Lease> InlineWorker::Impl::claim() {
  const std::vector<Want> queues = wants();
  const Claim claim{.worker = name, .wants = queues, .count_max = 1, .lease = options.lease};
  Claimed claimed = store.claim(claim, lane.next());
  if (claimed.leases.empty()) return {};
  if (!options.strict) served(claimed.leases.front().task.ref.queue);
  return std::move(claimed.leases.front());
}

InlineWorker::InlineWorker(Store& store, const Router& router, WorkerOptions options) {
  check(options);
  impl_ = std::make_unique<Impl>(store, router, std::move(options));
}

InlineWorker::~InlineWorker() = default;

std::optional<Ran> InlineWorker::run_one() {
  std::optional<Lease> lease = impl_->claim();
  if (!lease) return {};
  engine::RanHere ran = engine::run_here(std::move(*lease), impl_->router, impl_->options, impl_->clock);
  const Reported reported = impl_->store.report({&ran.report, 1}, impl_->lane.next()).front();
  return Ran{ran.attempt->task(), std::move(ran.outcome), reported};
}

std::vector<Ran> InlineWorker::drain(std::size_t most) {
  std::vector<Ran> all;
  while (all.size() < most) {
    std::optional<Ran> ran = run_one();
    if (!ran) break;
    all.push_back(std::move(*ran));
  }
  return all;
}

}  // namespace tidemill::testing
