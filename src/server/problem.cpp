#include "server/problem.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include <tidemill/json.hpp>

namespace tidemill::server {

namespace {

struct Title {
  std::string_view code, title;
  std::string_view hint = {};  ///< What to do, where that is the same whatever the request was.
};
constexpr std::array titles = {
    Title{"invalid", "The request is not right"},
    Title{"not_found", "There is no such thing"},
    Title{"method_not_allowed", "This can't be done there", "The header Allow says what can be done."},
    Title{"not_acceptable", "The answer is of no type that Accept names",
          "Leave Accept out, or add */* to it."},
    Title{"unsupported_media_type", "The body is of another type than it must be",
          "Say what the body is with Content-Type."},
    Title{"too_large", "The request is too large",
          "Send less at once; the limits are in the server's configuration."},
    Title{"too_slow", "The request came too slowly"},
    Title{"unauthenticated", "A token is needed", "Send Authorization: Bearer, with the secret of a token."},
    Title{"bad_credentials", "The token is wrong",
          "Look at the secret; GET /tokens lists the tokens that the server knows."},
    Title{"forbidden", "This is not allowed",
          "Take a token whose role and queues allow it; the detail says which."},
    Title{"bad_host", "The server is not known by this name",
          "Call the server by a name of its own, or give it tokens."},
    Title{"wrong_state", "The state of the task or queue doesn't allow it"},
    Title{"lease_lost", "The lease is lost",
          "Stop the handler: another worker has the task, or will have it."},
    Title{"lock_held", "Somebody else has the lock", "Try again later, or wait for it with `wait`."},
    Title{"idempotency_in_progress", "The same request is being carried out",
          "Send the same request again in a moment."},
    Title{"idempotency_mismatch", "The key was used for another request",
          "Take a new key for each request that is another one."},
    Title{"bad_filter", "The filter does not read"},
    Title{"bad_cursor", "The cursor is of another list", "Begin anew, without a cursor."},
    Title{"bad_range", "There are no such bytes", "Content-Range says how many bytes there are."},
    Title{"bad_cron", "The schedule's spec does not read"},
    Title{"unknown_zone", "There is no such time zone", "/api/v1/time-zones names all that there are."},
    Title{"ended", "The attempt is over", "Nothing is to be done: its outcome was accepted before."},
    Title{"rate_limited", "The token has sent too many requests",
          "Wait for as many seconds as Retry-After says."},
    Title{"too_many_streams", "Too many streams are open",
          "Wait for as many seconds as Retry-After says, or close a stream."},
    Title{"store_unready", "The store has not answered of late",
          "Wait until the store answers again; the log says what is wrong with it."},
    Title{"unique_conflict", "Another task holds the key"},
    Title{"conflict", "Something with that name exists"},
    Title{"in_configuration", "The configuration's file says that",
          "Change it in the file, and have that read again: POST /config/reload."},
    Title{
        "no_admin_token", "The configuration has no token of an admin",
        "Add a token of role admin, for all queues, to the configuration's file, and have that read again."},
    Title{"changed", "It is no longer as it was seen",
          "Read it again, and send the ETag that it has then as If-Match."},
    Title{"not_supported", "The store can't do that"},
    Title{"store_unavailable", "The store can't be reached",
          "Send the same request again in a moment; /readyz says when the store answers."},
    Title{"store_timeout", "The store was busy with something else for all of the call's time",
          "Nothing has happened: send the same request again in a moment."},
    Title{"shutting_down", "The server is stopping",
          "Send the same request again in a moment, to a server that runs."},
    Title{"unknown_outcome", "It may or may not have happened",
          "Repeat it with the same id or Idempotency-Key: it is then done once."},
    Title{"internal", "The server failed", "Look for the request_id in the server's log."},
};

}  // namespace

namespace {

const Title* find_title(std::string_view code) {
  const auto found = std::ranges::find(titles, code, &Title::code);
  return found == titles.end() ? nullptr : &*found;
}

}  // namespace

std::string_view explain(std::string_view code) {
  const Title* const title = find_title(code);
  return title == nullptr ? std::string_view{} : title->title;
}

std::string_view hint_for(std::string_view code) {
  const Title* const title = find_title(code);
  return title == nullptr ? std::string_view{} : title->hint;
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
    case ErrorKind::timed_out:
      return {504, "store_timeout", error.what()};
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
  if (const auto hint = hint_for(problem.code); !hint.empty()) writer.member("hint", hint);
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
  if (problem.status == 503 || problem.status == 504) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace tidemill::server
