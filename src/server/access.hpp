#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "drivers/http/server.hpp"

/// Who may do what.
namespace tidemill::server {

class StoredTokens;

/// A set of roles: those that a route is for.
struct Roles {
  unsigned bits = 0;
  constexpr Roles() = default;
  constexpr Roles(config::Role role) : bits(1U << static_cast<unsigned>(role)) {}  // NOLINT: meant so
  constexpr bool has(config::Role role) const { return (bits & Roles{role}.bits) != 0; }
  friend constexpr Roles operator+(Roles a, Roles b) {
    a.bits |= b.bits;
    return a;
  }
};
/// Administrators may all that operators may, and these all that viewers may.
inline constexpr Roles admins = config::Role::admin;
inline constexpr Roles operators = admins + config::Role::operator_;
inline constexpr Roles viewers = operators + config::Role::viewer;
inline constexpr Roles producers = operators + config::Role::producer;
inline constexpr Roles workers = admins + config::Role::worker;
inline constexpr Roles everyone = viewers + producers + workers;

/// Where the server keeps its own work: whoever could put tasks in could have it do what he may not.
inline constexpr std::string_view own_queue = "tidemill";

/// Whoever sent a request.
struct Caller {
  std::string name = {};
  config::Role role = config::Role::admin;
  std::vector<std::string> queues = {};  ///< Globs; none: all.
  std::int64_t requests_per_minute = 0;  ///< Zero: as many as he likes.

  bool may_use(std::string_view queue) const;
  /// Throws Problem{403}.
  void check_queue(std::string_view queue) const;
  /// Throws Problem{403} unless the caller may use all queues there are and will be.
  void check_all_queues() const;
  /// As `check_queue`, and that it is none of the server's own: for what puts tasks in or takes them out.
  void check_tasks_of(std::string_view queue) const;
};

/// Immutable: a new configuration makes a new one.
class Access {
 public:
  /// No tokens: whoever reaches the server may do all.
  Access(std::vector<config::Token> tokens, std::vector<std::string> open_routes);

  bool has_tokens() const noexcept { return !tokens_.empty(); }
  /// Whether one of them may do all: whoever has that can't be locked out over the API.
  bool has_admin() const noexcept;
  bool has(std::string_view name) const noexcept;
  const std::vector<config::Token>& tokens() const noexcept { return tokens_; }
  /// `route` is "POST /api/v1/tasks". Tokens of the configuration go before those that are `stored`, which
  /// without any in the configuration don't count. Throws Problem{401} for a token that is missing or wrong,
  /// {403} for one whose role isn't among `roles`. An empty set is for anybody.
  Caller admit(const http::Request& request, std::string_view route, Roles roles,
               const StoredTokens& stored) const;

 private:
  std::vector<config::Token> tokens_;
  std::vector<std::string> open_routes_;
};

}  // namespace tidemill::server
