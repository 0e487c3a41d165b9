#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/redis/reply.hpp"
#include "stores/redis/record.hpp"

/// Leases as scripts answer them, and their tokens.
namespace tidemill::redis_store {

/// What a lease's token says: the number in `pending_since`, which Go's forwarder overwrites and Go's dequeue
/// deletes, and the random number in `w`, which says whose claim it was.
struct Token {
  std::string since = {}, nonce = {};
};
/// So many last digits tell the leases of one script's claim apart.
constexpr std::size_t token_digits = 3;
/// The lease's, or where that is none, one that no lease has.
Token token_of(const Lease& lease);

/// One script's claim.
struct Ticket {
  std::string nonce = {};   ///< 64 random bits.
  std::string digits = {};  ///< The token's digits but for the last three.
};
/// For scripts of one call, in their order: a later one's digits are a greater number.
std::vector<Ticket> make_tickets(TimePoint now, std::size_t count);

/// What scripts answer for a lease begins with id, msg, and nothing or a list of x, y, c and whether the task
/// has its lock. None when the message doesn't decode.
std::optional<Lease> read_lease(std::span<const redis::Reply> values, std::string_view queue,
                                std::string token, Duration length);

}  // namespace tidemill::redis_store
