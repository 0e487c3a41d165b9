#include "drivers/redis/parser.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis {

namespace {

constexpr std::size_t room_min = std::size_t{16} << 10U;
constexpr std::size_t kept_max = std::size_t{1} << 20U;
constexpr std::size_t element_size_min = 3;
constexpr std::size_t reserve_max = 1024;
constexpr std::size_t items_max = std::size_t{1} << 31U;

[[noreturn]] void malformed(std::string_view what) {
  throw Failure{fmt::format("what the server sends is not Redis's protocol: {}", what)};
}

std::int64_t integer_of(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) malformed("a number was expected");
  return value;
}

/// Of a bulk string or a list; none: it is null.
std::optional<std::size_t> size_of(std::string_view text, std::size_t max) {
  const std::int64_t size = integer_of(text);
  if (size == -1) return {};
  if (size < 0 || static_cast<std::size_t>(size) > max) malformed("a size is out of range");
  return static_cast<std::size_t>(size);
}

Reply text_reply(Reply::Kind kind, std::string_view text) {
  return {.kind = kind, .text = std::string{text}};
}

Reply boolean(std::string_view text) {
  if (text != "t" && text != "f") malformed("a boolean is neither t nor f");
  return {.kind = Reply::Kind::integer, .integer = text == "t" ? 1 : 0};
}

}  // namespace

std::span<char> Parser::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kept_max) buffer_ = {};
  }
  if (buffer_.size() - end_ < room_min && begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < room_min) buffer_.resize(std::max(2 * buffer_.size(), 2 * room_min));
  return std::span{buffer_}.subspan(end_);
}

std::optional<std::string_view> Parser::line() const {
  const std::string_view here = rest().substr(0, line_max + 2);
  const std::size_t at = here.find('\r');
  if (at == std::string_view::npos || at + 1 == here.size()) {
    if (here.size() == line_max + 2) malformed("a line is too long");
    return {};
  }
  if (here[at + 1] != '\n') malformed("a line ends wrongly");
  return here.substr(0, at);
}

bool Parser::bulk(char type, std::string_view line, std::optional<Reply>& scalar) {
  const auto size = size_of(line.substr(1), bulk_max);
  if (!size) {
    if (type != '$') malformed("only a bulk string or a list has the size -1");
    take(line.size() + 2);
    scalar.emplace();
    return true;
  }
  const std::string_view after = rest().substr(line.size() + 2);
  if (after.size() < *size + 2) return false;
  if (after.substr(*size, 2) != "\r\n") malformed("a bulk string ends wrongly");
  std::string_view text = after.substr(0, *size);
  if (type == '=') {
    if (text.size() < 4 || text[3] != ':') malformed("a verbatim string has no format");
    text.remove_prefix(4);
  }
  scalar = text_reply(type == '!' ? Reply::Kind::error : Reply::Kind::bytes, text);
  take(line.size() + 2 + *size + 2);
  return true;
}

std::optional<Reply> Parser::list(char type, std::string_view line) {
  const auto size = size_of(line.substr(1), items_max);
  take(line.size() + 2);
  if (!size) {
    if (type != '*') malformed("only a bulk string or a list has the size -1");
    return Reply{};
  }
  if (type == '>' && !open_.empty()) malformed("a push message inside another");
  if (open_.size() == depth_max) malformed("lists lie too deep in each other");
  const std::size_t count = type == '%' || type == '|' ? 2 * *size : *size;
  const Frame frame = type == '>' ? Frame::push : type == '|' ? Frame::attribute : Frame::list;
  Open& open = open_.emplace_back(Open{.frame = frame, .missing = count});
  open.items.reserve(std::min({count, rest().size() / element_size_min, reserve_max}));
  return {};
}

bool Parser::element(std::optional<Reply>& scalar) {
  const auto found = line();
  if (!found) return false;
  if (found->empty()) malformed("an empty line");
  const char type = found->front();
  const std::string_view text = found->substr(1);
  switch (type) {
    case '$':
    case '=':
    case '!':
      return bulk(type, *found, scalar);
    case '*':
    case '%':
    case '~':
    case '>':
    case '|':
      scalar = list(type, *found);
      return true;
    case '+':
      scalar = text_reply(Reply::Kind::status, text);
      break;
    case '-':
      scalar = text_reply(Reply::Kind::error, text);
      break;
    case ':':
      scalar = Reply{.kind = Reply::Kind::integer, .integer = integer_of(text)};
      break;
    case '#':
      scalar = boolean(text);
      break;
    case ',':
    case '(':
      if (text.empty()) malformed("a number was expected");
      scalar = text_reply(Reply::Kind::real, text);
      break;
    case '_':
      if (!text.empty()) malformed("a null with a value");
      scalar.emplace();
      break;
    default:
      malformed("an element of an unknown type");
  }
  take(found->size() + 2);
  return true;
}

std::optional<Parser::Message> Parser::next() {
  while (begin_ != end_) {
    std::optional<Reply> whole;
    if (!element(whole)) return {};
    // A whole element may be the last one of the list around it, which then is whole itself.
    while (true) {
      if (whole) {
        if (open_.empty()) return Message{.reply = std::move(*whole)};
        open_.back().items.push_back(std::move(*whole));
        --open_.back().missing;
        whole.reset();
      }
      if (open_.empty() || open_.back().missing > 0) break;
      Open done = std::move(open_.back());
      open_.pop_back();
      if (done.frame == Frame::attribute) break;
      Reply reply{.kind = Reply::Kind::list, .items = std::move(done.items)};
      if (done.frame == Frame::push) return Message{.reply = std::move(reply), .push = true};
      whole = std::move(reply);
    }
  }
  return {};
}

}  // namespace tidemill::redis
