// Tokens: those of the configuration's file, and those that are made here.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/digest.hpp"
#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "server/etag.hpp"
#include "server/service.hpp"
#include "server/stored_tokens.hpp"
#include "server/token_limits.hpp"
#include "wire/base64.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;
using wire::JsonMember;
using wire::JsonValue;

constexpr std::string_view secret_prefix = "tmt_";  // So that scanners for lost secrets know it.
constexpr std::size_t secret_words = 4;             // Of 64 bits.
constexpr Duration overlap_max = 24h * 30;
constexpr int tries = 10;

struct Tokens {
  Service& service;
  StoredTokens& stored;
  std::function<std::shared_ptr<const Access>()> access;
};
using Shared = std::shared_ptr<Tokens>;

/// What a body says of a token. Null takes a limit away.
struct Wanted {
  std::optional<std::string> name = {};
  std::optional<config::Role> role = {};
  std::optional<std::vector<std::string>> queues = {};
  std::optional<std::int64_t> requests_per_minute = {};
  std::optional<std::optional<TimePoint>> expires_at = {};
};

std::vector<std::string> read_queues(const JsonValue& value) {
  std::vector<std::string> globs;
  if (value.is_null()) return globs;
  for (const JsonValue& each : value.elements()) {
    globs.push_back(each.text());
    each.checked([&] { rules::check_queue_name(globs.back()); });
  }
  if (globs.empty()) value.refuse("names no queue; leave it out, or send null, for all queues");
  return globs;
}

Wanted read_wanted(const Ask& ask) {
  using Member = JsonMember<Wanted>;
  static constexpr std::array members = {
      Member{"name",
             [](Wanted& w, const JsonValue& v) {
               w.name = v.text();
               v.checked([&] { rules::check_name("token", *w.name); });
             }},
      Member{"role",
             [](Wanted& w, const JsonValue& v) { w.role = v.name<config::Role>("role", config::all_roles); }},
      Member{"queues", [](Wanted& w, const JsonValue& v) { w.queues = read_queues(v); }},
      Member{"requests_per_minute",
             [](Wanted& w, const JsonValue& v) {
               w.requests_per_minute = v.is_null() ? 0 : v.integer(1, config::requests_most);
             }},
      Member{"expires_at",
             [](Wanted& w, const JsonValue& v) {
               w.expires_at = v.is_null() ? std::nullopt : std::optional{v.time()};
             }},
  };
  const auto document = ask.body();
  Wanted wanted;
  wire::read_members<Wanted>(document.root(), wanted, members);
  return wanted;
}

void apply(const Wanted& wanted, StoredToken& token, TimePoint now) {
  if (wanted.expires_at && *wanted.expires_at && **wanted.expires_at <= now)
    throw wire::BadValue{"/expires_at", "is in the past"};
  if (wanted.role) token.token.role = *wanted.role;
  if (wanted.queues) token.token.queues = *wanted.queues;
  if (wanted.requests_per_minute) token.token.requests_per_minute = *wanted.requests_per_minute;
  if (wanted.expires_at) token.expires_at = *wanted.expires_at;
}

std::string make_secret() {
  std::string bytes;
  for (std::size_t i = 0; i < secret_words; ++i) {
    const std::uint64_t word = random_bits();
    for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(word >> shift & 0xffU);
  }
  std::string text = wire::encode_base64(bytes);
  // As it may stand in URLs and shells.
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  return fmt::format("{}{}", secret_prefix, text.substr(0, text.find('=')));
}

std::string tag_of(const StoredToken& token) { return etag_of(std::to_string(token.version)); }

void write_named(json::Writer& writer, const config::Token& token, std::string_view source) {
  writer.member("name", token.name);
  write_limits(writer, token);
  writer.member("source", source);
}

void write_token(json::Writer& writer, const StoredToken& token, TimePoint now) {
  write_named(writer, token.token, "store");
  wire::member_time(writer, "created_at", token.created_at);
  wire::member_text(writer, "by", token.by);
  wire::member_time(writer, "expires_at", token.expires_at);
  if (token.former && now < token.former->until)
    wire::member_time(writer, "former_until", token.former->until);
  writer.member("etag", tag_of(token));
}

