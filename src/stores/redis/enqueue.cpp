// How tasks come in.
#include <algorithm>
#include <deque>
#include <iterator>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/utf8.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

/// The name of a text that Go could not read; empty when there is none.
std::string_view unreadable(const Task& task) {
  if (!is_utf8(task.ref.id)) return "id";
  if (!is_utf8(task.kind)) return "kind";
  if (!is_utf8(task.group)) return "group";
  const bool good = std::ranges::all_of(
      task.headers, [](const auto& header) { return is_utf8(header.first) && is_utf8(header.second); });
  return good ? "" : "headers";
}

/// Asynq's three fields are enough for it.
bool plain(const Task& task, TimePoint now) {
  return task.state == State::pending && !task.unique && task.priority <= 0 && task.retries == 0 &&
         write_extras(task).empty() && write_created(task.ref.id, task.created_at.value_or(now)).empty();
}

std::string_view place_of(const Task& task) {
  switch (task.state) {
    case State::pending:
      return task.priority > 0 ? "front" : "pending";
    case State::aggregating:
      return "aggregating";
    default:
      return "scheduled";
  }
}

std::string score_of(const Task& task, TimePoint now) {
  switch (task.state) {
    case State::aggregating:
      return std::to_string(seconds_down(now));
    case State::scheduled:
      return std::to_string(seconds_up(*task.run_at));
    default:
      return std::to_string(held_score);
  }
}

}  // namespace

std::string RedisStore::refusal(const Task& task) const {
  if (std::string fault = rules::fault_of(task, capabilities_.task_bytes_max); !fault.empty()) return fault;
  const std::string_view text = unreadable(task);
  if (!text.empty()) return fmt::format("the {} must be UTF-8, as Asynq's messages are", text);
  return refusal_of_queue(task.ref.queue);
}

std::string RedisStore::refusal_of_queue(std::string_view queue) {
  if (!is_utf8(queue)) return "the queue must be UTF-8, as Asynq's messages are";
  if (queue.find_first_of("{}") != queue.npos || queue.find_first_not_of(' ') == queue.npos) {
    return fmt::format("the queue's name \"{}\" is blank or has a brace; Redis keys can't have such", queue);
  }
  return {};
}

Task RedisStore::filled(const Task& given, TimePoint now) {
  Task task = given;
  // A task that comes in has no history, whatever its struct says.
  task.attempt = task.retries = task.crashes = task.deferrals = 0;
  task.result = task.error = task.reason = task.progress = task.worker = {};
  task.started_at = task.ended_at = {};
  task.created_at = given.created_at.value_or(now);
  task.run_at.reset();
  if (given.state == State::scheduled) task.run_at = given.run_at.value_or(now + given.delay);
  return task;
}

Enqueued RedisStore::to_answer(const std::string& verdict, const Task& task) {
  std::string id = verdict.substr(1);
  switch (verdict.at(0)) {
    case 'c':
      return {Put::created, task.ref.id, {}};
    case 'r': {
      std::string why = fmt::format("task {} held the unique key and was overwritten", id);
      return {Put::replaced, std::move(id), std::move(why)};
    }
    case 'b': {
      std::string why = fmt::format("task {} has started", id);
      return {Put::busy, std::move(id), std::move(why)};
    }
    default: {
      std::string why = id == task.ref.id ? "a task with this id is in the queue"
                                          : fmt::format("task {} holds the unique key", id);
      return {Put::exists, std::move(id), std::move(why)};
    }
  }
}

void RedisStore::add_task(redis::Command& command, const Task& task, TimePoint now,
                          std::string_view over) const {
  Task written = task;
  if (!over.empty()) written.ref.id = over;
  command.add(task.ref.id).add(write_message(written)).add(write_extras(task));
  command.add(write_history(task)).add(write_created(task.ref.id, *task.created_at));
  command.add(place_of(task)).add(score_of(task, now));
  command.add(exact_of(task.run_at));
  command.add(task.group).add(task.priority > 0 ? "1" : "");
  if (!task.unique) {
    command.add("").add("").add("").add("k").add("");
    return;
  }
  const Unique& unique = *task.unique;
  const bool windowed = unique.window > Duration::zero();
  command.add(lock_of(task));
  command.add(windowed ? std::to_string(micros(now + unique.window)) : "");
  command.add(windowed ? std::to_string(std::chrono::ceil<std::chrono::seconds>(unique.window).count()) : "");
  command.add(fmt::format("{}{}", unique.on_conflict == OnConflict::replace ? 'r' : 'k',
                          unique.outlives_task ? "o" : ""));
  command.add(over);
}

