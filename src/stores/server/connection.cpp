#include "stores/server/connection.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/url.hpp"
#include "drivers/http/target.hpp"
#include "wire/json_read.hpp"

namespace tidemill::server_store {

namespace {

using namespace std::chrono_literals;

/// Of an answer. A page of tasks may be longer, and is then asked for in parts.
constexpr std::size_t answer_bytes_max = 64U << 20U;
/// Of a call that has none of its own.
constexpr std::chrono::milliseconds patience = 30s;
/// The user has named the server, so it may be anywhere.
const std::vector<std::string> all_networks = {"0.0.0.0/0", "::/0"};

std::string read_token(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  std::string token{std::istreambuf_iterator<char>{file}, {}};
  if (!file) throw Error{ErrorKind::invalid, fmt::format("the file of the token, {}, can't be read", path)};
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  if (token.empty())
    throw Error{ErrorKind::invalid, fmt::format("the file of the token, {}, is empty", path)};
  return token;
}

std::string mistakes_of(const wire::JsonValue& value) {
  struct Mistake {
    std::string pointer = {}, detail = {};
  };
  using Member = wire::JsonMember<Mistake>;
  static constexpr std::array members = {
      Member{"pointer", [](Mistake& m, const wire::JsonValue& v) { m.pointer = v.text(); }},
      Member{"detail", [](Mistake& m, const wire::JsonValue& v) { m.detail = v.text(); }},
  };
  std::string text;
  for (const wire::JsonValue& each : value.elements()) {
    Mistake mistake;
    wire::read_members<Mistake>(each, mistake, members);
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", mistake.pointer, mistake.detail);
  }
  return text;
}

/// Throws BadValue when it is none.
Problem read_problem(const std::string& body) {
  const wire::JsonDocument document{body, wire::Unknown::ignored};
  Problem problem;
  std::string mistakes;
  for (const auto& [name, value] : document.root().members()) {
    if (name == "code") problem.code = value.text();
    if (name == "detail") problem.detail = value.text();
    if (name == "errors") mistakes = mistakes_of(value);
  }
  if (problem.code.empty()) document.root().refuse("is no problem");
  if (!mistakes.empty()) problem.detail = mistakes;
  return problem;
}

ErrorKind kind_of(int status, std::string_view code) {
  if (code == "unknown_outcome" || code == "idempotency_in_progress") return ErrorKind::unknown_outcome;
  if (code == "conflict" || code == "unique_conflict") return ErrorKind::conflict;
  if (status == 501) return ErrorKind::unsupported;
  if (status == 504) return ErrorKind::timed_out;
  return status >= 500 ? ErrorKind::unavailable : ErrorKind::invalid;
}

}  // namespace

Address Address::parse(std::string_view text) {
  const Url url = Url::parse(text);
  url.allow_only({"token_file"});
  Address address;
  address.base = fmt::format("{}:{}", url.scheme, url.path);
  address.base.erase(address.base.find_last_not_of('/') + 1);
  try {
    const http::Target target = http::parse_target(address.base);
    if (target.credentials) {
      throw Error{
          ErrorKind::invalid,
          "the server's URL must not hold a user or password; set TIDEMILL_TOKEN to the token, or write "
          "?token_file=PATH"};
    }
    address.shown = target.shown();
    if (address.shown.ends_with('/')) address.shown.pop_back();
  } catch (const std::invalid_argument& error) {
    throw Error{ErrorKind::invalid,
                fmt::format("the server's URL: {}; write for instance http://127.0.0.1:8470", error.what())};
  }
  const char* const variable =
      std::getenv("TIDEMILL_TOKEN");  // NOLINT(concurrency-mt-unsafe): nobody sets it.
  if (const auto file = url.query.find("token_file"); file != url.query.end()) {
    address.token = read_token(file->second);
    address.token_place = fmt::format("check the token in {}", file->second);
  } else if (variable != nullptr && *variable != '\0') {
    address.token = variable;
    address.token_place = "check the token in TIDEMILL_TOKEN";
  } else {
    address.token_place = "set TIDEMILL_TOKEN to a token, or write ?token_file=PATH after the URL";
  }
  return address;
}

Connection::Connection(Address address)
    : address_(std::move(address)), client_({.allow_networks = all_networks}) {}

Answer Connection::send(const Request& request) {
  http::Call call{.method = request.method,
                  .url = fmt::format("{}/api/v1{}", address_.base, request.target),
                  .body = request.body,
                  .timeout = patience,
                  .response_bytes_max = answer_bytes_max};
  if (request.deadline != std::chrono::steady_clock::time_point{}) {
    const auto left = request.deadline - std::chrono::steady_clock::now();
    call.timeout = std::max(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds{1});
  }
  if (!request.body.empty()) call.headers.emplace_back("Content-Type", "application/json");
  if (!request.idempotency_key.empty()) call.headers.emplace_back("Idempotency-Key", request.idempotency_key);
  if (!request.if_match.empty())
    call.headers.emplace_back("If-Match", fmt::format("\"{}\"", request.if_match));
  if (!address_.token.empty()) call.headers.emplace_back("Authorization", "Bearer " + address_.token);
  // Shared, as the client's thread may be in it still when the answer has been taken out here.
  const auto promise = std::make_shared<std::promise<http::CallResult>>();
  auto future = promise->get_future();
  client_.send(std::move(call),
               [promise](http::CallResult result) { promise->set_value(std::move(result)); });
  http::CallResult result = future.get();
  if (result.status == 0) fail(request, result);
  if (result.status == 404) return {.found = false};
  const bool may_refuse = request.may_refuse || !request.if_match.empty();
  if (may_refuse && (result.status == 409 || result.status == 412))
    return {.code = problem_of(result.status, result.body).code};
  if (result.status < 200 || result.status > 299) refuse(result.status, result.body);
  return {.whole = !result.body_cut, .body = std::move(result.body)};
}

std::string Connection::ask(const Request& request) {
  Answer answer = send(request);
  if (!answer.found) {
    throw Error{
        ErrorKind::unsupported,
        fmt::format("{} knows no {} /api/v1{}; it is older than this program, or another server",
                    address_.shown, request.method, request.target.substr(0, request.target.find('?')))};
  }
  if (!answer.whole)
    throw Error{ErrorKind::unavailable, fmt::format("the answer of {} is too long", address_.shown)};
  return std::move(answer.body);
}

std::string Connection::post(std::string_view target, std::string body,
                             std::chrono::steady_clock::time_point deadline) {
  return ask(
      {.method = "POST", .target = std::string{target}, .body = std::move(body), .deadline = deadline});
}

Problem Connection::problem_of(int status, const std::string& body) const {
  try {
    return read_problem(body);
  } catch (const wire::BadValue&) {
    throw Error{
        ErrorKind::unavailable,
        fmt::format("{} answered with status {}, and not as a Tidemill server does", address_.shown, status)};
  }
}

void Connection::refuse(int status, const std::string& body) const {
  const Problem problem = problem_of(status, body);
  const bool of_token = status == 401 || problem.code == "forbidden";
  throw Error{kind_of(status, problem.code),
              of_token ? fmt::format("{}; {}", problem.detail, address_.token_place) : problem.detail};
}

void Connection::fail(const Request& request, const http::CallResult& result) const {
  if (!result.sent)
    throw Error{ErrorKind::unavailable, fmt::format("{}; is the server running?", result.error)};
  throw Error{request.method == "GET" ? ErrorKind::unavailable : ErrorKind::unknown_outcome, result.error};
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view{"-._~"}.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string query(const std::vector<std::pair<std::string_view, std::string>>& parameters) {
  std::string out;
  for (const auto& [name, value] : parameters) {
    if (!value.empty()) out += fmt::format("{}{}={}", out.empty() ? '?' : '&', name, escaped(value));
  }
  return out;
}

}  // namespace tidemill::server_store
