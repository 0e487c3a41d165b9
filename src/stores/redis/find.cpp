// Lists of tasks, and single ones.
#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/filter.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// Ids in one round trip.
constexpr std::size_t page_tasks = 100;
constexpr std::array states_in_order = {State::scheduled,   State::pending,   State::active,
                                        State::retry,       State::completed, State::archived,
                                        State::aggregating, State::held,      State::blocked};

/// Where a page goes on: with this task, or where it would stand if it is gone. Tasks before it may come and
/// go meanwhile.
struct Cursor {
  int state = 0;
  std::string queue = {};
  std::string group = {};
  Spot spot = {};
};

std::string to_text(const Cursor& cursor) {
  std::string text = std::to_string(cursor.state);
  for (const std::string* part : {&cursor.queue, &cursor.group, &cursor.spot.score})
    text += fmt::format(":{}:{}", part->size(), *part);
  return text + ":" + cursor.spot.id;
}

Cursor from_text(std::string_view text) {
  const auto bad = [&] {
    return Error{ErrorKind::invalid,
                 fmt::format("\"{}\" is no cursor; take the one that the page before gave, as it is", text)};
  };
  std::string_view rest = text;
  const auto number = [&](std::size_t most) {
    std::size_t value = 0;
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc{} || value > most) throw bad();
    rest.remove_prefix(static_cast<std::size_t>(stop - rest.data()));
    return value;
  };
  const auto colon = [&] {
    if (!rest.starts_with(':')) throw bad();
    rest.remove_prefix(1);
  };
  Cursor cursor{.state = static_cast<int>(number(state_count - 1))};
  for (std::string* part : {&cursor.queue, &cursor.group, &cursor.spot.score}) {
    colon();
    const std::size_t size = number(text.size());
    colon();
    if (size > rest.size()) throw bad();
    part->assign(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  colon();
  cursor.spot.id.assign(rest);
  const std::string& score = cursor.spot.score;
  if (score.find_first_not_of("0123456789.e+-inf") != score.npos) throw bad();
  return cursor;
}

}  // namespace

redis::Command RedisStore::queues_command() {
  return std::move(redis::Command{"SMEMBERS", queues_key}.reads());
}

std::vector<std::string> RedisStore::queue_names(const Call& call) {
  const redis::Reply reply = ask(queues_command(), call);
  std::vector<std::string> names;
  for (const redis::Reply& item : reply.items) names.push_back(item.text);
  std::ranges::sort(names);
  return names;
}

std::vector<RedisStore::Seen> RedisStore::look(std::span<const Ref> refs, const Call& call) {
  std::vector<redis::Command> commands;
  for (const Ref& ref : refs) {
    commands.push_back(std::move(redis::Command{"HMGET", task_key(ref.queue, ref.id)}
                                     .add("msg")
                                     .add("x")
                                     .add("y")
                                     .add("c")
                                     .add("w")
                                     .add("state")
                                     .add("result")
                                     .add("p")
                                     .add("unique_key")
                                     .add("k")
                                     .add("pending_since")
                                     .add("v")
                                     .reads()));
  }
  const auto replies = exec(commands, call);
  std::vector<Fields> fields(refs.size());
  std::vector<redis::Command> more;
  std::vector<std::size_t> locks;
  std::vector<std::size_t> scores;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const auto& items = checked(replies[i]).items;
    Fields& one = fields[i];
    one.msg = items.at(0).text;
    one.x = items.at(1).text;
    one.y = items.at(2).text;
    one.c = items.at(3).text;
    one.w = items.at(4).text;
    one.state = items.at(5).text;
    one.result = items.at(6).text;
    one.progress = items.at(7).text;
    one.since = items.at(10).text;
    one.v = items.at(11).text;
    // Go holds it; our holder is one of before.
    if (one.state == "active" && one.since.empty()) one.w.clear();
    std::string lock = items.at(8).nil() ? items.at(9).text : items.at(8).text;
    // Go's client names the lock of a group's task in its message alone.
    if (lock.empty() && one.state == "aggregating") {
      if (auto message = decode_task(one.msg)) lock = std::move(message->unique_key);
    }
    if (!lock.empty()) {
      locks.push_back(i);
      more.push_back(std::move(redis::Command{"GET", lock}.reads()));
      more.push_back(
          std::move(redis::Command{"ZSCORE", queue_prefix(refs[i].queue) + "x:keys"}.add(lock).reads()));
    }
  }
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (fields[i].state != "scheduled" && fields[i].state != "retry") continue;
    scores.push_back(i);
    more.push_back(std::move(
        redis::Command{"ZSCORE", queue_prefix(refs[i].queue) + fields[i].state}.add(refs[i].id).reads()));
  }
  const auto answers = exec(more, call);
  std::size_t at = 0;
  for (const std::size_t i : locks) {
    const bool holds = checked(answers[at++]).text == refs[i].id;
    const redis::Reply& until = checked(answers[at++]);
    fields[i].holds_lock = holds && (until.nil() || to_number(until.text) > micros(call.now));
  }
  for (const std::size_t i : scores)
    fields[i].score = static_cast<double>(to_number(checked(answers[at++]).text));

  std::vector<Seen> seen;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    auto task = fields[i].msg.empty() ? std::nullopt : read_task(fields[i]);
    if (task) {
      task->ref = refs[i];
      if (task->state != State::scheduled && task->state != State::retry) task->run_at.reset();
    }
    seen.push_back({std::move(fields[i]), std::move(task)});
  }
  return seen;
}

