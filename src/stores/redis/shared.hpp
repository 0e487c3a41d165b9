#pragma once

#include <tidemill/store.hpp>

#include "drivers/redis/client.hpp"

namespace tidemill::redis_store {

/// The reply itself, as long as that lives. Throws for one that is no answer: Error{unavailable},
/// {unknown_outcome} or {corrupt}.
const redis::Reply& checked(const redis::Reply& reply);
/// What went wrong with a reply, for people.
std::string trouble(const redis::Reply& reply);
/// The call's, or what the client's time-out leaves.
redis::Deadline deadline_of(const redis::Client& client, const Call& call);
/// All of them within the call's deadline.
std::vector<redis::Reply> exec_within(redis::Client& client, std::span<const redis::Command> commands,
                                      const Call& call);
/// Throws what isn't an answer.
redis::Reply ask_shared(redis::Client& client, const redis::Command& command, const Call& call);

}  // namespace tidemill::redis_store
