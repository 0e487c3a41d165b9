#pragma once

#include <string>

#include <fmt/format.h>

#include "drivers/redis/reply.hpp"

namespace tidemill::redis::tests {

/// One line for each reply: +status "bytes" 7 ~3.5 [list] nil -error ?lost !unsent.
inline std::string shown_reply(const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return "nil";
    case Reply::Kind::status:
      return "+" + reply.text;
    case Reply::Kind::bytes:
      return fmt::format("\"{}\"", reply.text);
    case Reply::Kind::integer:
      return std::to_string(reply.integer);
    case Reply::Kind::real:
      return "~" + reply.text;
    case Reply::Kind::error:
      return "-" + reply.text;
    case Reply::Kind::unsent:
      return "!unsent: " + reply.text;
    case Reply::Kind::lost:
      return "?lost: " + reply.text;
    case Reply::Kind::list:
      break;
  }
  std::string out = "[";
  for (const Reply& item : reply.items) out += (out.size() > 1 ? "," : "") + shown_reply(item);
  return out + "]";
}

}  // namespace tidemill::redis::tests
