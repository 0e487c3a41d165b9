#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "drivers/redis/command.hpp"

namespace tidemill::redis {

/// What the driver itself asks a command.
class Wire {
 public:
  static constexpr int any_slot = Command::any_slot;

  static int slot(const Command& command) noexcept { return command.slot_; }
  static bool repeatable(const Command& command) noexcept { return command.repeatable_; }
  static bool reads(const Command& command) noexcept { return command.reads_; }
  static bool replicated(const Command& command) noexcept { return command.replicated_; }
  static const Script* script(const Command& command) noexcept { return command.script_; }
  /// Of SUBSCRIBE and the like, which are answered with one message a channel instead of a reply; else zero.
  static std::size_t channels(const Command& command) noexcept;

  /// What stands before `arguments`.
  static std::string head(const Command& command, bool script_text);
  static std::string_view arguments(const Command& command) noexcept { return command.arguments_; }
};

/// The bytes of commands, in pieces: what a command holds stays where it is, so commands must outlive this.
class Output {
 public:
  /// Returns where the command ends, counted from the first byte. A script goes with its text or its digest.
  std::size_t add(const Command& command, bool script_text);

  std::size_t size() const noexcept { return size_; }
  std::size_t written() const noexcept { return written_; }
  bool done() const noexcept { return written_ == size_; }
  /// The next pieces to write, as many as fit; `advance` says how many of their bytes have been written.
  std::span<const iovec> next(std::span<iovec> pieces) const noexcept;
  void advance(std::size_t count) noexcept;

 private:
  struct Piece {
    const char* data;  ///< Null: at `head` in `heads_`.
    std::size_t head;
    std::size_t size;
  };

  std::string heads_;
  std::vector<Piece> pieces_;
  std::size_t size_ = 0;
  std::size_t written_ = 0;
  std::size_t piece_ = 0;  ///< The first that is not written as a whole, and how much of it is.
  std::size_t within_ = 0;
};

}  // namespace tidemill::redis
