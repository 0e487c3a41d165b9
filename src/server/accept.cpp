#include "server/accept.hpp"

#include <algorithm>
#include <string>

#include "drivers/http/headers.hpp"

namespace tidemill::server {

namespace {

/// What comes before `end`, without blanks around it; `rest` goes on behind.
std::string_view take(std::string_view& rest, char end) {
  std::string_view part = rest.substr(0, rest.find(end));
  rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
  return part.substr(0, part.find_last_not_of(" \t") + 1);
}

/// "q=0", "q=0.000".
bool refuses(std::string_view parameter) {
  const bool weight = parameter.starts_with("q=") || parameter.starts_with("Q=");
  return weight && parameter.substr(2).find_first_not_of("0.") == std::string_view::npos;
}

/// How closely a range names the type: 3 for itself, 1 for all there are; 0: not at all.
int closeness(std::string_view range, std::string_view type) {
  if (range == type) return 3;
  const std::string_view group = type.substr(0, type.find('/') + 1);
  if (range.size() == group.size() + 1 && range.starts_with(group) && range.ends_with('*')) return 2;
  return range == "*/*" ? 1 : 0;
}

}  // namespace

bool accepts(std::string_view accept, std::string_view content_type) {
  if (accept.find_first_not_of(" \t,") == std::string_view::npos) return true;
  const std::string type = http::lower_case(take(content_type, ';'));
  int closest = 0;
  bool allowed = false;
  while (!accept.empty()) {
    std::string_view range = take(accept, ',');
    const int close = closeness(http::lower_case(take(range, ';')), type);
    if (close <= closest) continue;
    closest = close;
    allowed = true;
    while (!range.empty()) allowed = allowed && !refuses(take(range, ';'));
  }
  return allowed;
}

}  // namespace tidemill::server
