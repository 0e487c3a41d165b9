#include <tidemill/inspector.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/digest.hpp"
#include "core/rules.hpp"
#include "core/schedule_rule.hpp"
#include "engine/store_clock.hpp"

namespace tidemill {

namespace {

constexpr std::size_t page_max = 1000;
/// How long the store may look for one page of a bulk act.
constexpr Duration step_budget = std::chrono::milliseconds{200};
/// Clients and workers count the store's time on by themselves, so what comes just before a bulk act may bear
/// a time just after it.
constexpr Duration clock_slack = std::chrono::milliseconds{1};
/// A bulk act ends after so many tasks in a row that have had their turn.
constexpr std::size_t passed_max = 10'000;
/// How long it is known for which instants tasks have been made up.
constexpr Duration backfill_window = std::chrono::hours{24};
/// How often a schedule or task is read and written again when others change it at the same time.
constexpr int put_tries = 10;

void check_range(std::string_view what, std::size_t value, std::size_t most) {
  if (value >= 1 && value <= most) return;
  throw Error{ErrorKind::invalid, fmt::format("{} is {}; it must be from 1 to {}", what, value, most)};
}

Catalog& catalog_of(Store& store) {
  rules::require(store.capabilities(), Feature::list);
  if (Catalog* catalog = store.catalog()) return *catalog;
  throw Error{ErrorKind::unsupported, "this store can't list its tasks"};
}

/// Whether the task is as the action would make it: one that it has put further on is met there again.
bool is_done(const Action& action, const Task& task) {
  if (action.act == Act::move) return task.ref.queue == action.queue;
  return action.act == Act::reschedule && task.state == State::scheduled && task.run_at == action.run_at;
}

bool has_changed(Changed changed) { return changed == Changed::changed || changed == Changed::signalled; }

ScheduleInfo info_of(const StoredSchedule& stored) {
  ScheduleInfo info{{}, stored.owner, stored.paused, stored.next, stored.last, stored.read_only};
  try {
    info.schedule = parse_rule(stored).schedule;
  } catch (const Error&) {
    // What can't be read is shown by its id, for an operator to erase or to put anew.
    info.schedule.id = stored.id;
  }
  return info;
}

const StoredSchedule* find_in(const std::vector<StoredSchedule>& all, std::string_view id) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const StoredSchedule& s) { return s.id == id; });
  return found == all.end() ? nullptr : &*found;
}

void refuse_read_only(const StoredSchedule& stored) {
  if (!stored.read_only) return;
  throw Error{ErrorKind::conflict,
              fmt::format("schedule \"{}\" belongs to the {}, which alone can change or fire it", stored.id,
                          stored.owner)};
}

/// The same for each repeat.
std::string backfill_id(std::string_view schedule, TimePoint instant) {
  constexpr std::size_t size = 32;
  return sha256_hex(fmt::format("{} {}", schedule, instant.time_since_epoch().count())).substr(0, size);
}

