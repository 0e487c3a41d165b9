#pragma once

#include <memory>
#include <string_view>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

/// A store in Redis, in the keys and messages of Asynq: Go programs with Asynq, its tools and Asynqmon work
/// on the same queues. docs/redis.md has the format, and what is left of each rule beside Go.
///
/// `url` is one of src/drivers/redis/options.hpp. `clock`, when given, is where the store's time comes from
/// instead of the server's TIME; for tests, and it must outlive the store. Throws Error{invalid} for a URL
/// that it can't read, and Error{unavailable} when no server answers, or one that is older than 6.2.
std::unique_ptr<Store> open_redis(std::string_view url, const Clock* clock = nullptr);

/// Throws Error{invalid} for a URL that `open_redis` can't read.
void check_redis_url(std::string_view url);

}  // namespace tidemill
