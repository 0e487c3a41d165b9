#include "server/stored_tokens.hpp"

#include <array>
#include <chrono>

#include <fmt/format.h>

#include "server/problem.hpp"
#include "server/token_limits.hpp"
#include "wire/json_read.hpp"
#include "wire/json_write.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;
using wire::JsonMember;
using wire::JsonValue;

constexpr std::string_view folder = "tokens";
constexpr auto read_every = 1s;
constexpr Duration patience = 5s;
constexpr std::size_t page_size = 500;

StoredToken::Former read_former(const JsonValue& value) {
  using Former = StoredToken::Former;
  static constexpr std::array members = {
      JsonMember<Former>{"secret_sha256", [](Former& f, const JsonValue& v) { f.secret_sha256 = v.text(); }},
      JsonMember<Former>{"until", [](Former& f, const JsonValue& v) { f.until = v.time(); }},
  };
  StoredToken::Former former;
  wire::read_members<Former>(value, former, members);
  return former;
}

/// A member that isn't known may be a limit that a newer server has set, so such a token does not count.
StoredToken read_token(const Document& stored) {
  using Token = StoredToken;
  static constexpr std::array members = {
      JsonMember<Token>{"role",
                        [](Token& t, const JsonValue& v) {
                          t.token.role = v.name<config::Role>("role", config::all_roles);
                        }},
      JsonMember<Token>{"queues", [](Token& t, const JsonValue& v) { t.token.queues = v.texts(); }},
      JsonMember<Token>{"requests_per_minute",
                        [](Token& t, const JsonValue& v) {
                          t.token.requests_per_minute = v.integer(1, config::requests_most);
                        }},
      JsonMember<Token>{"secret_sha256",
                        [](Token& t, const JsonValue& v) { t.token.secret_sha256 = v.text(); }},
      JsonMember<Token>{"former", [](Token& t, const JsonValue& v) { t.former = read_former(v); }},
      JsonMember<Token>{"created_at", [](Token& t, const JsonValue& v) { t.created_at = v.time(); }},
      JsonMember<Token>{"by", [](Token& t, const JsonValue& v) { t.by = v.text(); }},
  };
  StoredToken token{.expires_at = stored.expires_at, .version = stored.version};
  const wire::JsonDocument document{stored.text};
  wire::read_members<Token>(document.root(), token, members);
  token.token.name = stored.name;
  return token;
}

std::string fault_of(std::string_view name, const wire::BadValue& bad) {
  return fmt::format("token \"{}\" as it is stored: {}: {}", name, bad.pointer(), bad.what());
}

std::string text_of(const StoredToken& token) {
  return wire::object([&](json::Writer& writer) {
    write_limits(writer, token.token);
    writer.member("secret_sha256", token.token.secret_sha256);
    if (token.former) {
      wire::member_object(writer, "former", [&] {
        writer.member("secret_sha256", token.former->secret_sha256);
        wire::member_time(writer, "until", token.former->until);
      });
    }
    wire::member_time(writer, "created_at", token.created_at);
    writer.member("by", token.by);
  });
}

}  // namespace

StoredTokens::StoredTokens(Store& store, const Log& log)
    : documents_(store.documents()), log_(log), clock_(store), thread_([this] { loop(); }) {}

StoredTokens::~StoredTokens() { close(); }

void StoredTokens::close() {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
  }
  wakes_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StoredTokens::loop() {
  std::unique_lock lock{mutex_};
  while (true) {
    wakes_.wait(lock, [this] { return closed_ || wanted_; });
    if (wakes_.wait_for(lock, read_every, [this] { return closed_; })) return;
    lock.unlock();
    refresh();
    lock.lock();
  }
}

void StoredTokens::follow(bool wanted) {
  wanted = wanted && documents_ != nullptr;
  {
    const std::lock_guard lock{mutex_};
    if (wanted_ == wanted) return;
  }
  if (wanted) refresh();
  {
    const std::lock_guard lock{mutex_};
    wanted_ = wanted;
  }
  wakes_.notify_all();
}

std::shared_ptr<const StoredToken> StoredTokens::find(const std::string& secret_sha256) const {
  if (documents_ == nullptr) return {};
  std::shared_ptr<const ByDigest> known;
  {
    const std::lock_guard lock{mutex_};
    known = known_;
  }
  if (!known) throw Problem{503, "store_unavailable", "the store's tokens could not be read yet"};
  const auto found = known->find(secret_sha256);
  if (found == known->end()) return {};
  const StoredToken& token = *found->second;
  const TimePoint now = clock_.now();  // The store has told it before, with the tokens.
  if (token.expires_at && now >= *token.expires_at) return {};
  if (secret_sha256 != token.token.secret_sha256 && now >= token.former->until) return {};
  return found->second;
}

void StoredTokens::tell(std::string_view what, std::string why) {
  if (why == trouble_) return;
  if (why.empty())
    log_.info("the store's tokens can be read again");
  else
    log_.warning(what, {{"why", why}});
  trouble_ = std::move(why);
}

std::vector<StoredToken> StoredTokens::list() {
  if (documents_ == nullptr) return {};
  const std::lock_guard one_at_a_time{reading_};
  std::vector<StoredToken> tokens;
  std::string trouble;
  std::string after;
  try {
    while (true) {
      const auto page = documents_->list(folder, after, page_size, clock_.call(patience));
      for (const Document& each : page) {
        try {
          tokens.push_back(read_token(each));
        } catch (const wire::BadValue& bad) {
          trouble = fault_of(each.name, bad);
        }
      }
      if (page.size() < page_size) break;
      after = page.back().name;
    }
  } catch (const std::exception& error) {
    tell("the store's tokens can't be read; those that are known count", error.what());
    throw;
  }
  tell("a token of the store does not read, and does not count", std::move(trouble));
  ByDigest known;
  for (const StoredToken& each : tokens) {
    const auto shared = std::make_shared<const StoredToken>(each);
    known.emplace(each.token.secret_sha256, shared);
    if (each.former) known.emplace(each.former->secret_sha256, shared);
  }
  auto next = std::make_shared<const ByDigest>(std::move(known));
  const std::lock_guard lock{mutex_};
  known_ = std::move(next);
  return tokens;
}

void StoredTokens::refresh() {
  try {
    (void)list();
  } catch (const std::exception&) {  // Has been told.
  }
}

Documents& StoredTokens::documents() const {
  if (documents_ == nullptr) throw Problem{501, "not_supported", "this store keeps no tokens"};
  return *documents_;
}

std::optional<StoredToken> StoredTokens::get(const std::string& name) {
  const DocumentName wanted{std::string{folder}, name};
  const auto found = documents().get({&wanted, 1}, clock_.call()).front();
  if (!found) return {};
  try {
    return read_token(*found);
  } catch (const wire::BadValue& bad) {
    throw Error{ErrorKind::corrupt, fault_of(name, bad)};
  }
}

bool StoredTokens::put(StoredToken& token) {
  const Document document{.folder = std::string{folder},
                          .name = token.token.name,
                          .text = text_of(token),
                          .version = token.version,
                          .expires_at = token.expires_at};
  const auto version = documents().put({&document, 1}, clock_.call()).front();
  if (!version) return false;
  token.version = *version;
  refresh();
  return true;
}

bool StoredTokens::erase(const StoredToken& token) {
  const EraseDocument document{std::string{folder}, token.token.name, token.version};
  if (!documents().erase({&document, 1}, clock_.call()).front()) return false;
  refresh();
  return true;
}

}  // namespace tidemill::server