/// `secret`: one that has just been made.
http::Response answer_of(int status, const StoredToken& token, TimePoint now, std::string_view secret = "") {
  http::Response response = tagged_answer(status, wire::object([&](json::Writer& writer) {
                                            write_token(writer, token, now);
                                            wire::member_text(writer, "secret", secret);
                                          }),
                                          tag_of(token));
  if (!secret.empty()) response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

void log_change(const Tokens& tokens, const Ask& ask, std::string_view what, std::string_view name) {
  tokens.service.log.info(what, {{"token", std::string{name}}, {"by", ask.caller.name}});
}

/// Whoever makes tokens could be locked out by those that he makes them for, unless the file has one for him.
/// And on a server without tokens anybody could make one that counts at others on the same store.
void check_admin(const Access& access) {
  if (access.has_admin()) return;
  throw Problem{409, "no_admin_token",
                access.has_tokens()
                    ? "the configuration must have a token of an admin for all queues first"
                    : "the configuration has no tokens, so whoever reaches this server may do "
                      "anything, and a token made here would not change that; the "
                      "configuration must have a token of an admin for all queues first"};
}

/// What is kept of a request with a key is its answer, and that has the secret.
void check_no_key(const Ask& ask) {
  if (!ask.request->has_header("idempotency-key")) return;
  throw Problem{400, "invalid",
                "this takes no Idempotency-Key, as an answer with a secret is not kept; when an answer is "
                "lost, rotate the token"};
}

Problem in_configuration(std::string_view name) {
  return {409, "in_configuration", fmt::format("token \"{}\" is one of the configuration", name)};
}

Problem changes_always(std::string_view name) {
  return {503, "store_unavailable", fmt::format("token \"{}\" changed each time it was to be changed", name)};
}

/// Throws Problem when there is none, or another than the request's If-Match says.
StoredToken find(Tokens& tokens, const Ask& ask) {
  const std::string& name = ask.path[0];
  auto found = tokens.stored.get(name);
  if (!found && tokens.access()->has(name)) throw in_configuration(name);
  if (!found) throw Problem{404, "not_found", fmt::format("there is no token \"{}\"", name)};
  check_if_match(ask, tag_of(*found));
  return std::move(*found);
}

/// Changes the token that the path names.
StoredToken change(Tokens& tokens, const Ask& ask, const std::function<void(StoredToken&)>& how) {
  const std::string& name = ask.path[0];
  check_admin(*tokens.access());
  for (int i = 0; i < tries; ++i) {
    StoredToken token = find(tokens, ask);
    if (tokens.access()->has(name)) throw in_configuration(name);
    how(token);
    if (tokens.stored.put(token)) return token;
  }
  throw changes_always(name);
}

http::Response list(Tokens& tokens) {
  const auto access = tokens.access();
  const auto stored = tokens.stored.list();
  const TimePoint now = tokens.stored.now();
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.key("items");
                       writer.open('[');
                       for (const config::Token& each : access->tokens()) {
                         writer.comma();
                         writer.open('{');
                         write_named(writer, each, "file");
                         writer.close('}');
                       }
                       for (const StoredToken& each : stored) {
                         writer.comma();
                         writer.open('{');
                         write_token(writer, each, now);
                         if (access->has(each.token.name)) writer.member("overridden", true);
                         writer.close('}');
                       }
                       writer.close(']');
                     }));
}

http::Response make(Tokens& tokens, const Ask& ask) {
  check_no_key(ask);
  const Wanted wanted = read_wanted(ask);
  if (!wanted.name) throw wire::BadValue{"/name", "is missing"};
  if (!wanted.role) throw wire::BadValue{"/role", "is missing"};
  const auto access = tokens.access();
  check_admin(*access);
  const std::string secret = make_secret();
  const TimePoint now = tokens.stored.now();
  StoredToken token{.created_at = now, .by = ask.caller.name};
  token.token.name = *wanted.name;
  token.token.secret_sha256 = sha256_hex(secret);
  apply(wanted, token, now);
  if (access->has(*wanted.name) || !tokens.stored.put(token))
    throw Problem{409, "conflict", fmt::format("there is a token \"{}\"", *wanted.name)};
  log_change(tokens, ask, "a token was made", token.token.name);
  http::Response response = answer_of(201, token, now, secret);
  response.headers.emplace_back("Location", fmt::format("{}/tokens/{}", prefix, token.token.name));
  return response;
}

