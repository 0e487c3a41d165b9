// How attempts end.
#include <algorithm>

#include "core/transitions.hpp"
#include "stores/redis/go_text.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/lease.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

/// As long as Asynq keeps its day's counters.
constexpr auto day_counters_kept = 24h * 90;

/// A success that leaves nothing: what most reports are.
bool plain(const Report& report) {
  return report.to == State::gone && report.tally == Tally::success && report.then.empty();
}

std::string_view tally_of(const Report& report) {
  switch (report.tally) {
    case Tally::success:
      return "s";
    case Tally::failure:
    case Tally::crash:
      return "f";
    default:
      return "n";
  }
}

std::string lock_to_release(const Report& report) {
  const Task& task = report.lease->task;
  const bool releases = report.release_key || report.to == State::gone;
  return releases && task.unique && !task.unique->outlives_task ? lock_of(task) : std::string{};
}

/// The task as it is after the report.
Task ended(const Report& report, TimePoint now) {
  Task task = report.lease->task;
  task.attempt = report.attempt;
  task.retries = report.retries;
  task.crashes = report.crashes;
  task.deferrals = report.deferrals;
  task.reason = report.reason;
  task.run_at.reset();
  task.ended_at.reset();
  if (report.to == State::scheduled || report.to == State::retry) task.run_at = now + report.delay;
  if (is_over(report.to)) task.ended_at = now;
  return task;
}

std::string_view place_of(const Report& report) {
  switch (report.to) {
    case State::gone:
      return "gone";
    case State::pending:
      return report.front ? "front" : "pending";
    case State::held:
      return "scheduled";
    default:
      return to_string(report.to);
  }
}

std::string attempt_of(const Report& report, TimePoint now) {
  if (!report.record) return {};
  return write_attempt({.number = report.attempt,
                        .started_at = report.started_at,
                        .ended_at = now,
                        .worker = report.lease->task.worker,
                        .error = report.error,
                        .logs = report.logs});
}

/// What the script for plain successes wants to know of a lease.
class DoneToken {
 public:
  std::string of(const Report& report, const redis::Command& command) {
    const auto token = token_of(*report.lease);
    const std::size_t same = token.since.size() - token_digits;
    const std::string lock = lock_to_release(report);
    const bool as_before =
        command_ == &command && lock.empty() && last_.nonce == token.nonce &&
        last_.since.compare(0, last_.since.size() - token_digits, token.since, 0, same) == 0;
    command_ = &command;
    last_ = token;
    return as_before ? token.since.substr(same) : token.since + ':' + token.nonce + ':' + lock;
  }

 private:
  const redis::Command* command_ = nullptr;
  Token last_ = {};
};

/// The indices of those with a lease, by claim: what was claimed together stands together in Redis's list of
/// what is active, and leaves it together.
std::vector<std::size_t> by_claim(std::span<const Report> reports) {
  std::vector<std::size_t> order;
  order.reserve(reports.size());
  for (std::size_t i = 0; i < reports.size(); ++i)
    if (reports[i].lease != nullptr) order.push_back(i);
  std::ranges::stable_sort(order, {},
                           [&](std::size_t i) -> const std::string& { return reports[i].lease->token; });
  return order;
}

}  // namespace

void RedisStore::add_report(redis::Command& command, const Report& report, const Call& call) const {
  const Task task = ended(report, call.now);
  const auto token = token_of(*report.lease);
  const TimePoint goes = call.now + report.keep.value_or(0us);
  command.add(task.ref.id).add(token.since).add(token.nonce).add(tally_of(report)).add(place_of(report));
  std::int64_t score = 0;
  std::string exact;
  switch (report.to) {
    case State::held:
      score = held_score;
      break;
    case State::scheduled:
    case State::retry:
      score = seconds_up(*task.run_at);
      exact = exact_of(task.run_at);
      break;
    case State::completed:
      score = report.keep ? seconds_up(goes) : never_score;
      if (report.keep) exact = exact_of(goes);
      break;
    case State::archived:
      score = seconds_down(call.now);
      if (report.keep) exact = std::to_string(micros(goes));
      break;
    default:
      break;
  }
  command.add(score).add(exact);
  if (report.to == State::gone) {
    command.add("").add("").add("");
  } else {
    command.add(write_message(task, report, call.now)).add(write_history(task)).add(report.result);
  }
  command.add(lock_to_release(report)).add(report.to == State::gone ? "" : attempt_of(report, call.now));
  command.add(task.attempt > 0 || task.crashes > 0 ? "1" : "");
}

std::vector<Reported> RedisStore::report(std::span<const Report> reports, const Call& call) {
  std::vector<Reported> answers(reports.size(), Reported::failed);
  Batch batch{client_, call};
  std::size_t part = 0;
  DoneToken done_token;
  for (const std::size_t i : by_claim(reports)) {
    const Report& report = reports[i];
    if (!allowed(State::active, report.to)) continue;
    const Task& task = report.lease->task;
    const bool simple = plain(report);
    const redis::Script& wanted = simple ? done_script() : report_script();
    redis::Command& command = batch.take(i, task.ref.queue, wanted, [&] {
      auto begun = script(wanted, task.ref.queue, call, part++);
      begun.add(day_text(call.now)).add(seconds_up(call.now + day_counters_kept));
      if (!simple) begun.add(micros(call.now)).add(since_of(call.now));
      // One that a failover takes back would be accepted a second time, from the task's next run.
      begun.replicated();
      return begun;
    });
    if (simple) {
      command.add(task.ref.id).add(done_token.of(report, command));
    } else {
      add_report(command, report, call);
      add_following(command, report, call, part);
    }
  }
  const auto replies = batch.finish();
  for (std::size_t at = 0; at < batch.commands.size(); ++at) {
    const redis::Reply& reply = replies[at];
    for (std::size_t n = 0; n < batch.items[at].size(); ++n) {
      Reported& answer = answers[batch.items[at][n]];
      if (!reply.ok()) {
        answer = reply.kind == redis::Reply::Kind::lost ? Reported::unknown : Reported::failed;
        continue;
      }
      switch (reply.text.at(n)) {
        case 'a':
          answer = Reported::applied;
          break;
        case 'e':
          answer = Reported::ended;
          break;
        default:
          answer = Reported::lost;
          break;
      }
    }
  }
  return answers;
}

void RedisStore::add_following(redis::Command& command, const Report& report, const Call& call,
                               std::size_t& part) {
  const std::string& queue = report.lease->task.ref.queue;
  std::vector<Task> here;
  std::vector<Task> elsewhere;
  for (const Task& task : report.then) {
    if (!refusal(task).empty()) continue;
    (task.ref.queue == queue ? here : elsewhere).push_back(filled(task, call.now));
  }
  // Another queue may be on another node: its tasks go just before, if the lease still holds.
  if (!elsewhere.empty() && holds(*report.lease, call)) {
    std::vector<Incoming> incoming;
    for (const Task& task : elsewhere) incoming.push_back({.task = &task});
    put_tasks(incoming, call, part);
  }
  command.add(here.size());
  for (const Task& task : here) add_task(command, task, call.now, "");
}

bool RedisStore::holds(const Lease& lease, const Call& call) {
  const Ref& ref = lease.task.ref;
  auto command = redis::Command{"HMGET", task_key(ref.queue, ref.id)};
  const redis::Reply reply = ask(command.add("state").add("pending_since").add("w").reads(), call);
  const Token token = token_of(lease);
  return reply.items.at(0).text == "active" && reply.items.at(1).text == token.since &&
         reply.items.at(2).text.starts_with(token.nonce + ":");
}

}  // namespace tidemill::redis_store
