#include <tidemill/inspector.hpp>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "engine/inspector_impl.hpp"

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
/// How often a task is read and written again when others change it at the same time.
constexpr int put_tries = 10;

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

/// The failures that a bulk act names.
constexpr std::size_t failures_max = 1000;

}  // namespace

Inspector::Impl::Impl(Store& s) : store(s), catalog(catalog_of(s)), clock(s), firings(s, clock) {}

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

Changed Inspector::erase_queue(std::string_view queue, bool force) {
  rules::check_queue_name(queue);
  if (force) {
    const std::vector<QueueInfo> all = queues();
    const auto found = std::ranges::find(all, queue, &QueueInfo::name);
    if (found == all.end()) return Changed::absent;
    if (found->count(State::active) > 0) return Changed::wrong_state;
    act(Act::erase, Filter{.queue = found->name});
  }
  return impl_->catalog.erase_queue(queue, impl_->call());
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

void BulkResult::add(const Ref& ref, Changed answer) {
  if (answer == Changed::changed || answer == Changed::signalled) {
    ++changed;
    return;
  }
  ++unchanged;
  if (answer == Changed::absent || answer == Changed::wrong_state) return;
  ++failed;
  if (failures.size() < failures_max) failures.push_back({ref, answer});
}

BulkResult Inspector::act(const Action& action, const Filter& filter, std::size_t step,
                          const std::function<bool(BulkResult&)>& progress) {
  const std::size_t step_max = std::max<std::size_t>(impl_->store.capabilities().batch_max, 1);
  check_range("the step of an act", step, step_max);
  impl_->require(action);
  if (!filter.text.empty()) impl_->require(Feature::search);
  const TimePoint start = impl_->call().now;
  Filter wanted = filter;
  const TimePoint cut_off = start + clock_slack;
  wanted.created_before = std::min(filter.created_before.value_or(cut_off), cut_off);
  // Who names states wants to know how many of them could not be changed.
  if (filter.states == States::all()) wanted.states = rules::states_of(action.act);

  BulkResult result{.step = step};
  std::set<Ref> signalled;  // They stay in their state for a while, and may turn up again further on.
  std::size_t passed = 0;   // In a row.
  for (std::string cursor;;) {
    Page page = impl_->catalog.find(wanted, cursor, result.step, step_budget, impl_->call());
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
      result.add(refs[i], answers[i]);
      if (answers[i] == Changed::signalled) signalled.insert(refs[i]);
    }
    // They come back as fast as we go on, so there is nothing behind them.
    if (passed > std::max(passed_max, 2 * signalled.size())) return result;
    if (progress && !progress(result)) return result;
    check_range("the step of an act", result.step, step_max);
    if (page.next.empty()) return result;
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

TimePoint Inspector::now() { return impl_->clock.call().now; }

}  // namespace tidemill