http::Response patch(Tokens& tokens, const Ask& ask) {
  const Wanted wanted = read_wanted(ask);
  if (wanted.name && *wanted.name != ask.path[0])
    throw wire::BadValue{"/name", "can't be changed; make another token"};
  const TimePoint now = tokens.stored.now();
  const StoredToken token = change(tokens, ask, [&](StoredToken& changed) { apply(wanted, changed, now); });
  log_change(tokens, ask, "a token was changed", token.token.name);
  return answer_of(200, token, now);
}

Duration read_overlap(const Ask& ask) {
  static constexpr std::array members = {
      JsonMember<Duration>{"overlap",
                           [](Duration& d, const JsonValue& v) {
                             d = v.duration();
                             if (d < Duration::zero() || d > overlap_max)
                               v.refuse(
                                   fmt::format("must be from 0s to {}", wire::format_duration(overlap_max)));
                           }},
  };
  Duration overlap{};
  if (!ask.has_body()) return overlap;
  const auto document = ask.body();
  wire::read_members<Duration>(document.root(), overlap, members);
  return overlap;
}

http::Response rotate(Tokens& tokens, const Ask& ask) {
  check_no_key(ask);
  const Duration overlap = read_overlap(ask);
  const std::string secret = make_secret();
  const TimePoint now = tokens.stored.now();
  const StoredToken token = change(tokens, ask, [&](StoredToken& changed) {
    changed.former.reset();
    if (overlap > Duration::zero()) changed.former = {changed.token.secret_sha256, now + overlap};
    changed.token.secret_sha256 = sha256_hex(secret);
  });
  log_change(tokens, ask, "a token has a new secret", token.token.name);
  return answer_of(200, token, now, secret);
}

http::Response erase(Tokens& tokens, const Ask& ask) {
  for (int i = 0; i < tries; ++i) {
    if (!tokens.stored.erase(find(tokens, ask))) continue;
    log_change(tokens, ask, "a token was deleted", ask.path[0]);
    return nothing();
  }
  throw changes_always(ask.path[0]);
}

}  // namespace

void add_token_routes(Routes& routes, Service& service, StoredTokens& stored,
                      const std::function<std::shared_ptr<const Access>()>& access) {
  const auto tokens = std::make_shared<Tokens>(Tokens{service, stored, access});
  const auto add = [&](Route route, http::Response (*handle)(Tokens&, const Ask&)) {
    route.roles = admins;
    route.all_queues = true;  // Else it could make a token that does what it may not.
    route.handle = [tokens, handle](const Ask& ask) { return handle(*tokens, ask); };
    routes.add(std::move(route));
  };
  const std::string one = "/api/v1/tokens/{name}";
  add({.method = "GET",
       .pattern = "/api/v1/tokens",
       .summary = "All tokens, without secrets: those of the configuration, and those that were made here"},
      [](Tokens& all, const Ask&) { return list(all); });
  add({.method = "POST",
       .pattern = "/api/v1/tokens",
       .summary = "Make a token; its secret is in this answer and nowhere else",
       .body = R"({"name":"shop","role":"producer","queues":["mail","img:*"],"requests_per_minute":600,)"
               R"("expires_at":"2100-01-01T00:00:00Z"})"},
      make);
  add({.method = "PATCH",
       .pattern = one,
       .summary = "Change a token; null takes a limit away. If-Match: only if it is as that ETag says",
       .body = R"({"role":"producer","queues":["mail"],"requests_per_minute":null,"expires_at":null})"},
      patch);
  add({.method = "DELETE", .pattern = one, .summary = "Delete a token: its secrets are good no more"}, erase);
  add({.method = "POST",
       .pattern = one + "/rotate",
       .summary = "A new secret for a token; the old one is good for `overlap` yet (0s; up to 30d)",
       .body = R"({"overlap":"1h"})"},
      rotate);
}

}  // namespace tidemill::server