/// Whether a stored rule says the same, in whatever words.
bool same_rule(const StoredSchedule& stored, const Schedule& schedule) {
  if (stored.rule == to_json(schedule)) return true;
  try {
    const StoredRule rule = parse_rule(stored);
    return rule.zone_data == time_zone_database_version() && to_json(rule.schedule) == to_json(schedule);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

struct Inspector::Impl {
  explicit Impl(Store& s) : store(s), catalog(catalog_of(s)), clock(s) {}

  Call call() { return clock.call(); }

  void require(Feature feature) const { rules::require(store.capabilities(), feature); }

  /// Throws when the action lacks what it needs, or the store does.
  void require(const Action& action) const;

  std::vector<StoredSchedule> stored_schedules() {
    require(Feature::schedules);
    return catalog.schedules({}, call());
  }

  /// What becomes of each; at most a batch of them.
  std::vector<Changed> apply(const Action& action, std::span<const Ref> refs);
  std::vector<Changed> change(const Action& action, std::span<const Ref> refs);
  PutSchedule to_put(const ScheduleRule& rule, const StoredSchedule* stored, TimePoint now) const;
  /// Reads a schedule, lets `change` make a new one of it, and writes it, again if somebody else was quicker.
  /// False when `change` says that there is nothing to write.
  template <class F>
  bool update(std::string_view id, F&& change);

  Store& store;
  Catalog& catalog;
  engine::StoreClock clock;
};

void Inspector::Impl::require(const Action& action) const {
  if (action.act == Act::hold || action.act == Act::resume) require(Feature::hold);
  if (action.act == Act::reschedule) {
    require(Feature::delay);
    if (!action.run_at) throw Error{ErrorKind::invalid, "a reschedule needs the time when the task is due"};
  }
  if (action.act == Act::move) rules::check_queue_name(action.queue);
}

std::vector<Changed> Inspector::Impl::apply(const Action& action, std::span<const Ref> refs) {
  require(action);
  if (action.act != Act::move) return change(action, refs);
  for (const Ref& ref : refs) {
    if (ref.queue != action.queue) continue;
    throw Error{ErrorKind::invalid,
                fmt::format("task {} is in queue \"{}\" already; name another queue", ref.id, ref.queue)};
  }
  return catalog.move(refs, rules::states_of(action.act), action.queue, call());
}

std::vector<Changed> Inspector::Impl::change(const Action& action, std::span<const Ref> refs) {
  std::vector<Changed> answers(refs.size(), Changed::wrong_state);
  std::vector<Ref> left(refs.begin(), refs.end());
  std::vector<std::size_t> places(refs.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = i;
  for (Change change : rules::changes(action.act)) {
    if (left.empty()) break;
    change.run_at = action.run_at;
    const std::vector<Changed> step = catalog.change(left, change, call());
    std::vector<Ref> still;
    std::vector<std::size_t> still_places;
    for (std::size_t i = 0; i < step.size(); ++i) {
      answers[places[i]] = step[i];
      if (step[i] != Changed::wrong_state) continue;
      still.push_back(std::move(left[i]));
      still_places.push_back(places[i]);
    }
    left = std::move(still);
    places = std::move(still_places);
  }
  return answers;
}

PutSchedule Inspector::Impl::to_put(const ScheduleRule& rule, const StoredSchedule* stored,
                                    TimePoint now) const {
  PutSchedule put;
  if (stored != nullptr) {
    put.schedule = *stored;
    put.expected_next = stored->next;
  }
  put.schedule.id = rule.schedule().id;
  put.schedule.rule = to_json(rule.schedule());
  put.schedule.next = next_of(rule, stored, now);
  return put;
}

template <class F>
bool Inspector::Impl::update(std::string_view id, F&& change) {
  for (int i = 0; i < put_tries; ++i) {
    const std::vector<StoredSchedule> all = stored_schedules();
    const StoredSchedule* const stored = find_in(all, id);
    if (stored != nullptr) refuse_read_only(*stored);
    const std::optional<PutSchedule> put = change(stored);
    if (!put) return false;
    if (catalog.put_schedules({&*put, 1}, call()).front()) return true;
  }
  throw Error{
      ErrorKind::unavailable,
      fmt::format("schedule \"{}\" changed each of the {} times that it was to be written", id, put_tries)};
}

Inspector::Inspector(Store& store) : impl_(std::make_unique<Impl>(store)) {}

Inspector::~Inspector() = default;

std::vector<QueueInfo> Inspector::queues() { return impl_->catalog.queues(impl_->call()); }

void Inspector::pause(std::string_view queue) {
  rules::check_queue_name(queue);
  impl_->catalog.pause(queue, true, impl_->call());
}

void Inspector::resume(std::string_view queue) {
  rules::check_queue_name(queue);
  impl_->catalog.pause(queue, false, impl_->call());
}

std::vector<GroupInfo> Inspector::groups(std::string_view queue, std::string_view after, std::size_t limit) {
  rules::check_queue_name(queue);
  check_range("the limit of a list of groups", limit, page_max);
  return impl_->catalog.groups(queue, after, limit, impl_->call());
}

Page Inspector::tasks(const TaskQuery& query) {
  check_range("the limit of a page", query.limit, page_max);
  if (query.budget <= Duration::zero())
    throw Error{ErrorKind::invalid, "the budget of a page must be more than zero"};
  if (!query.filter.text.empty()) impl_->require(Feature::search);
  return impl_->catalog.find(query.filter, query.cursor, query.limit, query.budget, impl_->call());
}

std::optional<Task> Inspector::task(const Ref& ref) {
  return std::move(impl_->catalog.get({&ref, 1}, impl_->call()).front());
}

std::vector<std::optional<Task>> Inspector::tasks(std::span<const Ref> refs) {
  std::vector<std::optional<Task>> found;
  const std::size_t most = impl_->store.capabilities().batch_max;
  for (; !refs.empty(); refs = refs.subspan(std::min(most, refs.size()))) {
    auto some = impl_->catalog.get(refs.first(std::min(most, refs.size())), impl_->call());
    std::ranges::move(some, std::back_inserter(found));
  }
  return found;
}

std::vector<Attempt> Inspector::attempts(const Ref& ref) {
  return impl_->catalog.attempts(ref, impl_->call());
}

Action Action::reschedule(TimePoint run_at) {
  Action action{Act::reschedule};
  action.run_at = run_at;
  return action;
}

Action Action::move(std::string queue) {
  Action action{Act::move};
  action.queue = std::move(queue);
  return action;
}

Changed Inspector::act(const Action& action, const Ref& ref) {
  return impl_->apply(action, {&ref, 1}).front();
}

std::vector<Changed> Inspector::act(const Action& action, std::span<const Ref> refs) {
  std::vector<Changed> answers;
  const std::size_t step = std::max<std::size_t>(impl_->store.capabilities().batch_max, 1);
  while (!refs.empty()) {
    const auto some = refs.first(std::min(step, refs.size()));
    const std::vector<Changed> part = impl_->apply(action, some);
    answers.insert(answers.end(), part.begin(), part.end());
    refs = refs.subspan(some.size());
  }
  return answers;
}

Changed Inspector::edit(const Ref& ref, const std::function<void(NewTask&)>& change,
                        std::string_view expected) {
  for (int i = 0; i < put_tries; ++i) {
    const std::optional<Task> seen = task(ref);
    if (!seen) return Changed::absent;
    if (!rules::editable().has(seen->state)) return Changed::wrong_state;
    Edit edit{.from = rules::editable(), .seen = etag(*seen)};
    if (!expected.empty() && edit.seen != expected) return Changed::stale;
    NewTask wanted = rules::draft_of(*seen);
    change(wanted);
    edit.task = rules::edited(*seen, std::move(wanted), impl_->store.capabilities());
    const Changed answer = impl_->catalog.edit(edit, impl_->call());
    if (answer != Changed::stale || !expected.empty()) return answer;
  }
  throw Error{
      ErrorKind::unavailable,
      fmt::format("task {} changed each of the {} times that it was to be edited", ref.id, put_tries)};
}

BulkResult Inspector::act(const Action& action, const Filter& filter, std::size_t step,
                          const std::function<bool(const BulkResult&)>& progress) {
  check_range("the step of an act", step, std::max<std::size_t>(impl_->store.capabilities().batch_max, 1));
  impl_->require(action);
  if (!filter.text.empty()) impl_->require(Feature::search);
  const TimePoint start = impl_->call().now;
  Filter wanted = filter;
  const TimePoint cut_off = start + clock_slack;
  wanted.created_before = std::min(filter.created_before.value_or(cut_off), cut_off);
  // Who names states wants to know how many of them could not be changed.
  if (filter.states == States::all()) wanted.states = rules::states_of(action.act);

  BulkResult result;
  std::set<Ref> signalled;  // They stay in their state for a while, and may turn up again further on.
  std::size_t passed = 0;   // In a row.
  // Without an order, pages shift as their tasks leave: then all is looked at again until nothing is left.
  const bool shifts = impl_->store.capabilities().limits.contains(Feature::order);
  std::size_t before = 0;     // Changed, when this look began.
  std::size_t unchanged = 0;  // In this look.
  for (std::string cursor;;) {
    Page page = impl_->catalog.find(wanted, cursor, step, step_budget, impl_->call());
    std::vector<Ref> refs;
    for (Task& task : page.tasks) {
      if (is_done(action, task)) continue;
      // One that has been claimed since the start and is back already has had its turn: a task that fails at
      // once would keep `run` busy for ever.
      const bool back = task.state != State::active && task.started_at && *task.started_at > cut_off;
      const bool had_its_turn = back || signalled.contains(task.ref);
      passed = had_its_turn ? passed + 1 : 0;
      if (!had_its_turn) refs.push_back(std::move(task.ref));
    }
    const std::vector<Changed> answers = impl_->apply(action, refs);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      ++(has_changed(answers[i]) ? result.changed : unchanged);
      if (answers[i] == Changed::signalled) signalled.insert(refs[i]);
    }
    result.unchanged = std::max(result.unchanged, unchanged);
    // They come back as fast as we go on, so there is nothing behind them.
    if (passed > std::max(passed_max, 2 * signalled.size())) return result;
    if (progress && !progress(result)) return result;
    if (page.next.empty()) {
      if (!shifts || result.changed == before) return result;
      before = result.changed;
      unchanged = 0;
      cursor.clear();
      continue;
    }
    if (page.next == cursor && page.tasks.empty()) {
      throw Error{ErrorKind::unavailable,
                  fmt::format("the store found no more within {} ms; it has too much to do",
                              step_budget.count() / 1000)};
    }
    cursor = std::move(page.next);
  }
}

std::vector<Stat> Inspector::stats(Span span, TimePoint from, TimePoint to, std::string_view queue) {
  if (from > to) throw Error{ErrorKind::invalid, "statistics: the beginning is after the end"};
  return impl_->catalog.stats(queue, span, from, to, impl_->call());
}

std::vector<WorkerInfo> Inspector::workers() { return impl_->catalog.workers(impl_->call()); }

bool Inspector::signal_worker(std::string_view id, Signal signal) {
  if (signal != Signal::quiet && signal != Signal::resume && signal != Signal::stop) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("a worker takes no signal \"{}\"; it takes quiet, resume and stop", to_string(signal))};
  }
  return impl_->catalog.signal(id, signal, impl_->call());
}

