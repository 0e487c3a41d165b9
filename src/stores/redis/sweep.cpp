// Dead workers' leases, due tasks, and what has been kept long enough.
#include <algorithm>
#include <set>

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
constexpr std::size_t swept_values = 9;

}  // namespace

Swept RedisStore::sweep(std::string_view worker, Duration length, std::size_t limit, const Call& call) {
  Swept answer;
  std::size_t part = 0;
  // A queue that was deleted may have statistics still.
  std::set<std::string> queues;
  for (const redis::Reply& item : ask(counted_queues_command(), call).items) queues.insert(item.text);
  for (std::string& name : queue_names(call)) queues.insert(std::move(name));
  for (const std::string& queue : queues) {
    // By steps that a script may take, until this queue has no more or the limit is reached.
    for (bool more = true; more;) {
      const std::size_t leases = std::min(script_tasks, limit - answer.taken.size());
      const std::size_t due = std::min(script_tasks, limit - answer.promoted);
      const std::size_t ended = std::min(script_tasks, limit - answer.purged);
      const Ticket ticket = make_ticket(call.now);
      auto command = script(sweep_script(), queue, call, part++);
      command.add(micros(call.now)).add(seconds_up(call.now + length)).add(ticket.digits);
      command.add(write_holder({ticket.nonce, {}, std::string{worker}})).add(leases).add(due).add(ended);
      const redis::Reply reply = ask(command, call);
      std::size_t taken = 0;
      for (std::size_t at = 2; at + swept_values <= reply.items.size(); at += swept_values, ++taken) {
        auto lease = read_lease(reply, at, queue, length);
        if (!lease) {
          bury(queue, reply.items[at].text, call);
          continue;
        }
        const Holder dead = read_holder(reply.items[at + 7].text);
        lease->task.worker = dead.worker;
        lease->task.started_at = dead.started_at;
        lease->started = !reply.items[at + 8].text.empty();
        answer.taken.push_back(std::move(*lease));
      }
      const auto promoted = static_cast<std::size_t>(reply.items[0].integer);
      const auto purged = static_cast<std::size_t>(reply.items[1].integer);
      answer.promoted += promoted;
      answer.purged += purged;
      const bool full = answer.taken.size() >= limit || answer.promoted >= limit || answer.purged >= limit;
      more = !full && (taken == leases || promoted == due || purged == ended);
    }
  }
  exec({forget_command(call.now - silent_max)}, call);
  const std::size_t locks = locks_.purge(limit, call);
  const std::size_t documents = documents_.purge(limit, call);
  answer.more = answer.taken.size() >= limit || answer.promoted >= limit || answer.purged >= limit ||
                locks >= limit || documents >= limit;
  return answer;
}

}  // namespace tidemill::redis_store
