#include "stores/memory/rows.hpp"

#include <algorithm>

namespace tidemill::memory {

namespace {

constexpr TimePoint time_min = TimePoint::min();

/// What a waiting worker must look at again: there may be something to claim, or something is due sooner.
bool rings(State state) {
  return state == State::pending || state == State::scheduled || state == State::retry;
}

/// It waits in a group, and in no set.
bool waits_in_group(const Row& row) {
  return row.task.state == State::aggregating && row.set.empty() && !row.task.group.empty();
}

}  // namespace

Position position(const Row& row) {
  const Task& task = row.task;
  Position place{task.ref.queue, task.state, 0, row.place, row.sequence};
  if (task.state == State::pending) place.rank = -std::int64_t{task.priority};
  if (task.state == State::scheduled || task.state == State::retry)
    place.at = task.run_at.value_or(row.place);
  if (task.state == State::active) place.at = row.lease_end;
  if (!row.set.empty()) place.rank = 1;
  return place;
}

Row* Rows::find(const Ref& ref) {
  const auto found = rows_.find(ref);
  return found == rows_.end() ? nullptr : &found->second;
}

Row& Rows::insert(Row row) {
  row.sequence = ++sequence_;
  line(row.task.ref.queue).used = true;
  const Ref ref = row.task.ref;
  Row& stored = rows_.emplace(ref, std::move(row)).first->second;
  enter(stored);
  return stored;
}

void Rows::erase(Row& row) {
  release_key(row);
  leave(row);
  const Ref ref = row.task.ref;
  rows_.erase(ref);
}

void Rows::move(Row& row, const std::string& queue, TimePoint now) {
  leave(row);
  auto node = rows_.extract(row.task.ref);
  row.task.ref.queue = queue;
  row.place = now;
  if (row.task.state == State::pending) row.task.run_at.reset();
  node.key() = row.task.ref;
  rows_.insert(std::move(node));
  line(queue).used = true;
  enter(row);
}

void Rows::leave(const Row& row) {
  order_.erase(position(row));
  if (row.purge_at) purges_.erase({*row.purge_at, row.sequence});
  if (!waits_in_group(row)) return;
  const auto group = groups_.find({row.task.ref.queue, row.task.group});
  if (--group->second.size == 0) groups_.erase(group);
}

void Rows::enter(Row& row) {
  order_.emplace(position(row), &row);
  if (row.purge_at) purges_.emplace(std::pair{*row.purge_at, row.sequence}, &row);
  if (rings(row.task.state)) ring(row.task.ref.queue);
  if (waits_in_group(row)) ++groups_[{row.task.ref.queue, row.task.group}].size;
}

std::vector<Row*> Rows::past(States states, TimePoint now, std::size_t limit, std::string_view queue) {
  std::vector<Order::const_iterator> found;
  const auto collect = [&](const std::string& name, State state) {
    auto at = order_.lower_bound({name, state, 0, time_min, 0});
    for (std::size_t count = 0; count < limit && at != order_.end(); ++count, ++at) {
      const Position& place = at->first;
      if (place.queue != name || place.state != state || place.at > now) break;
      found.push_back(at);
    }
  };
  for (const auto& [name, line] : lines_) {
    if (!queue.empty() && name != queue) continue;
    for (const State state : {State::scheduled, State::active, State::retry}) {
      if (states.has(state)) collect(name, state);
    }
  }
  std::sort(found.begin(), found.end(), [](auto a, auto b) {
    return std::pair{a->first.at, a->first.sequence} < std::pair{b->first.at, b->first.sequence};
  });
  if (found.size() > limit) found.resize(limit);
  std::vector<Row*> rows;
  for (const auto at : found) rows.push_back(at->second);
  return rows;
}

std::vector<Row*> Rows::to_purge(TimePoint now, std::size_t limit) {
  std::vector<Row*> rows;
  for (const auto& [when, row] : purges_) {
    if (when.first > now || rows.size() == limit) break;
    rows.push_back(row);
  }
  return rows;
}

Row* Rows::front(std::string_view queue) {
  const auto first = order_.lower_bound({std::string{queue}, State::pending, INT64_MIN, time_min, 0});
  if (first == order_.end() || first->first.queue != queue || first->first.state != State::pending)
    return nullptr;
  return first->second;
}

std::optional<TimePoint> Rows::next_due(std::string_view queue) const {
  std::optional<TimePoint> next;
  for (const State state : {State::scheduled, State::retry}) {
    const auto first = order_.lower_bound({std::string{queue}, state, 0, time_min, 0});
    if (first == order_.end() || first->first.queue != queue || first->first.state != state) continue;
    next = next ? std::min(*next, first->first.at) : first->first.at;
  }
  return next;
}

Line& Rows::line(std::string_view queue) {
  const auto found = lines_.find(queue);
  return found != lines_.end() ? found->second : lines_[std::string{queue}];
}

bool Rows::paused(std::string_view queue) const {
  const auto found = lines_.find(queue);
  return found != lines_.end() && found->second.paused;
}

Group* Rows::group(std::string_view queue, std::string_view name) {
  const auto found = groups_.find({std::string{queue}, std::string{name}});
  return found == groups_.end() ? nullptr : &found->second;
}

std::map<std::string, std::vector<Row*>> Rows::waiting(std::string_view queue) const {
  std::map<std::string, std::vector<Row*>> groups;
  auto at = order_.lower_bound({std::string{queue}, State::aggregating, 0, time_min, 0});
  for (; at != order_.end(); ++at) {
    if (at->first.queue != queue || at->first.state != State::aggregating) break;
    if (waits_in_group(*at->second)) groups[at->second->task.group].push_back(at->second);
  }
  return groups;
}

std::vector<Row*> Rows::in_set(std::string_view queue, std::string_view token) const {
  std::vector<Row*> rows;
  auto at = order_.lower_bound({std::string{queue}, State::aggregating, 1, time_min, 0});
  for (; at != order_.end(); ++at) {
    if (at->first.queue != queue || at->first.state != State::aggregating) break;
    if (at->second->set == token) rows.push_back(at->second);
  }
  return rows;
}

const Key* Rows::holder(std::string_view queue, std::string_view key, TimePoint now) const {
  const auto found = keys_.find({std::string{queue}, std::string{key}});
  if (found == keys_.end()) return nullptr;
  return !found->second.until || *found->second.until > now ? &found->second : nullptr;
}

void Rows::take_key(const Row& row, TimePoint now) {
  const Unique& unique = *row.task.unique;
  Key key{row.task.ref.id, row.sequence, {}, unique.outlives_task};
  if (unique.window > Duration::zero()) key.until = now + unique.window;
  keys_[{row.task.ref.queue, unique.key}] = std::move(key);
}

void Rows::release_key(const Row& row) {
  if (!row.task.unique) return;
  const auto found = keys_.find({row.task.ref.queue, row.task.unique->key});
  if (found == keys_.end() || found->second.sequence != row.sequence || found->second.outlives_task) return;
  keys_.erase(found);
}

bool Rows::holds_key(const Row& row, TimePoint now) const {
  if (!row.task.unique) return false;
  const Key* key = holder(row.task.ref.queue, row.task.unique->key, now);
  return key != nullptr && key->sequence == row.sequence;
}

bool Rows::pass_key(const Row& row, const std::string& queue, const std::string& key, TimePoint now) {
  const Key* const other = holder(queue, key, now);
  if (other != nullptr) return other->sequence == row.sequence;
  auto node = keys_.extract({row.task.ref.queue, row.task.unique->key});
  node.key() = {queue, key};
  keys_.erase(node.key());  // One whose window has ended.
  keys_.insert(std::move(node));
  return true;
}

void Rows::purge_keys(TimePoint now) {
  std::erase_if(keys_, [&](const auto& entry) {
    const auto& [name, key] = entry;
    if (!key.until || *key.until > now) return false;
    const Row* row = find({name.first, key.holder});
    return row == nullptr || row->sequence != key.sequence;
  });
}

}  // namespace tidemill::memory
