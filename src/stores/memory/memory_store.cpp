// Claim, renew, sweep and wait: what workers do besides reporting.
#include "stores/memory/memory_store.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/uuid.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill {

std::unique_ptr<Store> open_memory(const MemoryOptions& options) {
  return std::make_unique<memory::MemoryStore>(options);
}

namespace memory {

namespace {

using namespace std::chrono_literals;

/// One claim makes at least this many due tasks pending, so that a backlog that falls due at once is moved in
/// few steps and no step is long.
constexpr std::size_t promoted_least = 1000;

constexpr auto silent_max = 1h;
constexpr auto minutes_kept = 48h;
constexpr auto days_kept = 366 * 24h;
/// A wait has an end, and sums with the steady clock don't overflow.
constexpr Duration wait_max = 24h;

}  // namespace

std::string make_token() { return fmt::format("{:016x}{:016x}", random_bits(), random_bits()); }

MemoryStore::MemoryStore(const MemoryOptions& options) : clock_(*options.clock) {
  capabilities_.limits[Feature::inside] = {
      .absent = true, .text = "The memory store can't take part in a database's transaction."};
}

void MemoryStore::promote(std::span<Row* const> due) {
  for (Row* row : due) {
    rows_.edit(*row, [](Row& edited) {
      edited.place = *edited.task.run_at;
      edited.task.state = State::pending;
    });
  }
}

Lease MemoryStore::lease(Row& row, std::string_view worker, Duration length, TimePoint now) {
  rows_.edit(row, [&](Row& edited) {
    edited.task.state = State::active;
    edited.task.worker = worker;
    edited.token = make_token();
    edited.lease_end = now + length;
  });
  Lease lease{row.task, row.token, length, row.started};
  if (!rows_.holds_key(row, now)) lease.task.unique.reset();
  return lease;
}

Claimed MemoryStore::claim(const Claim& claim, const Call& call) {
  const std::lock_guard lock{mutex_};
  Claimed answer;
  const States waiting = States{State::scheduled} + State::retry;
  const std::size_t bound = std::max(promoted_least, claim.count_max);
  std::size_t bytes = 0;
  bool full = false;
  for (const Want& want : claim.wants) {
    if (rows_.paused(want.queue)) continue;
    promote(rows_.past(waiting, call.now, bound, want.queue));
    for (std::size_t count = 0; !full && count < want.count_max; ++count) {
      Row* row = rows_.front(want.queue);
      if (row == nullptr) break;
      const std::size_t size = row->task.payload.size();
      full = answer.leases.size() == claim.count_max ||
             (claim.bytes_max > 0 && !answer.leases.empty() && bytes + size > claim.bytes_max);
      if (full) break;
      bytes += size;
      row->task.started_at = call.now;
      answer.leases.push_back(lease(*row, claim.worker, claim.lease, call.now));
    }
  }
  for (const Want& want : claim.wants) {
    const auto due = rows_.paused(want.queue) ? std::nullopt : rows_.next_due(want.queue);
    if (due) answer.next_due = std::min(answer.next_due.value_or(*due), *due);
  }
  Member& member = members_[std::string{claim.worker}];
  member.called_at = call.now;
  member.seen = rows_.changes();
  changed_.notify_all();
  answer.now = clock_.now();
  return answer;
}

Signal MemoryStore::beat(const Beat& beat, Duration lease, TimePoint now) {
  if (beat.lease == nullptr) return Signal::lost;
  Row* row = rows_.find(beat.lease->task.ref);
  if (row == nullptr || row->task.state != State::active || row->token != beat.lease->token)
    return Signal::lost;
  rows_.edit(*row, [&](Row& edited) { edited.lease_end = now + lease; });
  if (beat.started) row->started = true;
  if (beat.progress) row->task.progress = *beat.progress;
  row->logs.insert(row->logs.end(), beat.logs.begin(), beat.logs.end());
  return row->signal;
}

void MemoryStore::add(const Stat& stat) {
  using namespace std::chrono;
  const auto add_to = [&](Span span, TimePoint at) {
    Stat& sum = stats_[{span, at, stat.queue, stat.kind}];
    sum.queue = stat.queue;
    sum.kind = stat.kind;
    sum.at = at;
    sum.success += stat.success;
    sum.failure += stat.failure;
    sum.crash += stat.crash;
    sum.busy += stat.busy;
  };
  add_to(Span::minute, floor<minutes>(stat.at));
  add_to(Span::day, floor<days>(stat.at));
}

Renewed MemoryStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                           std::span<const Stat> stats, const Call& call) {
  const std::lock_guard lock{mutex_};
  Renewed answer;
  Member& member = members_[worker.id];
  member.info = worker;
  member.info->beat_at = member.called_at = call.now;
  answer.worker = std::exchange(member.signal, Signal::none);
  for (const Beat& each : beats) answer.leases.push_back(beat(each, lease, call.now));
  for (const Stat& stat : stats) add(stat);
  if (worker.state == "gone") members_.erase(worker.id);
  answer.now = clock_.now();
  return answer;
}

