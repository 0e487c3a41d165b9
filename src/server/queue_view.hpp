#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/checks.hpp"
#include "server/fields.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// How many attempts ended how.
struct Outcomes {
  std::uint64_t completed = 0, failed = 0, crashed = 0;

  void add(const Stat& stat);
};

/// The queues that a caller may see, with what workers and statistics tell of them.
class QueueView {
 public:
  /// `spark`: with the outcomes of each of the last 30 minutes. Reads no more than `fields` need; what it has
  /// not read is written as if there were none.
  QueueView(const Service& service, const Caller& caller, bool spark, const Fields& fields = Fields{""});

  const std::vector<QueueInfo>& queues() const noexcept { return snapshot_.queues; }
  /// Queues and workers; not the schedules.
  const Snapshot& snapshot() const noexcept { return snapshot_; }
  /// What is wrong with queues and workers.
  const std::vector<Finding>& findings() const noexcept { return findings_; }

  void write(json::Writer& writer, const QueueInfo& queue) const;
  /// Of all these queues.
  void write_rates(json::Writer& writer) const;

 private:
  void write_rates(json::Writer& writer, const Outcomes& outcomes) const;
  void write_spark(json::Writer& writer, const std::string& queue) const;

  Snapshot snapshot_;
  std::vector<Finding> findings_;
  std::map<std::string, std::vector<Finding>> warnings_;  // Those of each queue.
  TimePoint first_minute_{};                              // Of those that the spark is of.
  bool spark_;
  double rate_seconds_ = 1;
  std::map<std::string, Outcomes> recent_;                // By queue.
  std::map<std::string, std::vector<Outcomes>> minutes_;  // By queue; one a minute.
};

/// Tasks that wait for their time or for a worker.
std::uint64_t backlog_of(const QueueInfo& queue);
std::vector<QueueInfo> queues_of(const Service& service, const Caller& caller);
/// Those that take from a queue of the caller's.
std::vector<WorkerInfo> workers_of(const Service& service, const Caller& caller);
/// {"code":…,"level":…,"text":…,"advice":…} and what it is about.
void write_attention(json::Writer& writer, const Finding& finding);
/// Of these, in their order, those that are not fine.
std::vector<Finding> not_fine(std::vector<Finding> findings);

}  // namespace tidemill::server
