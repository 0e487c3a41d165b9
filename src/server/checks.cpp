#include "server/checks.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <set>

#include <fmt/format.h>

#include "wire/values.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t tasks_max = 1000;
constexpr Duration slow_answer = 1s;
constexpr Duration clocks_apart = 2s;
/// A dead worker's tasks run again within 30 s, if anybody looks.
constexpr Duration stuck_after = 1min;
constexpr Duration unserved_after = 1min;
constexpr Duration long_wait = 15min;
/// A lease of a worker without a beat is over by then.
constexpr Duration silent_after = 25s;
constexpr Duration overdue_after = 1min;
constexpr std::uint64_t archived_many = 1000;

/// To the second.
std::string rough(Duration duration) {
  return wire::format_duration(std::chrono::floor<std::chrono::seconds>(duration));
}

/// "1 task waits", "2 tasks wait".
std::string tasks_that(std::uint64_t count, std::string_view verb) {
  return count == 1 ? fmt::format("1 task {}s", verb) : fmt::format("{} tasks {}", count, verb);
}

/// The findings of one check: `fine` when it has found nothing.
class Check {
 public:
  Check(std::vector<Finding>& findings, std::string name)
      : findings_(findings), name_(std::move(name)), before_(findings.size()) {}

  void add(Verdict verdict, std::string code, std::string what, std::string advice, std::string target = {},
           std::optional<TimePoint> since = {}) {
    assert(code.empty() || std::ranges::find(finding_codes, code) != finding_codes.end());
    findings_.push_back(
        {verdict, name_, std::move(what), std::move(advice), std::move(code), std::move(target), since});
  }
  void otherwise(std::string fine) {
    if (findings_.size() == before_) add(Verdict::fine, "", std::move(fine), "");
  }

 private:
  std::vector<Finding>& findings_;
  const std::string name_;
  const std::size_t before_;
};

void check_clock(const Snapshot& it, std::vector<Finding>& findings) {
  Check answer{findings, "answer"};
  const std::string took = wire::format_duration(std::chrono::floor<std::chrono::milliseconds>(it.answer));
  if (it.answer > slow_answer) {
    answer.add(Verdict::warning, "store_slow", fmt::format("the store took {} to answer", took),
               "see what else keeps it, its disk or the way to it busy");
  }
  answer.otherwise(fmt::format("the store answers within {}", std::max(took, std::string{"1ms"})));
  Check clock{findings, "clock"};
  const Duration apart = std::chrono::abs(it.ahead);
  if (apart > clocks_apart) {
    clock.add(
        Verdict::warning, "clocks_apart",
        fmt::format("the store's clock is {} {} this machine's", rough(apart),
                    it.ahead > Duration::zero() ? "ahead of" : "behind"),
        "times given from here (--at, run_at) mean the store's time: set the clocks, by NTP for instance");
  }
  clock.otherwise("the store's clock agrees with this machine's");
}

void check_workers(const Snapshot& it, std::vector<Finding>& findings) {
  Check check{findings, "workers"};
  for (const WorkerInfo& worker : it.workers) {
    const std::string name = fmt::format("worker {} (process {} on {})", worker.id, worker.pid, worker.host);
    if (is_silent(worker, it.now)) {
      check.add(Verdict::warning, "worker_silent",
                fmt::format("{} has not beaten for {}", name, rough(it.now - worker.beat_at)),
                "see whether that process lives and reaches the store; its tasks go to others", worker.id,
                worker.beat_at);
    }
    if (worker.stuck > 0) {
      check.add(Verdict::warning, "worker_stuck",
                fmt::format("{} has {} of {} slots taken by handlers that ignore their stop", name,
                            worker.stuck, worker.slots),
                "restart it, and let those handlers look at their stop token", worker.id);
    }
    if (worker.state == "quiet") {
      check.add(Verdict::warning, "worker_quiet", fmt::format("{} is quiet: it claims nothing", name),
                fmt::format("tidemill workers resume {}", worker.id), worker.id);
    }
  }
  check.otherwise(it.workers.empty() ? "no worker runs"
                                     : fmt::format("workers that beat: {}", it.workers.size()));
}

void check_stuck(const Snapshot& it, std::vector<Finding>& findings) {
  Check check{findings, "stuck_tasks"};
  std::set<std::string_view> alive;
  for (const WorkerInfo& worker : it.workers) alive.insert(worker.id);
  std::vector<const Task*> stuck;
  for (const Task& task : it.active) {
    if (!alive.contains(task.worker) && task.started_at.value_or(TimePoint{}) < it.now - stuck_after)
      stuck.push_back(&task);
  }
  if (!stuck.empty()) {
    const Task& first = *stuck.front();
    check.add(Verdict::problem, "tasks_stuck",
              fmt::format("tasks held by workers that are gone: {}, such as {}/{}", stuck.size(),
                          first.ref.queue, first.ref.id),
              "start a worker or `tidemill serve`: they take such tasks over within 30 s");
  }
  check.otherwise("no task is held by a worker that is gone");
}

bool served(const Snapshot& it, const std::string& queue) {
  return std::ranges::any_of(it.workers,
                             [&](const WorkerInfo& worker) { return serves(worker, queue, it.now); });
}

