// Lists of tasks, and single ones.
#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/filter.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// Ids in one round trip.
constexpr std::size_t page_tasks = 100;
constexpr std::array states_in_order = {State::scheduled,   State::pending,   State::active,
                                        State::retry,       State::completed, State::archived,
                                        State::aggregating, State::held,      State::blocked};

/// Where a page goes on: so many places into a state's own order.
struct Cursor {
  int state = 0;
  std::int64_t place = 0;
  std::string queue = {};
};

std::string to_text(const Cursor& cursor) {
  return fmt::format("{}:{}:{}", cursor.state, cursor.place, cursor.queue);
}

Cursor from_text(std::string_view text) {
  const auto bad = [&] {
    return Error{ErrorKind::invalid, fmt::format("\"{}\" is no cursor; take Page::next as it is", text)};
  };
  std::array<std::int64_t, 2> numbers{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::int64_t& number : numbers) {
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc{} || stop == end || *stop != ':' || number < 0) throw bad();
    at = stop + 1;
  }
  if (numbers[0] >= static_cast<std::int64_t>(state_count)) throw bad();
  return {static_cast<int>(numbers[0]), numbers[1], {at, end}};
}

}  // namespace

std::vector<std::string> RedisStore::queue_names(const Call& call) {
  auto command = redis::Command{"SMEMBERS", queues_key};
  const redis::Reply reply = ask(command.reads(), call);
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
    // Go holds it; our holder is one of before.
    if (one.state == "active" && one.since.empty()) one.w.clear();
    const std::string& lock = items.at(8).nil() ? items.at(9).text : items.at(8).text;
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

std::vector<std::string> RedisStore::ids_at(std::string_view queue, State state, std::int64_t place,
                                            std::size_t count, const Call& call) {
  const std::string prefix = queue_prefix(queue);
  const auto last = place + static_cast<std::int64_t>(count) - 1;
  const auto range = [&](const std::string& key) {
    return std::move(redis::Command{"ZRANGE", key}.add(place).add(last).reads());
  };
  const auto scored = [&](std::string_view from, std::string_view to) {
    return std::move(redis::Command{"ZRANGEBYSCORE", prefix + "scheduled"}
                         .add(from)
                         .add(to)
                         .add("LIMIT")
                         .add(place)
                         .add(static_cast<std::int64_t>(count))
                         .reads());
  };
  std::vector<std::string> ids;
  const auto take = [&](const redis::Reply& reply) {
    for (const redis::Reply& item : reply.items) ids.push_back(item.text);
  };
  const std::string held = std::to_string(held_score);
  const std::string blocked = std::to_string(blocked_score);
  switch (state) {
    case State::pending: {
      take(ask(redis::Command{"LRANGE", prefix + "pending"}.add(-1 - last).add(-1 - place).reads(), call));
      std::ranges::reverse(ids);
      break;
    }
    case State::scheduled:
      take(ask(scored("-inf", "(" + held), call));
      break;
    case State::held:
      take(ask(scored(held, held), call));
      break;
    case State::blocked:
      take(ask(scored(blocked, blocked), call));
      break;
    case State::active:
      take(ask(range(prefix + "lease"), call));
      break;
    case State::aggregating: {
      const redis::Reply groups = ask(redis::Command{"SMEMBERS", prefix + "groups"}.reads(), call);
      std::vector<std::string> names;
      for (const redis::Reply& item : groups.items) names.push_back(item.text);
      std::ranges::sort(names);
      std::int64_t skip = place;
      for (const std::string& name : names) {
        const std::string key = prefix + "g:" + name;
        const std::int64_t size = ask(redis::Command{"ZCARD", key}.reads(), call).integer;
        if (skip < size && ids.size() < count) {
          const auto to = skip + static_cast<std::int64_t>(count - ids.size()) - 1;
          take(ask(redis::Command{"ZRANGE", key}.add(skip).add(to).reads(), call));
        }
        skip = std::max<std::int64_t>(0, skip - size);
      }
      break;
    }
    default:
      take(ask(range(prefix + std::string{to_string(state)}), call));
      break;
  }
  return ids;
}

Page RedisStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                      const Call& call) {
  const auto began = std::chrono::steady_clock::now();
  Cursor at;
  if (!cursor.empty()) at = from_text(cursor);
  std::vector<std::string> queues = filter.queue.empty() ? queue_names(call) : std::vector{filter.queue};
  std::erase_if(queues, [&](const std::string& queue) { return !cursor.empty() && queue < at.queue; });

  Page page;
  for (const std::string& queue : queues) {
    for (const State state : states_in_order) {
      if (!filter.states.has(state)) continue;
      const int number = static_cast<int>(state);
      std::int64_t place = 0;
      if (!cursor.empty() && queue == at.queue) {
        if (number < at.state) continue;
        if (number == at.state) place = at.place;
      }
      while (true) {
        const auto ids = ids_at(queue, state, place, page_tasks, call);
        std::vector<Ref> refs;
        for (const std::string& id : ids) refs.push_back({queue, id});
        const auto tasks = get(refs, call);
        for (std::size_t i = 0; i < tasks.size(); ++i) {
          if (page.tasks.size() == limit) {
            page.next = to_text({number, place + static_cast<std::int64_t>(i), queue});
            return page;
          }
          // One that has left this state meanwhile is seen where it is now.
          if (tasks[i] && tasks[i]->state == state && matches(filter, *tasks[i]))
            page.tasks.push_back(*tasks[i]);
        }
        place += static_cast<std::int64_t>(ids.size());
        if (ids.size() < page_tasks) break;
        if (std::chrono::steady_clock::now() - began >= budget) {
          page.complete = false;
          page.next = to_text({number, place, queue});
          return page;
        }
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
