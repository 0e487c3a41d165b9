#include "drivers/http/request_target.hpp"

#include <algorithm>

#include "drivers/http/headers.hpp"

namespace tidemill::http {

std::optional<RequestTarget> parse_request_target(std::string_view text) {
  RequestTarget target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower_case(text.substr(0, scheme.size())) != scheme) continue;
    text.remove_prefix(scheme.size());
    target.host = text.substr(0, text.find_first_of("/?#"));
    text.remove_prefix(target.host.size());
    if (target.host.empty() || target.host.front() == ':' || target.host.find('@') != std::string::npos)
      return {};
    if (!text.starts_with('/')) target.path = '/';
    break;
  }
  const std::size_t mark = std::min(text.find('?'), text.size());
  target.path += text.substr(0, mark);
  if (mark < text.size()) target.query = text.substr(mark + 1);
  return target;
}

bool is_folded(std::string_view lines) {
  return lines.find("\r\n ") != std::string_view::npos || lines.find("\r\n\t") != std::string_view::npos;
}

}  // namespace tidemill::http
