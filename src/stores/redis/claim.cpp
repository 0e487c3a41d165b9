// Who gets which task.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/lease.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// How many due tasks one script makes pending: twice what it leases, so that a backlog that falls due at
/// once gets ready faster than it is taken.
constexpr std::int64_t promoted_tasks = 100;
/// Where the first lease begins in a script's answer, and how many values each has.
constexpr std::size_t first_lease = 3;
constexpr std::size_t lease_values = 3;

std::optional<Token> parse_token(std::string_view text) {
  const std::size_t colon = text.find_first_not_of("0123456789");
  if (colon == text.npos || colon <= token_digits || text[colon] != ':') return {};
  if (text.find(':', colon + 1) != text.npos) return {};
  return Token{std::string{text.substr(0, colon)}, std::string{text.substr(colon + 1)}};
}

}  // namespace

Token token_of(const Lease& lease) {
  return parse_token(lease.token).value_or(Token{.since = "0000", .nonce = "-"});
}

std::vector<Ticket> make_tickets(TimePoint now, std::size_t count) {
  // Of the nanoseconds that Go expects here the microseconds' last ten bits are random, and the last three
  // digits count.
  const auto micro =
      (static_cast<std::uint64_t>(micros(now)) & ~std::uint64_t{0x3ff}) | (random_bits() & 0x3ffU);
  std::vector<Ticket> tickets;
  for (std::size_t i = 0; i < count; ++i)
    tickets.push_back({fmt::format("{:016x}", random_bits()), std::to_string(micro + i)});
  return tickets;
}

std::optional<Lease> read_lease(std::span<const redis::Reply> values, std::string_view queue,
                                std::string token, Duration length) {
  Fields fields;
  fields.msg = values[1].text;
  if (const auto& more = values[2].items; !more.empty()) {
    fields.x = more.at(0).text;
    fields.y = more.at(1).text;
    fields.c = more.at(2).text;
    fields.holds_lock = !more.at(3).text.empty();
  }
  fields.state = "active";
  auto task = read_task(fields);
  if (!task) return {};
  // The message's own words may be another's; where it was found is what counts.
  task->ref = {std::string{queue}, values[0].text};
  return Lease{std::move(*task), std::move(token), length, false};
}

std::vector<redis::Command> RedisStore::claim_commands(const Claim& claim, const Want& want,
                                                       const Claimed& so_far, const Call& call,
                                                       std::size_t& part) const {
  std::size_t most = std::min(want.count_max, claim.count_max - so_far.leases.size());
  std::size_t bytes = 0;
  for (const Lease& lease : so_far.leases) bytes += lease.task.payload.size();
  if (claim.bytes_max > 0 && bytes >= claim.bytes_max) most = 0;
  const std::size_t scripts = std::max<std::size_t>(1, (most + script_tasks - 1) / script_tasks);
  // Each script keeps to its share of the bytes.
  const std::size_t share =
      claim.bytes_max == 0
          ? 0
          : std::max<std::size_t>(1, (claim.bytes_max - std::min(bytes, claim.bytes_max)) / scripts);
  std::vector<redis::Command> commands;
  for (const Ticket& ticket : make_tickets(call.now, scripts)) {
    auto& command = commands.emplace_back(script(claim_script(), want.queue, call, part++));
    command.add(micros(call.now)).add(seconds_up(call.now + claim.lease));
    command.add(std::min(script_tasks, most)).add(share).add(ticket.digits);
    command.add(write_holder({ticket.nonce, call.now, std::string{claim.worker}})).add(promoted_tasks);
    most -= std::min(most, script_tasks);
  }
  return commands;
}

/// In a cluster, where a queue's node may be away, one of so many queues has its share of the time that is
/// left.
Call RedisStore::share_of(const Call& call, std::size_t queues) const {
  Call part = call;
  if (client_.options().topology != redis::Topology::cluster) return part;
  const auto now = std::chrono::steady_clock::now();
  const bool open = call.deadline == std::chrono::steady_clock::time_point{};
  const auto deadline = open ? now + client_.options().timeout : call.deadline;
  part.deadline = now + std::max(deadline - now, {}) / static_cast<std::ptrdiff_t>(queues);
  return part;
}

Claimed RedisStore::claim(const Claim& claim, const Call& call) {
  Claimed answer;
  std::size_t part = 0;
  std::optional<redis::Reply> time;
  const std::uint64_t rings = waiter_.rings();
  std::optional<redis::Reply> failed;
  for (std::size_t n = 0; n < claim.wants.size(); ++n) {
    const Want& want = claim.wants[n];
    auto commands = claim_commands(claim, want, answer, call, part);
    const std::size_t scripts = commands.size();
    commands.push_back(time_command());
    const auto replies = exec(commands, share_of(call, claim.wants.size() - n));
    for (std::size_t i = 0; i < scripts; ++i) {
      const redis::Reply& reply = replies[i];
      if (!reply.ok()) {
        // What is lost may be ours, so it is asked for again, unless that gives up leases that are here.
        if (reply.kind == redis::Reply::Kind::lost && answer.leases.empty()) checked(reply);
        // One node of a cluster may be away, and others have tasks.
        if (!failed) failed = reply;
        continue;
      }
      add_leases(answer, reply, claim, want.queue, call);
      if (i + 1 == scripts) {
        const auto due = to_number(reply.items.at(0).text);
        if (due != 0)
          answer.next_due = std::min(answer.next_due.value_or(TimePoint::max()), from_micros(due));
      }
    }
    if (replies.back().ok()) time = replies.back();
  }
  if (failed && answer.leases.empty()) checked(*failed);
  waiter_.claimed(claim.worker, rings);
  answer.now = time ? time_of(*time) : now();
  return answer;
}

void RedisStore::add_leases(Claimed& answer, const redis::Reply& reply, const Claim& claim,
                            std::string_view queue, const Call& call) {
  for (std::size_t at = first_lease; at + lease_values <= reply.items.size(); at += lease_values) {
    const std::string& id = reply.items[at].text;
    if (id.empty() && reply.items[at + 1].text.empty()) continue;
    const std::size_t number = 101 + (at - first_lease) / lease_values;
    std::string token = fmt::format("{}{}:{}", reply.items[1].text, number, reply.items[2].text);
    if (auto lease = read_lease(std::span{reply.items}.subspan(at), queue, std::move(token), claim.lease)) {
      lease->task.worker = claim.worker;
      lease->task.started_at = call.now;
      answer.leases.push_back(std::move(*lease));
    } else {
      bury(queue, id, call);
    }
  }
}

void RedisStore::bury(std::string_view queue, const std::string& id, const Call& call) {
  redis::Command command{bury_script(), pending_key(queue)};
  exec({command.add("").add("").add(seconds_down(call.now)).add(id)}, call);
}

}  // namespace tidemill::redis_store