void check_queues(const Snapshot& it, std::vector<Finding>& findings) {
  Check check{findings, "queues"};
  for (const QueueInfo& queue : it.queues) {
    const std::uint64_t pending = queue.count(State::pending);
    const std::uint64_t waiting = pending + queue.count(State::scheduled) + queue.count(State::retry);
    if (queue.paused && waiting > 0) {
      check.add(Verdict::warning, "queue_paused",
                fmt::format("queue \"{}\" is paused, and {} in it", queue.name, tasks_that(waiting, "wait")),
                fmt::format("tidemill queues resume {}", queue.name), queue.name);
    }
    if (queue.paused || pending == 0) continue;
    if (queue.oldest > unserved_after && !served(it, queue.name)) {
      check.add(
          Verdict::problem, "queue_unserved",
          fmt::format("{} in queue \"{}\", the first one for {}, and no worker serves it",
                      tasks_that(pending, "wait"), queue.name, rough(queue.oldest)),
          fmt::format("start a worker for it: tidemill work --queue {} --on 'KIND=COMMAND'", queue.name),
          queue.name, it.now - queue.oldest);
    } else if (queue.oldest > long_wait) {
      check.add(Verdict::warning, "queue_slow",
                fmt::format("{} in queue \"{}\", the first one for {}", tasks_that(pending, "wait"),
                            queue.name, rough(queue.oldest)),
                "add workers or slots, or give the queue more weight", queue.name, it.now - queue.oldest);
    }
  }
  check.otherwise(fmt::format("none of {} queues has tasks that nobody looks after", it.queues.size()));
}

void check_archive(const Snapshot& it, std::vector<Finding>& findings) {
  Check archive{findings, "archive"};
  for (const QueueInfo& queue : it.queues) {
    const std::uint64_t count = queue.count(State::archived);
    if (count < archived_many) continue;
    archive.add(Verdict::warning, "archive_large",
                fmt::format("{} tasks are in the archive of queue \"{}\"", count, queue.name),
                fmt::format("see why (tidemill tasks --state archived --queue {}), then run or erase them",
                            queue.name),
                queue.name);
  }
  archive.otherwise(fmt::format("no archive holds {} tasks or more", archived_many));
  Check poison{findings, "poison"};
  std::vector<const Task*> found;
  for (const Task& task : it.archived) {
    if (task.reason == "poison") found.push_back(&task);
  }
  if (!found.empty()) {
    const Task& first = *found.front();
    poison.add(Verdict::warning, "poison",
               fmt::format("archived tasks that killed their workers: {}, such as {}/{} of kind {}",
                           found.size(), first.ref.queue, first.ref.id, first.kind),
               fmt::format("find out why (tidemill tasks show {}/{}) before you run it again",
                           first.ref.queue, first.ref.id));
  }
  poison.otherwise("no archived task has killed workers");
}

void check_schedules(const Snapshot& it, std::vector<Finding>& findings) {
  Check check{findings, "schedules"};
  for (const ScheduleInfo& info : it.schedules) {
    const Duration late = it.now - info.next;
    if (info.paused || late < overdue_after) continue;
    const bool queues = info.schedule.overlap == Overlap::queue;
    check.add(queues ? Verdict::warning : Verdict::problem, "schedule_overdue",
              fmt::format("schedule \"{}\" is overdue by {}{}", info.schedule.id, rough(late),
                          queues ? ": its last task lives, or no scheduler runs" : ": no scheduler runs"),
              "start `tidemill serve`, or `tidemill work` without --no-scheduler", info.schedule.id,
              info.next);
  }
  check.otherwise(fmt::format("none of {} schedules is overdue", it.schedules.size()));
}

std::vector<Task> tasks_in(Inspector& inspector, State state) {
  return inspector.tasks({.filter = {.states = state}, .limit = tasks_max, .budget = 2s}).tasks;
}

}  // namespace

std::string_view to_string(Verdict verdict) noexcept {
  static constexpr std::array<std::string_view, 3> names = {"ok", "warning", "problem"};
  return names[static_cast<std::size_t>(verdict)];
}

bool is_silent(const WorkerInfo& worker, TimePoint now) { return now - worker.beat_at > silent_after; }

bool serves(const WorkerInfo& worker, const std::string& queue, TimePoint now) {
  return worker.state == "running" && worker.queues.contains(queue) && !is_silent(worker, now);
}

std::vector<Finding> store_findings(Store& store) {
  std::vector<Finding> findings;
  for (const Concern& each : store.concerns())
    findings.push_back({Verdict::warning, "settings", each.what, each.advice, "store_setting"});
  return findings;
}

StoreTime ask_time(Inspector& inspector) {
  const auto sent = std::chrono::steady_clock::now();
  const TimePoint now = inspector.now();
  const auto took = std::chrono::steady_clock::now() - sent;
  const TimePoint here = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  return {now, now - here, std::chrono::duration_cast<Duration>(took)};
}

Snapshot look(Inspector& inspector) {
  const StoreTime time = ask_time(inspector);
  Snapshot snapshot{.now = time.now, .ahead = time.ahead, .answer = time.answer};
  snapshot.queues = inspector.queues();
  snapshot.workers = inspector.workers();
  snapshot.schedules = inspector.schedules();
  snapshot.active = tasks_in(inspector, State::active);
  snapshot.archived = tasks_in(inspector, State::archived);
  return snapshot;
}

std::vector<Finding> examine(const Snapshot& snapshot) {
  std::vector<Finding> findings;
  check_clock(snapshot, findings);
  check_workers(snapshot, findings);
  check_stuck(snapshot, findings);
  check_queues(snapshot, findings);
  check_archive(snapshot, findings);
  check_schedules(snapshot, findings);
  return findings;
}

}  // namespace tidemill::server
