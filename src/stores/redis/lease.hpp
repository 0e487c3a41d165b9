#pragma once

#include <optional>
#include <string>
#include <string_view>

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
std::optional<Token> parse_token(std::string_view text);

/// One script's claim.
struct Ticket {
  std::string nonce = {};   ///< 64 random bits.
  std::string digits = {};  ///< The token's digits but for the last three.
};
Ticket make_ticket(TimePoint now);

/// What scripts answer for a lease begins at `at`: id, msg, x, y, c, token, whether it holds its lock. None
/// when the message doesn't decode.
std::optional<Lease> read_lease(const redis::Reply& reply, std::size_t at, std::string_view queue,
                                Duration length);

}  // namespace tidemill::redis_store
