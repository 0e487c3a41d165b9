#include "stores/redis/shared.hpp"

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::redis_store {

std::string trouble(const redis::Reply& reply) {
  if (reply.kind == redis::Reply::Kind::lost) return "the answer is lost; it may have happened";
  return reply.text;
}

const redis::Reply& checked(const redis::Reply& reply) {
  switch (reply.kind) {
    case redis::Reply::Kind::unsent:
      throw Error{ErrorKind::unavailable, trouble(reply)};
    case redis::Reply::Kind::lost:
      throw Error{ErrorKind::unknown_outcome, trouble(reply)};
    case redis::Reply::Kind::error:
      throw Error{reply.refused("WRONGTYPE") ? ErrorKind::corrupt : ErrorKind::unavailable,
                  fmt::format("Redis refused: {}", trouble(reply))};
    default:
      return reply;  // NOLINT(bugprone-return-const-ref-from-parameter): for use in the same expression
  }
}

redis::Deadline deadline_of(const redis::Client& client, const Call& call) {
  const bool none = call.deadline == std::chrono::steady_clock::time_point{};
  return none ? std::chrono::steady_clock::now() + client.options().timeout : call.deadline;
}

std::vector<redis::Reply> exec_within(redis::Client& client, std::span<const redis::Command> commands,
                                      const Call& call) {
  if (commands.empty()) return {};
  return client.exec(commands, deadline_of(client, call));
}

redis::Reply ask_shared(redis::Client& client, const redis::Command& command, const Call& call) {
  auto replies = exec_within(client, {&command, 1}, call);
  checked(replies.at(0));
  return std::move(replies[0]);
}

}  // namespace tidemill::redis_store