std::vector<ScheduleInfo> Inspector::schedules() {
  std::vector<ScheduleInfo> infos;
  for (const StoredSchedule& stored : impl_->stored_schedules()) infos.push_back(info_of(stored));
  return infos;
}

std::optional<ScheduleInfo> Inspector::schedule(std::string_view id) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  return info_of(*stored);
}

void Inspector::put_schedule(const Schedule& schedule) {
  check(schedule, impl_->store.capabilities());
  const ScheduleRule rule{schedule};
  impl_->update(schedule.id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
    if (stored != nullptr && same_rule(*stored, schedule)) return {};
    return impl_->to_put(rule, stored, now());
  });
}

std::size_t Inspector::sync_schedules(std::string_view owner, std::span<const Schedule> schedules) {
  rules::check_name("owner of schedules", owner);
  // All is checked before anything is changed.
  std::map<std::string, ScheduleRule, std::less<>> wanted;
  for (const Schedule& schedule : schedules) {
    check(schedule, impl_->store.capabilities());
    if (!wanted.emplace(schedule.id, ScheduleRule{schedule}).second) {
      throw Error{ErrorKind::invalid, fmt::format("schedule \"{}\" is given twice", schedule.id)};
    }
  }
  const std::vector<StoredSchedule> before = impl_->stored_schedules();
  std::vector<std::string> gone;
  for (const StoredSchedule& stored : before) {
    const bool ours = stored.owner == owner && !stored.read_only;
    if (ours && !wanted.contains(stored.id)) gone.push_back(stored.id);
    if (!ours && wanted.contains(stored.id)) {
      throw Error{
          ErrorKind::conflict,
          stored.owner.empty()
              ? fmt::format("schedule \"{}\" was made by hand; erase it or choose another id", stored.id)
              : fmt::format("schedule \"{}\" belongs to \"{}\"; choose another id", stored.id, stored.owner)};
    }
  }
  std::size_t changed = 0;
  for (const auto& [id, rule] : wanted) {
    changed += impl_->update(id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
      if (stored != nullptr && same_rule(*stored, rule.schedule())) return {};
      PutSchedule put = impl_->to_put(rule, stored, now());
      put.schedule.owner = owner;
      return put;
    });
  }
  if (!gone.empty()) changed += impl_->catalog.erase_schedules(gone, impl_->call());
  return changed;
}

