#include "server/problem.hpp"

#include <array>

#include <fmt/format.h>

#include <tidemill/json.hpp>

namespace tidemill::server {

namespace {

struct Title {
  std::string_view code, title;
};
constexpr std::array titles = {
    Title{"invalid", "The request is not right"},
    Title{"not_found", "There is no such thing"},
    Title{"method_not_allowed", "This can't be done there"},
    Title{"unsupported_media_type", "The body is of another type than it must be"},
    Title{"too_large", "The request is too large"},
    Title{"too_slow", "The request came too slowly"},
    Title{"unauthenticated", "A token is needed"},
    Title{"bad_credentials", "The token is wrong"},
    Title{"forbidden", "This is not allowed"},
    Title{"bad_host", "The server is not known by this name"},
    Title{"wrong_state", "The task's state doesn't allow it"},
    Title{"changed", "It is another one by now"},
    Title{"lease_lost", "The lease is lost"},
    Title{"lock_held", "Somebody else has the lock"},
    Title{"idempotency_in_progress", "The same request is being carried out"},
    Title{"idempotency_mismatch", "The key was used for another request"},
    Title{"bad_filter", "The filter does not read"},
    Title{"bad_cursor", "The cursor is of another list"},
    Title{"bad_range", "There are no such bytes"},
    Title{"bad_cron", "The schedule's spec does not read"},
    Title{"rate_limited", "The token has sent too many requests"},
    Title{"too_many_streams", "Too many streams are open"},
    Title{"store_unready", "The store has not answered of late"},
    Title{"unique_conflict", "Another task holds the key"},
    Title{"conflict", "Something with that name exists"},
    Title{"changed", "It is no longer as it was seen"},
    Title{"not_supported", "The store can't do that"},
    Title{"store_unavailable", "The store can't be reached"},
    Title{"shutting_down", "The server is stopping"},
    Title{"unknown_outcome", "It may or may not have happened"},
    Title{"internal", "The server failed"},
};

}  // namespace

std::string_view explain(std::string_view code) {
  for (const Title& each : titles) {
    if (each.code == code) return each.title;
  }
  return {};
}

Problem to_problem(const wire::BadValue& bad) {
  const std::string where = bad.pointer().empty() ? "the body" : bad.pointer();
  return {400, "invalid", fmt::format("{}: {}", where, bad.what()), {{bad.pointer(), bad.what()}}};
}

Problem to_problem(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::invalid:
      return {400, "invalid", error.what()};
    case ErrorKind::conflict:
      return {409, "conflict", error.what()};
    case ErrorKind::unsupported:
      return {501, "not_supported", error.what()};
    case ErrorKind::unavailable:
      return {503, "store_unavailable", error.what()};
    case ErrorKind::closed:
      return {503, "shutting_down", error.what()};
    case ErrorKind::unknown_outcome:
      return {503, "unknown_outcome", error.what()};
    case ErrorKind::corrupt:
      break;
  }
  return {500, "internal", error.what()};
}

Problem to_problem(int status, std::string_view why) {
  const std::string_view code = status == 413 || status == 431 ? "too_large"
                                : status == 408                ? "too_slow"
                                : status == 415                ? "unsupported_media_type"
                                : status == 503                ? "store_unavailable"
                                                               : "invalid";
  return {status, std::string{code}, std::string{why}};
}

std::string to_json(const Problem& problem) {
  std::string text;
  json::Writer writer{text};
  writer.open('{');
  writer.member("type", "/api/v1/problems/" + problem.code);
  writer.member("title", explain(problem.code));
  writer.member("status", problem.status);
  writer.member("code", problem.code);
  if (!problem.detail.empty()) writer.member("detail", problem.detail);
  if (problem.column > 0) writer.member("column", problem.column);
  if (!problem.mistakes.empty()) {
    writer.key("errors");
    writer.open('[');
    for (const Mistake& mistake : problem.mistakes) {
      writer.comma();
      writer.open('{');
      writer.member("pointer", mistake.pointer);
      writer.member("detail", mistake.detail);
      writer.close('}');
    }
    writer.close(']');
  }
  writer.close('}');
  return text;
}

void name_request(std::string& body, std::string_view id) {
  body.pop_back();
  body += ",\"request_id\":";
  json::Writer{body}.write(id);
  body += '}';
}

http::Response to_response(const Problem& problem) {
  http::Response response{problem.status, std::string{problem_type}, {}, to_json(problem)};
  for (const auto& header : problem.headers) response.headers.push_back(header);
  if (problem.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (problem.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace tidemill::server
