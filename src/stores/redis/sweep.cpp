// Dead workers' leases, due tasks, and what has been kept long enough.
#include <algorithm>
#include <deque>
#include <optional>
#include <set>

#include <tidemill/error.hpp>

#include "stores/redis/keys.hpp"
#include "stores/redis/lease.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/statistics.hpp"
#include "stores/redis/store_impl.hpp"
#include "stores/redis/workers.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

constexpr auto silent_max = 1h;
constexpr std::size_t swept_values = 6;

}  // namespace

redis::Command RedisStore::sweep_command(std::string_view queue, std::string_view worker, Duration length,
                                         std::size_t most, const Call& call, std::size_t part) const {
  const Ticket ticket = make_tickets(call.now, 1).front();
  auto command = script(sweep_script(), queue, call, part);
  command.add(micros(call.now)).add(seconds_up(call.now + length)).add(ticket.digits);
  command.add(write_holder({ticket.nonce, {}, std::string{worker}})).add(most).add(most).add(most);
  command.add(archive_max_);
  return command;
}

bool RedisStore::take_swept(const redis::Reply& reply, std::string_view queue, Duration length,
                            std::size_t most, const Call& call, Swept& into) {
  std::size_t taken = 0;
  for (std::size_t at = 2; at + swept_values <= reply.items.size(); at += swept_values, ++taken) {
    const auto values = std::span{reply.items}.subspan(at);
    auto lease = read_lease(values, queue, values[3].text, length);
    if (!lease) {
      bury(queue, values[0].text, call);
      continue;
    }
    const Holder dead = read_holder(values[4].text);
    lease->task.worker = dead.worker;
    lease->task.started_at = dead.started_at;
    lease->started = !values[5].text.empty();
    into.taken.push_back(std::move(*lease));
  }
  const auto promoted = static_cast<std::size_t>(reply.items[0].integer);
  const auto purged = static_cast<std::size_t>(reply.items[1].integer);
  into.promoted += promoted;
  into.purged += purged;
  return taken == most || promoted == most || purged == most;
}

std::set<std::string> RedisStore::queues_to_sweep(const Call& call, std::optional<redis::Reply>& trouble) {
  // A queue that was deleted may have statistics still.
  const auto lists = exec({counted_queues_command(), queues_command()}, share_of(call, 3));
  std::set<std::string> queues;
  for (const redis::Reply& names : lists) {
    if (!names.ok()) trouble = names;
    for (const redis::Reply& item : names.items) queues.insert(item.text);
  }
  const std::lock_guard guard{mutex_};
  if (trouble) {
    // A node that has a list is away, and queues of the others must be swept all the same.
    queues.insert(swept_.begin(), swept_.end());
  } else {
    swept_ = queues;
  }
  return queues;
}

Swept RedisStore::sweep(std::string_view worker, Duration length, std::size_t limit, const Call& call) {
  Swept answer;
  std::optional<redis::Reply> trouble;
  const std::set<std::string> queues = queues_to_sweep(call, trouble);
  // By steps that a script may take, of many queues at once, until none has more or the limit is reached.
  std::deque<std::string> left(queues.begin(), queues.end());
  std::size_t part = 0;
  while (!left.empty()) {
    const std::size_t room = limit - std::max({answer.taken.size(), answer.promoted, answer.purged});
    if (room == 0) break;
    const std::size_t most = std::min(script_tasks, room);
    const auto end = left.begin() + static_cast<std::ptrdiff_t>(std::min(room / most, left.size()));
    const std::vector<std::string> now(left.begin(), end);
    left.erase(left.begin(), end);
    std::vector<redis::Command> commands;
    for (const std::string& queue : now)
      commands.push_back(sweep_command(queue, worker, length, most, call, part++));
    // One node of a cluster may be away: that leaves time for the others.
    const auto replies = exec(commands, share_of(call, 2));
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (!replies[i].ok()) {
        trouble = replies[i];
      } else if (take_swept(replies[i], now[i], length, most, call, answer)) {
        left.push_back(now[i]);
      }
    }
  }
  // What was taken from some queues is not given up because others are in trouble: that comes up again.
  if (trouble && answer.taken.empty()) checked(*trouble);
  std::size_t locks = 0;
  std::size_t documents = 0;
  try {
    exec({forget_command(call.now - silent_max)}, share_of(call, 3));
    locks = locks_.purge(limit, share_of(call, 2));
    documents = documents_.purge(limit, call);
  } catch (const Error&) {
    if (answer.taken.empty()) throw;
  }
  answer.more = !left.empty() || locks >= limit || documents >= limit;
  return answer;
}

}  // namespace tidemill::redis_store