Swept MemoryStore::sweep(std::string_view worker, Duration length, std::size_t limit, const Call& call) {
  const std::lock_guard lock{mutex_};
  Swept answer;
  for (Row* row : rows_.past(State::active, call.now, limit, {})) {
    // The answer names the worker that lost the lease: that is whose death core writes down.
    const std::string dead = row->task.worker;
    Lease taken = lease(*row, worker, length, call.now);
    taken.task.worker = dead;
    answer.taken.push_back(std::move(taken));
  }

  regroup_lapsed(call.now);
  const auto due = rows_.past(States{State::scheduled} + State::retry, call.now, limit, {});
  promote(due);
  answer.promoted = due.size();

  const auto ended = rows_.to_purge(call.now, limit);
  for (Row* row : ended) rows_.erase(*row);
  answer.purged = ended.size();
  purge_history(call.now);

  const std::size_t locks = locks_.purge(call.now, limit);
  const std::size_t documents = documents_.purge(call.now, limit);
  answer.more = answer.taken.size() == limit || answer.promoted == limit || answer.purged == limit ||
                locks == limit || documents == limit;
  changed_.notify_all();
  return answer;
}

void MemoryStore::purge_history(TimePoint now) {
  rows_.purge_keys(now);
  for (auto& [id, member] : members_) {
    if (!member.info || member.info->beat_at > now - silent_max) continue;
    member.info.reset();
    member.signal = Signal::none;
  }
  // Who claims without beating may still wait, and is known for as long.
  std::erase_if(members_, [&](const auto& entry) { return entry.second.called_at <= now - silent_max; });
  std::erase_if(stats_, [&](const auto& entry) {
    const Span span = std::get<Span>(entry.first);
    return entry.second.at < now - (span == Span::minute ? Duration{minutes_kept} : Duration{days_kept});
  });
}

Wake MemoryStore::look(const Member& member, std::span<const std::string_view> queues) const {
  if (member.signals > member.signals_seen) return Wake::signals;
  for (const std::string_view queue : queues) {
    const auto line = rows_.lines().find(queue);
    if (line != rows_.lines().end() && line->second.rung > member.seen) return Wake::tasks;
  }
  return Wake::timeout;
}

Wake MemoryStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                       std::stop_token stop) {
  std::unique_lock lock{mutex_};
  const std::string name{worker};
  Wake wake = Wake::timeout;
  // Looked up anew each time: a sweep may forget a member while it waits.
  changed_.wait_for(lock, stop, std::clamp(timeout, Duration::zero(), wait_max), [&] {
    wake = look(members_[name], queues);
    return wake != Wake::timeout;
  });
  Member& member = members_[name];
  if (wake == Wake::timeout && stop.stop_requested()) wake = Wake::stopped;
  if (wake == Wake::signals) member.signals_seen = member.signals;
  if (wake == Wake::tasks) member.seen = rows_.changes();
  return wake;
}

}  // namespace memory
}  // namespace tidemill