std::vector<std::optional<Task>> RedisStore::get(std::span<const Ref> refs, const Call& call) {
  std::vector<std::optional<Task>> tasks;
  for (Seen& each : look(refs, call)) tasks.push_back(std::move(each.task));
  return tasks;
}

std::vector<Spot> RedisStore::spots(std::string_view queue, State state, std::string_view group,
                                    const Spot& from, std::size_t count, const Call& call) {
  std::string set{to_string(state)};
  std::string least = "-inf";
  std::string most = "+inf";
  switch (state) {
    case State::pending:
      least.clear();
      break;
    case State::scheduled:
      most = std::to_string(held_score - 1);
      break;
    case State::held:
      set = "scheduled";
      least = most = std::to_string(held_score);
      break;
    case State::blocked:
      set = "scheduled";
      least = most = std::to_string(blocked_score);
      break;
    case State::active:
      set = "lease";
      break;
    case State::aggregating:
      set = fmt::format("g:{}", group);
      break;
    default:
      break;
  }
  redis::Command command{page_script(), pending_key(queue)};
  command.add("").add("").add(set).add(from.score.empty() ? least : from.score).add(from.id);
  const redis::Reply reply = ask(command.add(most).add(count).reads(), call);
  std::vector<Spot> spots;
  for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2)
    spots.push_back({reply.items[i].text, reply.items[i + 1].text});
  return spots;
}

std::vector<std::string> RedisStore::group_names(std::string_view queue, const Call& call) {
  const std::string prefix = queue_prefix(queue);
  const auto replies =
      exec({std::move(redis::Command{"SMEMBERS", prefix + "groups"}.reads()),
            std::move(redis::Command{"ZRANGE", prefix + "aggregation_sets"}.add(0).add(-1).reads())},
           call);
  std::set<std::string> names;
  for (const redis::Reply& item : checked(replies[0]).items) names.insert(item.text);
  for (const redis::Reply& item : checked(replies[1]).items) {
    if (item.text.starts_with(prefix + "g:")) names.insert(item.text.substr(prefix.size() + 2));
  }
  return {names.begin(), names.end()};
}

Page RedisStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                      const Call& call) {
  const auto began = std::chrono::steady_clock::now();
  Cursor at;
  if (!cursor.empty()) at = from_text(cursor);
  std::vector<std::string> queues = filter.queue.empty() ? queue_names(call) : std::vector{filter.queue};
  std::erase_if(queues, [&](const std::string& queue) { return !cursor.empty() && queue < at.queue; });

  Page page;
  // All of one order, from a spot on. False when the page ends there.
  const auto take = [&](Cursor here) {
    const auto state = static_cast<State>(here.state);
    while (true) {
      // One more than is looked at: there the next page begins.
      auto found = spots(here.queue, state, here.group, here.spot, page_tasks + 1, call);
      const bool more = found.size() > page_tasks;
      std::vector<Ref> refs;
      for (std::size_t i = 0; i < found.size() - (more ? 1 : 0); ++i)
        refs.push_back({here.queue, found[i].id});
      const auto tasks = get(refs, call);
      for (std::size_t i = 0; i < tasks.size(); ++i) {
        if (page.tasks.size() == limit) {
          here.spot = std::move(found[i]);
          page.next = to_text(here);
          return false;
        }
        // One that has left this state meanwhile is seen where it is now.
        if (tasks[i] && tasks[i]->state == state && matches(filter, *tasks[i]))
          page.tasks.push_back(*tasks[i]);
      }
      if (!more) return true;
      here.spot = std::move(found.back());
      if (std::chrono::steady_clock::now() - began < budget) continue;
      page.complete = false;
      page.next = to_text(here);
      return false;
    }
  };
  for (const std::string& queue : queues) {
    for (const State state : states_in_order) {
      const int number = static_cast<int>(state);
      const bool going_on = !cursor.empty() && queue == at.queue && number <= at.state;
      if (!filter.states.has(state) || (going_on && number < at.state)) continue;
      const auto groups =
          state == State::aggregating ? group_names(queue, call) : std::vector<std::string>{""};
      for (const std::string& group : groups) {
        if (going_on && group < at.group) continue;
        const Spot from = going_on && group == at.group ? at.spot : Spot{};
        if (!take({number, queue, group, from})) return page;
      }
    }
  }
  return page;
}

std::vector<Attempt> RedisStore::attempts(const Ref& ref, const Call& call) {
  const redis::Reply all = ask(redis::Command{"HGETALL", task_key(ref.queue, ref.id)}.reads(), call);
  std::map<std::int64_t, std::pair<std::string_view, std::string_view>> kept;  // By number: attempt, lines.
  for (std::size_t i = 0; i + 1 < all.items.size(); i += 2) {
    const std::string_view field = all.items[i].text;
    const std::string_view value = all.items[i + 1].text;
    if (field.starts_with("a:")) kept[to_number(field.substr(2))].first = value;
    if (field.starts_with("al:")) kept[to_number(field.substr(3))].second = value;
  }
  std::vector<Attempt> attempts;
  for (const auto& [number, parts] : kept) attempts.push_back(read_attempt(parts.first, parts.second));
  return attempts;
}

}  // namespace tidemill::redis_store
