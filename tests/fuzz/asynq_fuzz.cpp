// What other programs may have left in Redis: Asynq's messages, and the texts in them.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "stores/redis/go_text.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/option_text.hpp"

namespace {

using namespace tidemill;

void check(bool right) {
  if (!right) std::abort();
}

/// What was read is written so that it reads the same.
template <class Message>
void message(std::string_view bytes, std::optional<Message> (*decode)(std::string_view)) {
  const std::optional<Message> read = decode(bytes);
  if (read) check(decode(redis_store::encode(*read)) == read);
}

void texts(std::string_view text) {
  check(redis_store::unquote_go(redis_store::quote_go(text)) == text);
  (void)redis_store::unquote_go(text);
  if (const auto length = redis_store::parse_go_duration(text)) {
    check(redis_store::parse_go_duration(redis_store::format_go_duration(*length)) == length);
  }
  if (const auto at = redis_store::parse_unix_date(text)) (void)redis_store::format_unix_date(*at);
  const std::string options[] = {std::string{text}};
  const redis_store::EnqueueOptions read = redis_store::read_options(options);
  (void)redis_store::write_options(read);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  message(bytes, redis_store::decode_task);
  message(bytes, redis_store::decode_server);
  message(bytes, redis_store::decode_worker);
  message(bytes, redis_store::decode_scheduler_entry);
  message(bytes, redis_store::decode_enqueue_event);
  texts(bytes);
  return 0;
}
