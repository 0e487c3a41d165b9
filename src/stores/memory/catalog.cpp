// The operator's side.
#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/filter.hpp"
#include "core/transitions.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill::memory {

namespace {

using namespace std::chrono_literals;

/// A worker that has been silent for longer is taken for dead.
constexpr auto worker_alive = 1min;
/// Rows that `find` looks at between two looks at the clock; so many at least in any call, so that each goes
/// on.
constexpr std::size_t rows_a_look = 64;

/// A cursor is the position of the last row that was looked at: it needs no row to be there any more.
std::string to_cursor(const Position& place) {
  return fmt::format("{}:{}:{}:{}:{}", static_cast<int>(place.state), place.rank,
                     place.at.time_since_epoch().count(), place.sequence, place.queue);
}

Position from_cursor(std::string_view cursor) {
  std::array<std::int64_t, 4> numbers{};
  const char* at = cursor.data();
  const char* end = at + cursor.size();
  for (std::int64_t& number : numbers) {
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc{} || stop == end || *stop != ':') {
      throw Error{
          ErrorKind::invalid,
          fmt::format("\"{}\" is no cursor; take the one that the page before gave, as it is", cursor)};
    }
    at = stop + 1;
  }
  return {std::string{at, end}, static_cast<State>(numbers[0]), numbers[1], TimePoint{Duration{numbers[2]}},
          static_cast<std::uint64_t>(numbers[3])};
}

}  // namespace

/// The task as the catalogue answers it.
Task MemoryStore::shown(const Row& row, TimePoint now) const {
  Task task = row.task;
  if (task.state != State::scheduled && task.state != State::retry) task.run_at.reset();
  if (!rows_.holds_key(row, now)) task.unique.reset();
  return task;
}

Page MemoryStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                       const Call& call) {
  const std::lock_guard lock{mutex_};
  const auto began = clock_.steady();
  const Rows::Order& order = rows_.order();
  auto at = order.begin();
  if (!cursor.empty()) {
    at = order.upper_bound(from_cursor(cursor));
  } else if (!filter.queue.empty()) {
    at = order.lower_bound({filter.queue, State::gone, INT64_MIN, TimePoint::min(), 0});
  }

  Page page;
  const Position* last = nullptr;
  for (std::size_t looked = 0; at != order.end(); ++at, ++looked) {
    if (!filter.queue.empty() && at->first.queue != filter.queue) break;
    if (looked > 0 && looked % rows_a_look == 0 && clock_.steady() - began >= budget) {
      page.complete = false;
      page.next = to_cursor(*last);
      break;
    }
    if (matches(filter, at->second->task)) {
      if (page.tasks.size() == limit) {
        page.next = last == nullptr ? std::string{cursor} : to_cursor(*last);
        break;
      }
      page.tasks.push_back(shown(*at->second, call.now));
    }
    last = &at->first;
  }
  return page;
}

std::vector<std::optional<Task>> MemoryStore::get(std::span<const Ref> refs, const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<std::optional<Task>> tasks;
  for (const Ref& ref : refs) {
    const Row* row = rows_.find(ref);
    tasks.push_back(row == nullptr ? std::nullopt : std::optional{shown(*row, call.now)});
  }
  return tasks;
}

std::vector<Attempt> MemoryStore::attempts(const Ref& ref, const Call&) {
  const std::lock_guard lock{mutex_};
  const Row* row = rows_.find(ref);
  return row == nullptr ? std::vector<Attempt>{} : row->attempts;
}

std::vector<Changed> MemoryStore::change(std::span<const Ref> refs, const Change& change, const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<Changed> answers;
  for (const Ref& ref : refs) answers.push_back(change_one(ref, change, call.now));
  changed_.notify_all();
  return answers;
}

Changed MemoryStore::change_one(const Ref& ref, const Change& change, TimePoint now) {
  Row* row = rows_.find(ref);
  if (row == nullptr) return Changed::absent;
  const State from = row->task.state;
  if (!change.from.has(from) || !row->set.empty()) return Changed::wrong_state;
  if (from == State::active) {
    if (change.signal == Signal::none) return Changed::wrong_state;
    row->signal = change.signal;
    ++members_[row->task.worker].signals;
    return Changed::signalled;
  }
  // Pending to active is in the table, but claim alone may make that move: it comes with a lease.
  if (change.to == State::active || !allowed(from, change.to)) return Changed::failed;

  if (change.release_key) rows_.release_key(*row);
  if (change.to == State::gone) {
    rows_.erase(*row);
    return Changed::changed;
  }
  rows_.edit(*row, [&](Row& edited) {
    Task& task = edited.task;
    task.state = change.to;
    task.reason = change.reason;
    if (change.fresh) task.retries = task.crashes = task.deferrals = 0;
    task.run_at.reset();
    task.ended_at.reset();
    edited.purge_at.reset();
    edited.place = now;
    if (change.to == State::scheduled) task.run_at = change.run_at.value_or(now);
    if (is_over(change.to)) {
      task.ended_at = now;
      if (change.keep) edited.purge_at = now + *change.keep;
    }
  });
  return Changed::changed;
}

