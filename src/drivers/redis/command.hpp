#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace tidemill::redis {

/// A Lua script, compiled once by each server. Outlives the commands that are made of it.
class Script {
 public:
  /// The text is these, one after the other.
  explicit Script(std::initializer_list<std::string_view> parts);
  std::string_view text() const noexcept { return text_; }
  /// SHA-1 in lower-case hexadecimal digits, by which EVALSHA knows it.
  std::string_view digest() const noexcept { return {digest_.data(), digest_.size()}; }

 private:
  std::string text_;
  std::array<char, 40> digest_;
};

/// The hash slot of a key, 0 to 16383: of what is between its first `{` and the next `}`, unless that is
/// empty. https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
std::uint16_t slot_of(std::string_view key) noexcept;

/// One command with its arguments, encoded as it is written to the wire.
///
///     Command{"ZADD", key}.add(score).add(id)
class Command {
 public:
  /// With a key the command goes to the key's node of a cluster, without one to any node.
  explicit Command(std::string_view name);
  Command(std::string_view name, std::string_view key);
  /// EVALSHA of a script with one declared key; where a server doesn't know the script it gets its text.
  Command(const Script& script, std::string_view key);

  Command& add(std::string_view argument);
  Command& add(const char* argument) { return add(std::string_view{argument}); }
  Command& add(std::integral auto number) { return add_number(static_cast<std::int64_t>(number)); }

  /// It has the effect of one when it is carried out twice, so it is sent again when its answer is lost.
  Command& repeatable() {
    repeatable_ = true;
    return *this;
  }
  /// It writes nothing.
  Command& reads() {
    reads_ = true;
    return repeatable();
  }
  /// It counts only once a replica has it, where Sentinel or a cluster may put one in the master's place.
  Command& replicated() {
    replicated_ = true;
    return *this;
  }

 private:
  friend class Wire;
  static constexpr int any_slot = -1;

  Command& add_number(std::int64_t number);

  std::string arguments_;  ///< As bulk strings, one after the other, without the name of a script.
  std::size_t count_ = 0;
  const Script* script_ = nullptr;
  int slot_ = any_slot;
  bool repeatable_ = false;
  bool reads_ = false;
  bool replicated_ = false;
};

}  // namespace tidemill::redis
