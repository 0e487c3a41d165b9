#include "drivers/redis/wire.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace tidemill::redis {

std::size_t Wire::channels(const Command& command) noexcept {
  static constexpr std::string_view names[] = {"SUBSCRIBE",   "PSUBSCRIBE",   "SSUBSCRIBE",
                                               "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"};
  if (command.script_ != nullptr) return 0;
  std::string_view name = command.arguments_;
  name.remove_prefix(name.find('\n') + 1);
  name = name.substr(0, name.find('\r'));
  const bool subscribes = std::find(std::begin(names), std::end(names), name) != std::end(names);
  return subscribes ? std::max<std::size_t>(command.count_ - 1, 1) : 0;
}

std::string Wire::head(const Command& command, bool script_text) {
  const Script* const script = command.script_;
  if (script == nullptr) return fmt::format("*{}\r\n", command.count_);
  const std::string_view name = script_text ? script->text() : script->digest();
  return fmt::format("*{}\r\n{}\r\n${}\r\n{}\r\n", command.count_ + 2,
                     script_text ? "$4\r\nEVAL" : "$7\r\nEVALSHA", name.size(), name);
}

std::size_t Output::add(const Command& command, bool script_text) {
  const std::string head = Wire::head(command, script_text);
  const std::string_view arguments = Wire::arguments(command);
  pieces_.push_back({.data = nullptr, .head = heads_.size(), .size = head.size()});
  pieces_.push_back({.data = arguments.data(), .head = 0, .size = arguments.size()});
  heads_ += head;
  size_ += head.size() + arguments.size();
  return size_;
}

std::span<const iovec> Output::next(std::span<iovec> pieces) const noexcept {
  std::size_t count = 0;
  std::size_t skip = within_;
  for (std::size_t i = piece_; i < pieces_.size() && count < pieces.size(); ++i) {
    const Piece& piece = pieces_[i];
    const char* const data = piece.data != nullptr ? piece.data : heads_.data() + piece.head;
    // POSIX has one type for reading and writing; what is written is not changed.
    pieces[count++] = {.iov_base = const_cast<char*>(data + skip), .iov_len = piece.size - skip};
    skip = 0;
  }
  return pieces.first(count);
}

void Output::advance(std::size_t count) noexcept {
  written_ += count;
  within_ += count;
  while (piece_ < pieces_.size() && within_ >= pieces_[piece_].size) within_ -= pieces_[piece_++].size;
}

}  // namespace tidemill::redis
