#include "engine/worker_gatherer.hpp"

#include <algorithm>
#include <exception>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "engine/worker_core.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// Many quick aggregators share the calls of the store; slow ones would outlive the leases of those behind.
constexpr std::size_t sets_most = 64;
constexpr std::size_t set_bytes_max = 64U << 20U;
/// Groups whose failures are remembered.
constexpr std::size_t failures_max = 10'000;
/// The shortest wait for a group that falls due, should the store count differently.
constexpr Duration least_wait = 1ms;

Steady steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

WorkerGatherer::WorkerGatherer(WorkerCore& core)
    : core_(core), lane_(core.clock), trouble_(core.options.log, "gather groups") {}

void WorkerGatherer::start(const std::shared_ptr<WorkerCore>& core) {
  if (core_.options.groups.empty()) return;
  running_ = true;
  crew_.add("tm-groups", [core] { core->gatherer.loop(); });
}

void WorkerGatherer::stop() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_all();
}

void WorkerGatherer::finish(Steady until) {
  std::unique_lock lock{mutex_};
  changed_.wait_until(lock, until, [this] { return !running_; });
  changed_.wait(lock, [this] { return !running_ || aggregating_; });  // No aggregator begins any more.
  left_ = running_;
}

void WorkerGatherer::loop() {
  Steady next{};
  while (!sleep(next)) {
    try {
      next = core_.quiet ? steady_now() + core_.options.poll : look();
      trouble_.over();
    } catch (const std::exception& error) {
      next = steady_now() + trouble_.failed(error.what());
    } catch (...) {
      next = steady_now() + trouble_.failed("unknown exception");
    }
  }
  const std::lock_guard lock{mutex_};
  running_ = false;
  changed_.notify_all();
}

Steady WorkerGatherer::look() {
  Steady next = Steady::max();
  for (const Aggregation& rule : core_.options.groups) next = std::min(next, gather(rule));
  return next;
}

Steady WorkerGatherer::gather(const Aggregation& rule) {
  const std::string_view queue = rule.queue;
  const Gather wanted{
      .worker = core_.id,
      .queues = {&queue, 1},
      .rule = {.size_max = rule.size_max == 0 ? core_.store.capabilities().batch_max : rule.size_max,
               .delay_max = rule.delay_max,
               .grace = rule.grace},
      .count_max = sets_,
      .bytes_max = set_bytes_max,
      .lease = rule.timeout};
  const Steady sent = steady_now();
  const Gathered gathered = ask(wanted);
  if (gathered.sets.empty()) {
    const Steady longest = steady_now() + core_.options.poll;
    if (!gathered.next_due) return longest;
    return std::min(longest, steady_now() + std::max(*gathered.next_due - core_.clock.now(), least_wait));
  }
  std::vector<Settle> ends;
  ends.reserve(gathered.sets.size());
  for (const TaskSet& set : gathered.sets) {
    Settle& end = ends.emplace_back(Settle{.set = &set});
    // Behind a slow aggregator: another worker, or the next call, has more time for it.
    const bool late = ends.size() > 1 && steady_now() - sent > rule.timeout / 2;
    if (late || !enter_user_code()) continue;
    std::string why;
    end.merged = merge(rule, set, why);
    if (!leave_user_code()) return Steady::max();
    if (!end.merged) end.delay = failed(set, why);
  }
  settle(std::move(ends), sent + rule.timeout);
  sets_ = steady_now() - sent < rule.timeout / 10 ? std::min(sets_ * 2, sets_most) : 1;
  return steady_now();
}

Gathered WorkerGatherer::ask(const Gather& gather) {
  const Call call = lane_.next(core_.hold);
  const Steady first_sent = steady_now();
  while (true) {
    const Steady sent = steady_now();
    try {
      Gathered gathered = core_.store.groups()->gather(gather, call);
      core_.clock.learn(gathered.now, sent, steady_now());
      return gathered;
    } catch (const Error& error) {
      // The store knows what it gave us; it tells when asked with the same number.
      if (error.kind() != ErrorKind::unknown_outcome || sent - first_sent > gather.lease / 2) throw;
      if (sleep(steady_now() + trouble_.failed(error.what()))) throw;
    }
  }
}

std::optional<Task> WorkerGatherer::merge(const Aggregation& rule, const TaskSet& set, std::string& why) {
  try {
    return rules::merge(rule.aggregate(set.group, set.tasks), set, core_.store.capabilities());
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
    why = "unknown exception";
  }
  return {};
}

void WorkerGatherer::settle(std::vector<Settle> ends, Steady until) {
  const Log& log = core_.options.log;
  while (!ends.empty()) {
    const std::vector<Reported> answers = report(ends, until);
    std::vector<Settle> again;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const TaskSet& set = *ends[i].set;
      if (answers[i] == Reported::applied) {
        if (ends[i].merged) failures_.erase({set.queue, set.group});
      } else if (answers[i] == Reported::failed && ends[i].merged) {
        again.push_back(
            {&set, {}, failed(set, "a task with its id is there, or another has its unique key")});
      } else {
        log.warning("a merged group was not taken: its lease is lost, and its tasks go back",
                    {{"queue", set.queue}, {"group", set.group}});
      }
    }
    ends = std::move(again);
  }
}

std::vector<Reported> WorkerGatherer::report(std::span<const Settle> ends, Steady until) {
  const Call call = lane_.next(core_.hold);
  while (true) {
    std::string why = "the outcome is unknown";
    try {
      std::vector<Reported> answers = core_.store.groups()->settle(ends, call);
      if (std::ranges::find(answers, Reported::unknown) == answers.end()) return answers;
    } catch (const Error& error) {
      why = error.what();
    }
    // Until the lease ends: then the store has taken the sets back.
    if (steady_now() >= until || sleep(steady_now() + trouble_.failed(why)))
      return std::vector<Reported>(ends.size(), Reported::lost);
  }
}

Duration WorkerGatherer::failed(const TaskSet& set, std::string_view why) {
  if (failures_.size() >= failures_max) failures_.clear();
  const Duration pause = rules::group_pause(++failures_[{set.queue, set.group}]);
  core_.options.log.warning("a group could not be merged; its tasks go back for a while",
                            {{"queue", set.queue},
                             {"group", set.group},
                             {"tasks", std::to_string(set.tasks.size())},
                             {"error", why},
                             {"pause_ms", std::to_string(pause / 1ms)}});
  return pause;
}

bool WorkerGatherer::enter_user_code() {
  const std::lock_guard lock{mutex_};
  if (stopping_) return false;
  aggregating_ = true;
  return true;
}

bool WorkerGatherer::leave_user_code() {
  const std::lock_guard lock{mutex_};
  aggregating_ = false;
  return !left_;
}

bool WorkerGatherer::sleep(Steady until) {
  std::unique_lock lock{mutex_};
  return changed_.wait_until(lock, until, [this] { return stopping_; });
}

}  // namespace tidemill::engine