bool Inspector::pause_schedule(std::string_view id, bool paused) {
  bool found = false;
  impl_->update(id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
    found = stored != nullptr;
    if (stored == nullptr || stored->paused == paused) return {};
    PutSchedule put{*stored, stored->next};
    put.schedule.paused = paused;
    return put;
  });
  return found;
}

bool Inspector::erase_schedule(std::string_view id) {
  impl_->require(Feature::schedules);
  const std::string name{id};
  if (impl_->catalog.erase_schedules({&name, 1}, impl_->call()) > 0) return true;
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  if (const StoredSchedule* const stored = find_in(all, id)) refuse_read_only(*stored);
  return false;
}

std::optional<Enqueued> Inspector::fire_schedule(std::string_view id) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  refuse_read_only(*stored);
  const ScheduleRule rule{parse_rule(*stored).schedule};
  const Task task = rule.task({}, impl_->store.capabilities());
  Enqueued answer = std::move(impl_->store.enqueue({&task, 1}, impl_->call()).front());
  if (answer.put == Put::exists) {
    answer.why = fmt::format("the last task of schedule \"{}\", {}, has not ended", id, answer.id);
  }
  return answer;
}

std::vector<TimePoint> Inspector::schedule_instants(const Schedule& schedule, TimePoint from, TimePoint to,
                                                    std::size_t count_max) {
  const ScheduleRule rule{schedule};
  if (rule.is_interval()) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("schedule \"{}\": \"{}\" has no instants but those to come, so none can be made up for",
                    schedule.id, schedule.spec)};
  }
  std::vector<TimePoint> instants;
  for (TimePoint t = rule.after(from - Duration{1}); t < to && instants.size() < count_max; t = rule.after(t))
    instants.push_back(t);
  return instants;
}

