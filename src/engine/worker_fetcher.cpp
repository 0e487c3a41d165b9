#include "engine/worker_fetcher.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "engine/worker_core.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t claim_max = 1000;
/// A claim asks for twice of what the last one found, and for so many at least: some stores do work for what
/// is asked, also if it isn't there.
constexpr std::size_t claim_least = 50;
/// How long it waits for room in here, which is cheap, before it waits inside the store, where it hears of
/// signals too.
constexpr Duration short_wait = 2ms;
/// The shortest wait for a task that falls due, should the store count differently.
constexpr Duration least_wait = 1ms;

Steady steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

WorkerFetcher::WorkerFetcher(WorkerCore& core)
    : core_(core), lane_(core.clock), trouble_(core.options.log, "claim tasks") {
  for (const QueueWeight& queue : core.options.queues) names_.push_back(queue.name);
}

void WorkerFetcher::start() {
  thread_ = std::thread{[this] {
    name_thread("tm-fetch");
    loop();
  }};
}

void WorkerFetcher::join() {
  if (thread_.joinable()) thread_.join();
}

void WorkerFetcher::loop() {
  while (!core_.stopping) {
    try {
      claim_or_wait();
      trouble_.over();
    } catch (const std::exception& error) {
      core_.bell.nap(trouble_.failed(error.what()));
    } catch (...) {
      core_.bell.nap(trouble_.failed("unknown exception"));
    }
  }
}

void WorkerFetcher::claim_or_wait() {
  core_.give_back(core_.pool.take_stale());
  if (core_.quiet) {
    wait({}, core_.options.poll);
    return;
  }
  const WorkerPool::Room room = core_.pool.room();
  if (room.count == 0) {
    wait_for_room();
    return;
  }
  const std::size_t most = std::min({room.count, claim_max, core_.store.capabilities().batch_max});
  if (!claim(std::min(most, std::max(claim_least, 2 * likely_)), room.bytes)) wait_for_tasks();
}

bool WorkerFetcher::claim(std::size_t count, std::size_t bytes) {
  arrange(count);
  const Claim claim{.worker = core_.id,
                    .wants = wants_,
                    .count_max = count,
                    .bytes_max = bytes,
                    .lease = core_.options.lease};
  const Call call = lane_.next(core_.hold);
  const Steady first_sent = steady_now();
  Claimed claimed;
  while (true) {
    const Steady sent = steady_now();
    try {
      claimed = core_.store.claim(claim, call);
      core_.clock.learn(claimed.now, sent, steady_now());
      break;
    } catch (const Error& error) {
      // The store knows what it gave us; it tells when asked with the same number.
      if (error.kind() != ErrorKind::unknown_outcome || core_.stopping) throw;
      if (sent - first_sent > core_.hold / 2) throw;
      core_.bell.nap(trouble_.failed(error.what()));
    }
  }
  core_.last_claim.store(steady_now(), std::memory_order_relaxed);
  next_due_ = claimed.next_due;
  likely_ = claimed.leases.size();
  if (claimed.leases.empty()) return false;
  std::vector<AttemptPtr> fresh;
  fresh.reserve(claimed.leases.size());
  for (Lease& lease : claimed.leases) fresh.push_back(core_.adopt(std::move(lease), first_sent));
  if (!core_.pool.push(fresh)) core_.give_back(fresh);
  return true;
}

void WorkerFetcher::arrange(std::size_t count) {
  wants_.clear();
  const auto& queues = core_.options.queues;
  if (core_.options.strict || queues.size() == 1) {
    for (const QueueWeight& queue : queues) wants_.push_back({queue.name, count});
    return;
  }
  // Exponential draws, each with its weight as rate: a queue comes first with a chance equal to its share.
  draw_.clear();
  for (const QueueWeight& queue : queues) {
    draw_.emplace_back(-std::log1p(-random_unit()) / queue.weight, Want{queue.name, count});
  }
  std::ranges::sort(draw_, {}, [](const auto& drawn) { return drawn.first; });
  for (const auto& [at, want] : draw_) wants_.push_back(want);
}

void WorkerFetcher::wait_for_tasks() {
  Duration longest = core_.options.poll;
  if (next_due_)
    longest = std::clamp(*next_due_ - core_.clock.now(), least_wait, std::max(longest, least_wait));
  wait(names_, longest);
}

void WorkerFetcher::wait_for_room() {
  if (core_.bell.nap(short_wait)) return;
  wait({}, core_.options.poll);
}

void WorkerFetcher::wait(std::span<const std::string_view> queues, Duration longest) {
  if (core_.stopping) return;
  if (core_.bell.wait(core_.store, core_.id, queues, longest) == Wake::signals) core_.keeper.poke();
}

}  // namespace tidemill::engine
