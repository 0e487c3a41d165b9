#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::redis {

/// What came of one command.
struct Reply {
  enum class Kind : std::uint8_t {
    nil,
    status,   ///< `text`, as in OK.
    bytes,    ///< `text`; a verbatim string comes without its format.
    integer,  ///< `integer`; a boolean is 0 or 1.
    real,     ///< `text`, as it was sent: doubles and big numbers.
    list,     ///< `items`; of a map or set too, keys and values in turn.
    error,    ///< `text`: the server refused, and what it says begins with a code.
    unsent,   ///< Ours: surely not carried out; `text` says why, for people.
    lost,     ///< Ours: the answer is lost. It may have been carried out, or be so later.
  };

  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text = {};
  std::vector<Reply> items = {};

  bool nil() const noexcept { return kind == Kind::nil; }
  /// The server has carried the command out.
  bool ok() const noexcept { return kind < Kind::error; }
  /// Whether the server refused with this code: `WRONGTYPE`, `OOM`, or one that a script of ours has made.
  bool refused(std::string_view code) const noexcept;
};

}  // namespace tidemill::redis