std::optional<std::vector<Enqueued>> Inspector::backfill_schedule(std::string_view id,
                                                                  std::span<const TimePoint> instants) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  const Schedule schedule = parse_rule(*stored).schedule;
  const Capabilities& can = impl_->store.capabilities();
  const auto unique_limit = can.limits.find(Feature::unique);
  const bool has_keys = unique_limit == can.limits.end() || !unique_limit->second.absent;
  std::vector<Task> tasks;
  for (const TimePoint instant : instants) {
    EnqueueOptions options = schedule.options;
    options.id = backfill_id(id, instant);
    options.headers.insert_or_assign(
        "schedule-instant", fmt::format("{:%FT%TZ}", std::chrono::floor<std::chrono::seconds>(instant)));
    // The id is free again as soon as the task has ended and is purged.
    if (!options.unique && has_keys)
      options.unique = Unique{.key = options.id, .window = backfill_window, .outlives_task = true};
    tasks.push_back(rules::admit(schedule.kind, schedule.payload, options, can));
  }
  std::vector<Enqueued> answers;
  const std::size_t step = std::max<std::size_t>(can.batch_max, 1);
  for (std::span<const Task> rest{tasks}; !rest.empty(); rest = rest.subspan(std::min(step, rest.size()))) {
    auto some = impl_->store.enqueue(rest.first(std::min(step, rest.size())), impl_->call());
    std::ranges::move(some, std::back_inserter(answers));
  }
  return answers;
}

TimePoint Inspector::now() { return impl_->clock.call().now; }

}  // namespace tidemill