std::vector<Enqueued> RedisStore::put_tasks(const std::vector<Incoming>& tasks, const Call& call,
                                            std::size_t& part) {
  std::vector<Enqueued> answers(tasks.size());
  std::vector<std::string> over(tasks.size());
  std::vector<std::size_t> left(tasks.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  for (int round = 0; !left.empty() && round < replaces_max; ++round) {
    Batch batch{client_, call};
    for (const std::size_t i : left) {
      const Task& task = *tasks[i].task;
      const bool simple = tasks[i].plain;
      const redis::Script& wanted = simple ? enqueue_plain_script() : enqueue_script();
      redis::Command& command = batch.take(i, task.ref.queue, wanted, [&] {
        auto begun = script(wanted, task.ref.queue, call, part++);
        if (!simple) begun.add(micros(call.now));
        begun.add(since_of(call.now));
        return begun;
      });
      if (simple) {
        command.add(task.ref.id).add(write_message(task));
      } else {
        add_task(command, task, call.now, over[i]);
      }
    }
    std::vector<std::string_view> queues;
    for (const auto& [queue, ignored] : batch.open) queues.push_back(queue);
    const std::size_t scripts = batch.commands.size();
    std::ranges::move(name_queues(queues), std::back_inserter(batch.commands));
    const auto replies = batch.finish();
    for (std::size_t at = scripts; at < replies.size(); ++at) {
      if (!replies[at].ok()) forget_names(queues);
    }
    left.clear();
    for (std::size_t at = 0; at < scripts; ++at) {
      const redis::Reply& reply = replies[at];
      for (std::size_t n = 0; n < batch.items[at].size(); ++n) {
        const std::size_t i = batch.items[at][n];
        if (!reply.ok()) {
          const bool lost = reply.kind == redis::Reply::Kind::lost;
          answers[i] = {lost ? Put::unknown : Put::failed, tasks[i].task->ref.id, trouble(reply)};
          continue;
        }
        const std::string& verdict = reply.items.at(n).text;
        answers[i] = to_answer(verdict, *tasks[i].task);
        if (verdict[0] != 'x') continue;
        over[i] = verdict.substr(1);
        left.push_back(i);
      }
    }
    std::ranges::sort(left);
  }
  return answers;
}

std::vector<Enqueued> RedisStore::enqueue(std::span<const Task> tasks, const Call& call,
                                          Transaction* inside) {
  if (inside != nullptr) {
    throw Error{ErrorKind::unsupported, capabilities_.limits.at(Feature::inside).text};
  }
  std::vector<Enqueued> answers(tasks.size());
  std::vector<Incoming> good;
  std::deque<Task> made;  // Those of which something was to be filled in.
  std::vector<std::size_t> places;
  good.reserve(tasks.size());
  places.reserve(tasks.size());
  std::size_t part = 0;
  // Runs of tasks without a firing go together; order is kept.
  const auto flush = [&] {
    auto put = put_tasks(good, call, part);
    for (std::size_t i = 0; i < put.size(); ++i) answers[places[i]] = std::move(put[i]);
    good.clear();
    made.clear();
    places.clear();
  };
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Task& task = tasks[i];
    if (std::string why = refusal(task); !why.empty()) {
      answers[i] = {Put::invalid, {}, std::move(why)};
      continue;
    }
    if (task.firing) {
      flush();
      answers[i] = fire(filled(task, call.now), call, part);
      continue;
    }
    const bool simple = plain(task, call.now);
    good.push_back({simple ? &task : &made.emplace_back(filled(task, call.now)), simple});
    places.push_back(i);
  }
  flush();
  return answers;
}

}  // namespace tidemill::redis_store
