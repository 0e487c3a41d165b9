// Whatever a server sends is read or refused, and the same however the network cuts it in two.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "drivers/redis/failure.hpp"
#include "drivers/redis/parser.hpp"

namespace {

using namespace tidemill;

void show(std::string& out, const redis::Reply& reply) {
  out += std::to_string(static_cast<int>(reply.kind)) + ' ' + std::to_string(reply.integer) + ' ' +
         std::to_string(reply.text.size()) + ' ' + reply.text + ' ' + std::to_string(reply.items.size()) +
         '\n';
  for (const redis::Reply& item : reply.items) show(out, item);
}

/// All messages of both parts, up to what is malformed.
std::string read(std::string_view first, std::string_view second) {
  redis::Parser parser;
  std::string out;
  try {
    for (std::string_view part : {first, second}) {
      while (!part.empty()) {
        const auto room = parser.room();
        const std::size_t count = std::min(room.size(), part.size());
        std::memcpy(room.data(), part.data(), count);
        parser.filled(count);
        part.remove_prefix(count);
        while (const auto message = parser.next()) {
          out += message->push ? "push " : "";
          show(out, message->reply);
        }
      }
    }
  } catch (const redis::Failure&) {
    out += "malformed";
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const std::string whole = read(bytes, {});
  // Each place of a short input, some of a long one.
  const std::size_t step = 1 + size / 48;
  for (std::size_t cut = 0; cut <= size; cut += step) {
    if (read(bytes.substr(0, cut), bytes.substr(cut)) != whole) std::abort();
  }
  return 0;
}
