#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include <pthread.h>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/schedule.hpp>

#include "core/rules.hpp"
#include "core/schedule_rule.hpp"
#include "engine/firing_log.hpp"
#include "engine/store_clock.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using engine::Steady;

/// After an error the thread pauses for the first of these, twice as long each time, at most the second.
constexpr Duration back_off_least = 100ms;
constexpr Duration back_off_most = 30s;
/// How soon the source is asked again when it threw, or gave what isn't right.
constexpr Duration sync_again = 10s;
/// So many schedules are remembered as they were read; beyond that all are read anew.
constexpr std::size_t known_max = 10'000;

Steady steady_now() { return std::chrono::steady_clock::now(); }

/// A stored schedule as it was last read, and what came of it.
struct Known {
  std::string text = {};                  ///< Of the rule.
  std::optional<ScheduleRule> rule = {};  ///< None: it can't be read.
  std::optional<TimePoint> waiting = {};  ///< The instant that waits for the last task to end.
  std::string trouble = {};               ///< What was logged last, so that it is logged once.
};

/// One firing on its way into the store.
struct Pending {
  Known* known = nullptr;
  Task task = {};
  TimePoint due{};
  TimePoint wake{};  ///< When the schedule has something to do again, if this goes well.
};

}  // namespace

struct Scheduler::Impl {
  Impl(Store& s, SchedulerOptions o)
      : store(s), catalog(*s.catalog()), options(std::move(o)), clock(s), inspector(s), past(s, clock) {}

  /// What one look at the schedules came to.
  struct Look {
    std::size_t enqueued = 0;
    TimePoint wake{};  ///< When to look again.
  };
  /// Fires all that is due by `now`; `by` is how far ahead to look for what is next.
  Look look(TimePoint now, TimePoint by);
  Known& known_of(const StoredSchedule& stored);
  /// False when that is known already.
  bool trouble(Known& known, std::string_view id, std::string_view what);
  void note(std::string_view schedule, TimePoint instant, Fate fate, std::string task = {},
            std::string why = {});
  void keep_notes();
  void skip(const StoredSchedule& stored, TimePoint to);
  void send(std::span<const Pending> batch, Look& found);
  void settle(const Pending& pending, const Enqueued& answer, Look& found);

  std::size_t fire_due();
  std::size_t sync();
  void run(std::stop_token stop);
  /// Syncs if it is time to, and says when it is next.
  Steady sync_if_due(Steady due);

  Store& store;
  Catalog& catalog;
  const SchedulerOptions options;
  engine::StoreClock clock;
  Inspector inspector;

  engine::FiringLog past;

  std::mutex firing;                            // One look at a time.
  std::map<std::string, Known> known;           // Guarded by firing.
  std::vector<engine::FiringLog::Entry> notes;  // What this look has come to. Guarded by firing.

  std::mutex sleeping;
  std::condition_variable_any woken;
  std::jthread thread;  // Last: it uses all the others.
};

Known& Scheduler::Impl::known_of(const StoredSchedule& stored) {
  Known& entry = known[stored.id];
  if (entry.text == stored.rule) return entry;
  entry = Known{.text = stored.rule};
  try {
    entry.rule.emplace(parse_rule(stored).schedule);
  } catch (const Error& error) {
    trouble(entry, stored.id, error.what());
  }
  return entry;
}

bool Scheduler::Impl::trouble(Known& entry, std::string_view id, std::string_view what) {
  if (entry.trouble == what) return false;
  entry.trouble = what;
  options.log.error("a schedule can't fire", {{"schedule", id}, {"why", what}});
  return true;
}

void Scheduler::Impl::note(std::string_view schedule, TimePoint instant, Fate fate, std::string task,
                           std::string why) {
  notes.push_back(
      {std::string{schedule}, {instant, clock.call().now, fate, std::move(task), std::move(why)}});
}

/// They are for people to look at: that they can't be written is no reason to fire nothing.
void Scheduler::Impl::keep_notes() {
  const auto kept = std::exchange(notes, {});
  if (kept.empty()) return;
  try {
    past.add(kept);
  } catch (const Error& error) {
    options.log.warning("what became of schedules could not be written", {{"why", error.what()}});
  }
}

/// Moves a schedule on without firing. If it has changed meanwhile, the next look will see.
void Scheduler::Impl::skip(const StoredSchedule& stored, TimePoint to) {
  PutSchedule put{stored, stored.next};
  put.schedule.next = to;
  if (catalog.put_schedules({&put, 1}, clock.call()).front())
    note(stored.id, stored.next, Fate::skipped_missed);
  options.log.warning("a schedule's missed instants were skipped", {{"schedule", stored.id}});
}

Scheduler::Impl::Look Scheduler::Impl::look(TimePoint now, TimePoint by) {
  const std::lock_guard lock{firing};
  Look result{0, by};
  // Those with unique keys travel apart: somebody's open transaction may hold one.
  std::vector<Pending> plain;
  std::vector<Pending> unique;
  const std::vector<StoredSchedule> due = catalog.schedules(by, clock.call());
  if (known.size() + due.size() > known_max) known.clear();
  for (const StoredSchedule& stored : due) {
    Known& entry = known_of(stored);
    if (!entry.rule) continue;
    try {
      const Plan plan = entry.rule->plan(stored.next, now, entry.waiting == stored.next);
      for (const Shot& shot : plan.shots) {
        Task task = entry.rule->task(shot, store.capabilities());
        (task.unique ? unique : plain)
            .push_back({&entry, std::move(task), entry.rule->due(shot.instant), plan.wake});
      }
      if (plan.skip_to) skip(stored, *plan.skip_to);
      if (plan.shots.empty()) result.wake = std::min(result.wake, plan.wake);
    } catch (const Error& error) {
      if (error.retryable()) throw;
      if (trouble(entry, stored.id, error.what()))
        note(stored.id, stored.next, Fate::failed, "", error.what());
    }
  }
  send(plain, result);
  send(unique, result);
  keep_notes();
  return result;
}

