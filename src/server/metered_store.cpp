#include "server/metered_store.hpp"

#include <fmt/format.h>

namespace tidemill::server {

template <class Work>
auto MeteredStore::metered(std::string_view verb, std::size_t items, Work work) {
  const auto begin = std::chrono::steady_clock::now();
  const auto end = [&](bool failed) {
    const auto took = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begin);
    meter_.called(verb, took, failed);
    if (!log_.enabled(Level::debug)) return;
    log_.debug("store call", {{"verb", verb},
                              {"items", std::to_string(items)},
                              {"us", std::to_string(took.count())},
                              {"failed", failed ? "true" : "false"}});
  };
  try {
    auto answer = work();
    end(false);
    return answer;
  } catch (...) {
    end(true);
    throw;
  }
}

std::vector<Enqueued> MeteredStore::enqueue(std::span<const Task> tasks, const Call& call,
                                            Transaction* inside) {
  auto answers = metered("enqueue", tasks.size(), [&] { return store_.enqueue(tasks, call, inside); });
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].put == Put::created) meter_.enqueued(tasks[i].kind);
  }
  return answers;
}

Claimed MeteredStore::claim(const Claim& claim, const Call& call) {
  Claimed claimed = metered("claim", claim.count_max, [&] { return store_.claim(claim, call); });
  for (const Lease& lease : claimed.leases) {
    const Task& task = lease.task;
    const auto due = task.run_at ? task.run_at : task.created_at;
    if (due) meter_.claimed(task.kind, claimed.now - *due);
  }
  return claimed;
}

std::vector<Reported> MeteredStore::report(std::span<const Report> reports, const Call& call) {
  auto answers = metered("report", reports.size(), [&] { return store_.report(reports, call); });
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const Report& report = reports[i];
    if (answers[i] != Reported::applied) continue;
    const bool started = report.started_at != TimePoint{};
    meter_.ended(report.lease->task.kind, report.tally,
                 started ? call.now - report.started_at : Duration::zero());
  }
  return answers;
}

Renewed MeteredStore::renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                            std::span<const Stat> stats, const Call& call) {
  return metered("renew", beats.size(), [&] { return store_.renew(worker, beats, lease, stats, call); });
}

Swept MeteredStore::sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) {
  return metered("sweep", limit, [&] { return store_.sweep(worker, lease, limit, call); });
}

Wake MeteredStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                        std::stop_token stop) {
  return store_.wait(worker, queues, timeout, std::move(stop));
}

}  // namespace tidemill::server
