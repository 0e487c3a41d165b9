#include "server/access.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/digest.hpp"
#include "server/problem.hpp"
#include "server/stored_tokens.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

/// '*' stands for any text.
bool matches(std::string_view glob, std::string_view text) {
  const std::size_t star = glob.find('*');
  if (star == std::string_view::npos) return glob == text;
  if (!text.starts_with(glob.substr(0, star))) return false;
  const std::string_view rest = glob.substr(star + 1);
  for (std::size_t at = star; at <= text.size(); ++at) {
    if (matches(rest, text.substr(at))) return true;
  }
  return false;
}

/// "admin, operator or viewer".
std::string names_of(Roles roles) {
  std::vector<std::string> names;
  for (const config::Role role : config::all_roles) {
    if (roles.has(role)) names.emplace_back(to_string(role));
  }
  return wire::either(names);
}

}  // namespace

bool Caller::may_use(std::string_view queue) const {
  return queues.empty() ||
         std::ranges::any_of(queues, [&](const auto& glob) { return matches(glob, queue); });
}

void Caller::check_queue(std::string_view queue) const {
  if (may_use(queue)) return;
  throw Problem{403, "forbidden", fmt::format("token \"{}\" is not for queue \"{}\"", name, queue)};
}

void Caller::check_all_queues() const {
  if (!queues.empty())
    throw Problem{403, "forbidden", fmt::format("token \"{}\" is not for all queues", name)};
}

void Caller::check_tasks_of(std::string_view queue) const {
  check_queue(queue);
  if (queue == own_queue)
    throw Problem{403, "forbidden", fmt::format("queue \"{}\" is for the server's own work", queue)};
}

Access::Access(std::vector<config::Token> tokens, std::vector<std::string> open_routes)
    : tokens_(std::move(tokens)), open_routes_(std::move(open_routes)) {}

bool Access::has_admin() const noexcept {
  return std::ranges::any_of(
      tokens_, [](const auto& each) { return each.role == config::Role::admin && each.queues.empty(); });
}

bool Access::has(std::string_view name) const noexcept {
  return std::ranges::find(tokens_, name, &config::Token::name) != tokens_.end();
}

Caller Access::admit(const http::Request& request, std::string_view route, Roles roles,
                     const StoredTokens& stored) const {
  if (!has_tokens() || roles.bits == 0) return {"anyone", config::Role::admin, {}};
  const std::string_view given = request.header("authorization");
  if (given.empty()) {
    if (std::ranges::find(open_routes_, route) != open_routes_.end())
      return {"anyone", config::Role::producer, {}};
    throw Problem{401, "unauthenticated", "send a token: Authorization: Bearer …"};
  }
  const config::Token* token = nullptr;
  std::shared_ptr<const StoredToken> kept;
  if (http::lower_case(given.substr(0, 7)) == "bearer ") {
    // Digests are compared, and they tell nothing of the secrets: time may hang on where they differ.
    const std::string digest = sha256_hex(given.substr(7));
    const auto found = std::ranges::find(tokens_, digest, &config::Token::secret_sha256);
    if (found != tokens_.end()) {
      token = &*found;
    } else if ((kept = stored.find(digest)) && !has(kept->token.name)) {
      token = &kept->token;
    }
  }
  if (token == nullptr) throw Problem{401, "bad_credentials", "there is no such token"};
  if (!roles.has(token->role)) {
    throw Problem{403, "forbidden",
                  fmt::format("token \"{}\" is of a {}; this needs {}", token->name, to_string(token->role),
                              names_of(roles))};
  }
  return {token->name, token->role, token->queues, token->requests_per_minute};
}

}  // namespace tidemill::server