void Scheduler::Impl::send(std::span<const Pending> batch, Look& found) {
  const std::size_t step = std::max<std::size_t>(store.capabilities().batch_max, 1);
  std::vector<Task> tasks;
  while (!batch.empty()) {
    const std::span<const Pending> part = batch.first(std::min(step, batch.size()));
    batch = batch.subspan(part.size());
    tasks.clear();
    for (const Pending& each : part) tasks.push_back(each.task);
    const std::vector<Enqueued> answers = store.enqueue(tasks, clock.call());
    for (std::size_t i = 0; i < part.size(); ++i) settle(part[i], answers[i], found);
  }
}

void Scheduler::Impl::settle(const Pending& pending, const Enqueued& answer, Look& found) {
  Known& entry = *pending.known;
  const Firing& firing_of = *pending.task.firing;
  switch (answer.put) {
    case Put::created:
    case Put::replaced:
      entry.waiting.reset();
      entry.trouble.clear();
      ++found.enqueued;
      note(firing_of.schedule, firing_of.instant,
           clock.now() - pending.due > late_max ? Fate::late : Fate::enqueued, answer.id);
      options.log.debug("a schedule fired", {{"schedule", firing_of.schedule}, {"task", answer.id}});
      break;
    case Put::exists:
    case Put::busy:
      if (firing_of.only_if_created) {
        entry.waiting = firing_of.instant;
        return;  // It is tried again at the next poll: nobody says when the last task ends.
      }
      note(firing_of.schedule, firing_of.instant, Fate::skipped_overlap, answer.id);
      break;
    case Put::fired:
      break;
    case Put::invalid:
    case Put::failed:
    case Put::unknown:
      if (trouble(entry, firing_of.schedule, answer.why) && answer.put != Put::unknown)
        note(firing_of.schedule, firing_of.instant, Fate::failed, "", answer.why);
      return;
  }
  found.wake = std::min(found.wake, pending.wake);
}

std::size_t Scheduler::Impl::fire_due() {
  // All that is due at this instant, and nothing that falls due meanwhile: so it ends.
  const TimePoint now = clock.call().now;
  std::size_t enqueued = 0;
  for (;;) {
    const Look found = look(now, now);
    enqueued += found.enqueued;
    if (found.enqueued == 0 || found.wake > now) return enqueued;
  }
}

std::size_t Scheduler::Impl::sync() {
  if (!options.source) return 0;
  std::vector<Schedule> schedules;
  try {
    schedules = options.source();
  } catch (const std::exception& error) {
    options.log.error("the source of schedules failed", {{"owner", options.owner}, {"why", error.what()}});
    return 0;
  } catch (...) {
    options.log.error("the source of schedules failed", {{"owner", options.owner}});
    return 0;
  }
  return inspector.sync_schedules(options.owner, schedules);
}

Steady Scheduler::Impl::sync_if_due(Steady due) {
  if (!options.source || steady_now() < due) return due;
  try {
    const std::size_t changed = sync();
    if (changed > 0) {
      options.log.info("schedules synced", {{"owner", options.owner}, {"changed", std::to_string(changed)}});
    }
    return steady_now() + options.sync_interval;
  } catch (const std::exception& error) {
    options.log.error("schedules could not be synced", {{"owner", options.owner}, {"why", error.what()}});
    return steady_now() + std::min(options.sync_interval, sync_again);
  }
}

void Scheduler::Impl::run(std::stop_token stop) {
  pthread_setname_np(pthread_self(), "tm-scheduler");
  Steady sync_due = steady_now();
  Duration back_off{};
  while (!stop.stop_requested()) {
    sync_due = sync_if_due(sync_due);
    Duration pause = options.poll;
    try {
      const TimePoint now = clock.call().now;
      const Look found = look(now, now + options.poll);
      pause = std::clamp(found.wake - clock.call().now, Duration::zero(), options.poll);
      if (back_off > Duration::zero()) options.log.info("schedules fire again");
      back_off = {};
    } catch (const std::exception& error) {
      back_off = std::clamp(back_off * 2, back_off_least, back_off_most);
      pause = back_off;
      options.log.error("schedules could not be looked at", {{"why", error.what()}});
    }
    std::unique_lock lock{sleeping};
    woken.wait_for(lock, stop, pause, [] { return false; });
  }
}

Scheduler::Scheduler(Store& store, SchedulerOptions options) {
  rules::require(store.capabilities(), Feature::schedules);
  if (store.catalog() == nullptr) throw Error{ErrorKind::unsupported, "this store can't keep schedules"};
  if (options.source) rules::check_name("owner of schedules", options.owner);
  if (options.poll <= Duration::zero())
    throw Error{ErrorKind::invalid, "scheduler: poll must be more than zero"};
  if (options.sync_interval <= Duration::zero()) {
    throw Error{ErrorKind::invalid, "scheduler: sync_interval must be more than zero"};
  }
  impl_ = std::make_unique<Impl>(store, std::move(options));
}

Scheduler::~Scheduler() { stop(); }

void Scheduler::start() {
  if (impl_->thread.joinable()) throw Error{ErrorKind::invalid, "the scheduler is running already"};
  impl_->thread = std::jthread{[impl = impl_.get()](std::stop_token stop) { impl->run(std::move(stop)); }};
}

void Scheduler::stop() {
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::size_t Scheduler::fire_due() { return impl_->fire_due(); }

std::size_t Scheduler::sync() { return impl_->sync(); }

}  // namespace tidemill
