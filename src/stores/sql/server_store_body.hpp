#pragma once

#include <algorithm>
#include <thread>
#include <utility>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "stores/sql/enqueue.hpp"
#include "stores/sql/groups.hpp"
#include "stores/sql/inside.hpp"
#include "stores/sql/renew.hpp"
#include "stores/sql/report.hpp"
#include "stores/sql/server_store.hpp"
#include "stores/sql/sweep.hpp"
#include "stores/sql/task.hpp"

namespace tidemill::sql_store {

template <class Database>
ServerStore<Database>::ServerStore(Options server, std::string where, std::size_t task_bytes_max,
                                   const Clock* clock)
    : server_(std::move(server)),
      where_(std::move(where)),
      clock_(clock),
      capabilities_{.task_bytes_max = task_bytes_max},
      naming_(server_),
      hub_([this] { return look(); }),
      puts_(lane_options(), naming_, publisher()),
      more_puts_(lane_options(), naming_, publisher()),
      keyed_(lane_options(true), naming_, publisher()),
      claims_(lane_options(), naming_, publisher()),
      reports_(lane_options(), naming_, publisher()),
      renewals_(lane_options(), naming_, publisher()),
      rest_(lane_options(), naming_, publisher()),
      readers_(server_, where_, naming_) {}

template <class Database>
auto ServerStore<Database>::lane_options(bool waits_for_keys) const -> typename Lane::Options {
  return {.server = server_,
          .where = where_,
          .number = static_cast<std::int64_t>(random_bits() % counter_lanes),
          .waits_for_keys = waits_for_keys};
}

template <class Database>
auto ServerStore<Database>::publisher() -> typename Lane::Publish {
  return [this](News news, std::int64_t died) { publish(std::move(news), died); };
}

template <class Database>
std::vector<Enqueued> ServerStore<Database>::enqueue(std::span<const Task> tasks, const Call& call,
                                                     Transaction* inside) {
  if (tasks.empty()) return {};
  if (inside != nullptr) {
    return enqueue_inside<Database>(*inside, {server_, where_, identity(call)}, naming_, tasks, call.now,
                                    capabilities_.task_bytes_max);
  }
  if (!std::all_of(tasks.begin(), tasks.end(), plain)) return enqueue_keyed(tasks, call);
  return enqueue_on(call.session % 2 == 0 ? puts_ : more_puts_, tasks, call);
}

template <class Database>
std::int64_t ServerStore<Database>::identity(const Call& call) {
  if (identity_ == 0) identity_ = readers_.read(call, [](Scope& scope) { return identity_of(scope); });
  return identity_;
}

template <class Database>
std::vector<Enqueued> ServerStore<Database>::enqueue_on(Lane& lane, std::span<const Task> tasks,
                                                        const Call& call) {
  Enqueuing<Database> enqueuing{tasks, call.now, capabilities_.task_bytes_max};
  return lane.run(
      call, {.tasks = tasks.size(), .bytes = bytes_of(tasks)},
      [&](Write& write) { return enqueuing.put(write); }, nullptr,
      [&](Write& write) { enqueuing.gather(write); });
}

template <class Database>
std::vector<Enqueued> ServerStore<Database>::enqueue_keyed(std::span<const Task> tasks, const Call& call) {
  try {
    return enqueue_on(keyed_, tasks, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timed_out || tasks.size() == 1) throw;
  }
  // Somebody's open transaction may hold one of the keys, which is no trouble of the others.
  // What is remembered of a call in doubt is the answer to all of it, so these are calls of no session.
  Call alone = call;
  alone.session = 0;
  std::vector<Enqueued> answers;
  for (const Task& task : tasks) {
    try {
      answers.push_back(std::move(enqueue_on(keyed_, {&task, 1}, alone).front()));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timed_out) throw;
      answers.push_back({Put::failed, {}, error.what()});
    }
  }
  return answers;
}

