#include "deliver/text.hpp"

#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

namespace tidemill::deliver {

bool is_json(std::string_view text) {
  try {
    json::with_document(text, [](json::Value, void*) {}, nullptr);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string printable(std::string_view text, std::size_t bytes_max) {
  // JSON's writer replaces what is no UTF-8, so there and back is clean.
  std::string json;
  json::Writer{json}.write(text.substr(0, bytes_max));
  std::string out;
  json::with_document(
      json, [](json::Value root, void* to) { root.read(*static_cast<std::string*>(to)); }, &out);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  const std::size_t begin = out.find_first_not_of(' ');
  if (begin == std::string::npos) return {};
  return out.substr(begin, out.find_last_not_of(' ') + 1 - begin);
}

}  // namespace tidemill::deliver
