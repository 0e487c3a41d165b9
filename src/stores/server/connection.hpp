#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/http/client.hpp"

namespace tidemill::server_store {

struct Address {
  std::string base = {};   ///< "http://127.0.0.1:8470", without a slash at its end.
  std::string shown = {};  ///< The same for people.
  std::string token = {};
  std::string token_place = {};  ///< What to look at when it is refused.

  /// Reads the token, too. Throws Error{invalid}.
  static Address parse(std::string_view url);
};

struct Request {
  std::string method = "GET";
  std::string target = {};  ///< Below /api/v1, escaped: "/tasks?limit=50".
  std::string body = {};    ///< JSON.
  std::string idempotency_key = {};
  std::string if_match = {};  ///< An etag, without quotes. Then `may_refuse` is taken as set.
  bool may_refuse = false;    ///< 409 and 412 are answers and no errors.
  std::chrono::steady_clock::time_point deadline = {};  ///< The epoch: a limit of its own.
};

struct Answer {
  bool found = true;      ///< False: 404.
  std::string code = {};  ///< Of a refusal that is an answer.
  bool whole = true;      ///< False: it was too long to be taken in.
  std::string body = {};
};

/// What a problem says.
struct Problem {
  std::string code = {}, detail = {};
};

/// Calls of one server, each of which blocks. Says in errors what the server said.
///
/// Thread safety: all members may be called from any thread.
class Connection {
 public:
  explicit Connection(Address address);

  /// Throws Error.
  Answer send(const Request& request);
  /// The body of an answer that must be there.
  std::string ask(const Request& request);
  /// The same with a body, in JSON.
  std::string post(std::string_view target, std::string body, std::chrono::steady_clock::time_point deadline);

  const Address& address() const noexcept { return address_; }

 private:
  /// Throws Error{unavailable} when it is none.
  Problem problem_of(int status, const std::string& body) const;
  [[noreturn]] void refuse(int status, const std::string& body) const;
  [[noreturn]] void fail(const Request& request, const http::CallResult& result) const;

  const Address address_;
  http::Client client_;
};

/// Percent-escaped, for a part of a path or a value of a query.
std::string escaped(std::string_view text);
/// "?queue=mail&limit=5" of those that aren't empty.
std::string query(const std::vector<std::pair<std::string_view, std::string>>& parameters);

}  // namespace tidemill::server_store