template <class Database>
Claimed ServerStore<Database>::claim(const Claim& claim, const Call& call) {
  Hub::Sequence seen = 0;
  ClaimAnswer answer;
  // A claim that a crash of the server undoes leaves its tasks pending, which is what a lost worker leads to.
  for (auto pause = locked_least;; pause *= 2) {
    ClaimAnswer looked;
    answer = claims_.run(
        call, {.tasks = claim.count_max, .sync = false},
        [&](Write& write) { return claim_tasks(write, claim, std::exchange(looked, {}), call.now); },
        [&](Scope& scope, ClaimAnswer& found) {
          seen = hub_.sequence();
          const bool nothing = claim_nothing(scope, claim, call.now, found);
          if (!nothing) looked = found;
          return nothing;
        });
    // All that there is is locked: by another claim, or by an operator who may leave it as it is.
    if (!answer.found_locked || pause > locked_most) break;
    std::this_thread::sleep_for(pause);
  }
  hub_.claimed(claim.worker, seen, answer.dues);
  answer.claimed.now = clock_ != nullptr ? clock_->now() : answer.time;
  return std::move(answer.claimed);
}

template <class Database>
std::vector<Reported> ServerStore<Database>::report(std::span<const Report> reports, const Call& call) {
  if (reports.empty()) return {};
  std::size_t bytes = 0;
  for (const Report& report : reports)
    bytes += report.result.size() + report.error.size() + bytes_of(report.then);
  return reports_.run(call, {.tasks = reports.size(), .bytes = bytes}, [&](Write& write) {
    return report_all(write, reports, call.now, capabilities_.task_bytes_max);
  });
}

template <class Database>
Renewed ServerStore<Database>::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                                     std::span<const Stat> stats, const Call& call) {
  bool marks = false;
  for (const Beat& beat : beats) marks = marks || beat.started;
  // It counts as no task, so that it fits into any transaction: to be late would cost leases.
  Renewed answer = renewals_.run(call, {.tasks = 0, .urgent = true, .sync = marks}, [&](Write& write) {
    return renew_leases(write, worker, beats, lease, stats, call.now);
  });
  if (worker.state == "gone") hub_.forget(worker.id);
  answer.now = now();
  return answer;
}

template <class Database>
Swept ServerStore<Database>::sweep(std::string_view worker, Duration lease, std::size_t limit,
                                   const Call& call) {
  return rest_.run(
      call, {.tasks = limit, .sync = false},
      [&](Write& write) {
        return sweep_all(write, worker, lease, limit, call.now, capabilities_.task_bytes_max);
      },
      [&](Scope& scope, Swept&) { return sweep_nothing(scope, call.now); });
}

template <class Database>
Gathered ServerStore<Database>::gather(const Gather& gather, const Call& call) {
  Gathered answer = rest_.run(
      call, {.tasks = gather.count_max * gather.rule.size_max, .sync = false},
      [&](Write& write) { return gather_sets(write, gather, call.now); },
      [&](Scope& scope, Gathered& nothing) { return gather_nothing(scope, gather, call.now, nothing); });
  answer.now = now();
  return answer;
}

template <class Database>
std::vector<Reported> ServerStore<Database>::settle(std::span<const Settle> ends, const Call& call) {
  if (ends.empty()) return {};
  std::size_t tasks = 0;
  for (const Settle& end : ends) tasks += end.set == nullptr ? 0 : end.set->tasks.size();
  return rest_.run(call, {.tasks = tasks}, [&](Write& write) {
    return settle_all(write, ends, call.now, capabilities_.task_bytes_max);
  });
}

template <class Database>
Wake ServerStore<Database>::wait(std::string_view worker, std::span<const std::string_view> queues,
                                 Duration timeout, std::stop_token stop) {
  return hub_.wait(worker, queues, timeout, std::move(stop));
}

template <class Database>
TimePoint ServerStore<Database>::now() {
  if (clock_ != nullptr) return clock_->now();
  return readers_.read({}, [](Scope& scope) {
    auto row = scope.ask(Database::get_time);
    row.step();
    return time_of(row.integer(0));
  });
}

}  // namespace tidemill::sql_store
