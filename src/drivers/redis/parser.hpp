#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "drivers/redis/reply.hpp"

namespace tidemill::redis {

/// Reads RESP2 and RESP3 from bytes that come in parts.
/// https://redis.io/docs/latest/develop/reference/protocol-spec/
///
/// Thread safety: none; one thread at a time.
class Parser {
 public:
  static constexpr std::size_t depth_max = 32;
  static constexpr std::size_t bulk_max = std::size_t{512} << 20U;
  static constexpr std::size_t line_max = std::size_t{64} << 10U;

  struct Message {
    Reply reply;
    bool push = false;  ///< The server sent it by itself.
  };

  /// Where the next bytes go, never empty; `filled` says how many came. Valid until another call.
  std::span<char> room();
  void filled(std::size_t count) noexcept { end_ += count; }

  /// The next message that is here as a whole, without its attributes. Throws Failure for what is malformed
  /// or beyond the limits above; then there is no going on.
  std::optional<Message> next();
  /// No byte is left.
  bool empty() const noexcept { return begin_ == end_ && open_.empty(); }

 private:
  enum class Frame : std::uint8_t { list, push, attribute };
  /// A list whose items are still coming.
  struct Open {
    Frame frame;
    std::size_t missing;
    std::vector<Reply> items = {};
  };

  std::string_view rest() const noexcept { return {buffer_.data() + begin_, end_ - begin_}; }
  /// The line at the start of the rest, without its end.
  std::optional<std::string_view> line() const;
  void take(std::size_t count) noexcept { begin_ += count; }
  /// One scalar; a list that begins goes to `open_`. False: more bytes are needed.
  bool element(std::optional<Reply>& scalar);
  bool bulk(char type, std::string_view line, std::optional<Reply>& scalar);
  std::optional<Reply> list(char type, std::string_view line);

  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::vector<Open> open_;
};

}  // namespace tidemill::redis