std::vector<QueueInfo> MemoryStore::queues(const Call& call) {
  const std::lock_guard lock{mutex_};
  std::map<std::string, QueueInfo> infos;
  for (const auto& [name, line] : rows_.lines()) {
    if (!line.used) continue;
    infos[name].name = name;
    infos[name].paused = line.paused;
  }
  for (const auto& [place, row] : rows_.order()) {
    QueueInfo& info = infos[place.queue];
    ++info.counts[place.state];
    if (place.state == State::pending) info.oldest = std::max(info.oldest, call.now - row->place);
  }
  std::vector<QueueInfo> answer;
  for (auto& [name, info] : infos) answer.push_back(std::move(info));
  return answer;
}

void MemoryStore::pause(std::string_view queue, bool paused, const Call&) {
  const std::lock_guard lock{mutex_};
  rows_.line(queue).paused = paused;
  if (!paused) rows_.ring(queue);
  changed_.notify_all();
}

Changed MemoryStore::erase_queue(std::string_view queue, const Call&) {
  const std::lock_guard lock{mutex_};
  const auto line = rows_.lines().find(queue);
  if (line == rows_.lines().end() || !line->second.used) return Changed::absent;
  const auto first = rows_.order().lower_bound({.queue = std::string{queue}});
  if (first != rows_.order().end() && first->first.queue == queue) return Changed::wrong_state;
  rows_.line(queue).used = false;
  rows_.line(queue).paused = false;
  return Changed::changed;
}

std::vector<GroupInfo> MemoryStore::groups(std::string_view queue, std::string_view after, std::size_t limit,
                                           const Call&) {
  const std::lock_guard lock{mutex_};
  std::vector<GroupInfo> infos;
  for (const auto& [name, rows] : rows_.waiting(queue)) {
    if (name <= after) continue;
    if (infos.size() == limit) break;
    infos.push_back({name, rows.size(), rows.front()->place, rows.back()->place});
  }
  return infos;
}

std::vector<WorkerInfo> MemoryStore::workers(const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<WorkerInfo> infos;
  for (const auto& [id, member] : members_) {
    if (member.info && member.info->beat_at >= call.now - worker_alive) infos.push_back(*member.info);
  }
  return infos;
}

bool MemoryStore::signal(std::string_view worker, Signal signal, const Call&) {
  const std::lock_guard lock{mutex_};
  const auto member = members_.find(worker);
  if (member == members_.end() || !member->second.info) return false;
  member->second.signal = signal;
  ++member->second.signals;
  changed_.notify_all();
  return true;
}

std::vector<StoredSchedule> MemoryStore::schedules(std::optional<TimePoint> due_by, const Call&) {
  const std::lock_guard lock{mutex_};
  std::vector<StoredSchedule> answer;
  for (const auto& [id, schedule] : schedules_) {
    if (!due_by || (!schedule.paused && schedule.next <= *due_by)) answer.push_back(schedule);
  }
  return answer;
}

std::vector<bool> MemoryStore::put_schedules(std::span<const PutSchedule> puts, const Call&) {
  const std::lock_guard lock{mutex_};
  std::vector<bool> answers;
  for (const PutSchedule& put : puts) {
    const auto found = schedules_.find(put.schedule.id);
    const auto stored = found == schedules_.end() ? std::nullopt : std::optional{found->second.next};
    const bool expected = stored == put.expected_next;
    if (expected) schedules_[put.schedule.id] = put.schedule;
    answers.push_back(expected);
  }
  return answers;
}

std::size_t MemoryStore::erase_schedules(std::span<const std::string> ids, const Call&) {
  const std::lock_guard lock{mutex_};
  std::size_t count = 0;
  for (const std::string& id : ids) count += schedules_.erase(id);
  return count;
}

std::vector<Stat> MemoryStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                     const Call&) {
  const std::lock_guard lock{mutex_};
  std::vector<Stat> answer;
  for (auto at = stats_.lower_bound({span, from, {}, {}}); at != stats_.end(); ++at) {
    if (std::get<Span>(at->first) != span || at->second.at >= to) break;
    if (queue.empty() || at->second.queue == queue) answer.push_back(at->second);
  }
  return answer;
}

}  // namespace tidemill::memory
