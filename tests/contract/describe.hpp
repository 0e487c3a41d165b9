#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tidemill/documents.hpp>
#include <tidemill/locks.hpp>
#include <tidemill/store.hpp>

/// What the model test compares: the answers of a store as text, in full but for what each store makes up for
/// itself (tokens, cursors, words for people) and what the contract leaves open.
namespace tidemill::contract::describe {

inline std::string time(TimePoint at) {
  static constexpr TimePoint origin{std::chrono::sys_days{std::chrono::year{2030} / 1 / 1}};
  return fmt::format("{}us", (at - origin).count());
}

inline std::string time(const std::optional<TimePoint>& at) { return at ? time(*at) : "-"; }

inline std::string text(const std::string& bytes) { return fmt::format("'{}'", bytes); }

inline std::string unique(const std::optional<Unique>& unique) {
  if (!unique) return "-";
  return fmt::format("{}/{}{}", unique->key, unique->window.count(),
                     unique->outlives_task ? "/outlives" : "");
}

/// What a lease's task has in common with the catalogue's.
inline std::string core(const Task& task) {
  return fmt::format(
      "{}/{} {} kind={} payload={} group={} headers={} priority={} counts={}/{}:{}/{}:{}/{} timeout={} "
      "retention={} deadline={} expires={} created={} run_at={} unique={}",
      task.ref.queue, task.ref.id, to_string(task.state), task.kind, text(task.payload), task.group,
      task.headers, task.priority, task.attempt, task.retries, task.retries_max, task.crashes,
      task.crashes_max, task.deferrals, task.timeout.count(), task.retention.count(), time(task.deadline),
      time(task.expires_at), time(task.created_at), time(task.run_at), unique(task.unique));
}

inline std::string task(const Task& task) {
  return fmt::format("{} result={} error={} reason={} progress={} worker={} started={} ended={}", core(task),
                     text(task.result), text(task.error), text(task.reason), text(task.progress), task.worker,
                     time(task.started_at), time(task.ended_at));
}

inline std::string put(const Task& task) {
  return fmt::format(
      "{} delay={}{}{}", core(task), task.delay.count(),
      task.unique ? fmt::format(" conflict={}", static_cast<int>(task.unique->on_conflict)) : "",
      task.firing ? fmt::format(" firing={}@{}->{}{}", task.firing->schedule, time(task.firing->instant),
                                time(task.firing->next), task.firing->only_if_created ? "!" : "")
                  : "");
}

inline std::string group(const GroupInfo& group) {
  return fmt::format("{} size={} first={} last={}", group.name, group.size, time(group.first_at),
                     time(group.last_at));
}

inline std::string lease(const Lease& lease) {
  return fmt::format("[{} length={} started={}]", core(lease.task), lease.length.count(), lease.started);
}

inline std::string attempt(const Attempt& attempt) {
  std::string lines;
  for (const LogLine& line : attempt.logs) {
    lines += fmt::format(" {}:{}:{}", time(line.at), static_cast<int>(line.level), text(line.text));
  }
  return fmt::format("[{} {}..{} {} {}{}]", attempt.number, time(attempt.started_at), time(attempt.ended_at),
                     attempt.worker, text(attempt.error), lines);
}

inline std::string queue(const QueueInfo& info) {
  std::string counts;
  for (const auto& [state, count] : info.counts) {
    if (count > 0) counts += fmt::format(" {}={}", to_string(state), count);
  }
  return fmt::format("[{}{} oldest={}{}]", info.name, counts, info.oldest.count(),
                     info.paused ? " paused" : "");
}

inline std::string worker(const WorkerInfo& info) {
  return fmt::format("[{} {} {} {} {} {} {} {} {} {}]", info.id, info.host, info.state, info.queues, info.pid,
                     info.slots, info.busy, info.stuck, time(info.started_at), time(info.beat_at));
}

inline std::string schedule(const StoredSchedule& one) {
  return fmt::format("[{} {} {}{} next={} last={}]", one.id, one.owner, text(one.rule),
                     one.paused ? " paused" : "", time(one.next), time(one.last));
}

inline std::string lock(const LockInfo& lock) {
  return fmt::format("[{} {} {} until={}]", lock.name, lock.owner, lock.fence, time(lock.until));
}

inline std::string document(const Document& one) {
  return fmt::format("[{}/{} {} {} expires={}]", one.folder, one.name, text(one.text), one.version,
                     time(one.expires_at));
}

inline std::string stat(const Stat& stat) {
  return fmt::format("[{} {} {} {}/{}/{} {}]", time(stat.at), stat.queue, stat.kind, stat.success,
                     stat.failure, stat.crash, stat.busy.count());
}

template <class Items, class Describe>
std::string all(const Items& items, const Describe& describe_one) {
  std::string text;
  for (const auto& item : items) text += fmt::format("\n    {}", describe_one(item));
  return text;
}

}  // namespace tidemill::contract::describe
