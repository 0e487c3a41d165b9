#include "server/etag.hpp"

#include <fmt/format.h>

#include "core/digest.hpp"
#include "server/problem.hpp"

namespace tidemill::server {

namespace {

constexpr std::size_t tag_size = 16;

std::string quoted(std::string_view etag) { return fmt::format("\"{}\"", etag); }

/// Whether a list of quoted tags, as RFC 9110 has it, names this one. A weak tag (W/"…") never does.
bool names(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    list.remove_prefix(std::min(list.find_first_not_of(" \t,"), list.size()));
    const bool weak = list.starts_with("W/");
    if (weak) list.remove_prefix(2);
    if (list.empty()) break;
    const std::size_t end = list.find('"', 1);
    if (list.front() != '"' || end == std::string_view::npos) {
      throw Problem{400, "invalid",
                    "If-Match takes what ETag said, with its quotes; write for instance If-Match: \"1f2e…\""};
    }
    if (!weak && list.substr(1, end - 1) == etag) return true;
    list.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace

std::string etag_of(std::string_view content) { return sha256_hex(content).substr(0, tag_size); }

http::Response tagged_answer(int status, std::string body, std::string_view etag) {
  http::Response response = json_answer(status, std::move(body));
  response.headers.emplace_back("ETag", quoted(etag));
  return response;
}

Problem changed_since(const std::optional<std::string>& current) {
  Problem problem{412, "changed",
                  current ? "it has been changed since; read it again, and send its ETag as If-Match"
                          : "it isn't there, or no longer; leave If-Match out to make it"};
  if (current) problem.headers.emplace_back("ETag", quoted(*current));
  return problem;
}

void check_if_match(const Ask& ask, const std::optional<std::string>& current) {
  const std::string_view wanted = ask.request->header("if-match");
  if (wanted.empty() || (current && (wanted == "*" || names(wanted, *current)))) return;
  throw changed_since(current);
}

}  // namespace tidemill::server
