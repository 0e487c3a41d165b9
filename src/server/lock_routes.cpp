// Named locks.
#include <array>

#include <fmt/format.h>

#include <tidemill/locks.hpp>

#include "core/rules.hpp"
#include "engine/store_clock.hpp"
#include "server/lock_routes.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;
using wire::JsonValue;

struct LockBody {
  std::string owner = {};
  std::uint64_t fence = 0;
  Duration ttl = 30s;
};

LockBody read_body(const Ask& ask, bool with_fence) {
  using Member = wire::JsonMember<LockBody>;
  static constexpr std::array members = {
      Member{"owner", [](LockBody& b, const JsonValue& v) { b.owner = v.text(); }},
      Member{"fence",
             [](LockBody& b, const JsonValue& v) {
               b.fence = static_cast<std::uint64_t>(v.integer(1, INT64_MAX));
             }},
      Member{"ttl", [](LockBody& b, const JsonValue& v) { b.ttl = v.duration(); }},
  };
  const auto document = ask.body();
  LockBody body;
  wire::read_members<LockBody>(document.root(), body, members);
  if (body.owner.empty()) throw wire::BadValue{"/owner", "is missing"};
  if (with_fence && body.fence == 0) throw wire::BadValue{"/fence", "is missing"};
  return body;
}

void write_lock(json::Writer& writer, const LockInfo& lock) {
  writer.open('{');
  writer.member("name", lock.name);
  writer.member("owner", lock.owner);
  writer.member("fence", lock.fence);
  wire::member_time(writer, "until", lock.until);
  writer.close('}');
}

http::Response answer_of(int status, const LockInfo& lock) {
  std::string text;
  json::Writer writer{text};
  write_lock(writer, lock);
  return json_answer(status, std::move(text));
}

[[noreturn]] void refuse_holder(const std::string& name) {
  throw Problem{409, "lease_lost", fmt::format("lock \"{}\" is not held under this owner and fence", name)};
}

}  // namespace

LockRoutes::LockRoutes(Service& service) : service_(service), clock_(service.store) {}

Locks& LockRoutes::locks() const {
  Locks* locks = service_.store.locks();
  if (locks == nullptr) throw Problem{501, "not_supported", "this store has no locks"};
  return *locks;
}

http::Response LockRoutes::acquire(const Ask& ask) {
  const LockBody body = read_body(ask, false);
  rules::check_name("lock", ask.path[0]);
  rules::check_name("lock's owner", body.owner);
  const LockInfo held = locks().acquire(ask.path[0], body.owner, body.ttl, clock_.call());
  if (held.owner == body.owner) return answer_of(200, held);
  throw Problem{409, "lock_held",
                fmt::format("\"{}\" has it until {}", held.owner, wire::format_time(held.until))};
}

http::Response LockRoutes::extend(const Ask& ask) {
  const LockBody body = read_body(ask, true);
  const Call call = clock_.call();
  if (!locks().extend(ask.path[0], body.owner, body.fence, body.ttl, call)) refuse_holder(ask.path[0]);
  return answer_of(200, {ask.path[0], body.owner, body.fence, call.now + body.ttl});
}

http::Response LockRoutes::release(const Ask& ask) {
  const LockBody body = read_body(ask, true);
  if (!locks().release(ask.path[0], body.owner, body.fence, clock_.call())) refuse_holder(ask.path[0]);
  return nothing();
}

http::Response LockRoutes::list(const Ask& ask) {
  const auto limit = static_cast<std::size_t>(ask.number("limit", 50, 1, 1000));
  const auto held = locks().list(ask.parameter("after"), limit, clock_.call());
  return json_answer(200, list_of(held, write_lock));
}

void LockRoutes::add_routes(Routes& routes) {
  const std::string owner = R"({"owner":"node-1","ttl":"30s"})";
  const std::string fence = R"({"owner":"node-1","fence":1764000000000000,"ttl":"30s"})";
  routes.add({.method = "GET",
              .pattern = "/api/v1/locks",
              .summary = "The locks that are held, by name",
              .roles = viewers,
              .parameters = {"after", "limit"},
              .handle = [this](const Ask& ask) { return list(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/locks/{name}/acquire",
              .summary = "Take a lock for `ttl`; its fence is greater than all before",
              .roles = workers + producers,
              .body = owner,
              .handle = [this](const Ask& ask) { return acquire(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/locks/{name}/extend",
              .summary = "Keep a lock for `ttl` from now",
              .roles = workers + producers,
              .body = fence,
              .handle = [this](const Ask& ask) { return extend(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/locks/{name}/release",
              .summary = "Give a lock back",
              .roles = workers + producers,
              .body = fence,
              .handle = [this](const Ask& ask) { return release(ask); }});
}

}  // namespace tidemill::server
