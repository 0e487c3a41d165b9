#include "server/idempotency.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include <tidemill/documents.hpp>

#include "core/digest.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view folder = "idempotency";
constexpr Duration kept = 24h;
/// Longer than any request takes: whoever began it has died.
constexpr Duration in_progress_max = 60s;
constexpr std::size_t key_max = 128;

/// What is kept of a request, and of its answer once there is one.
struct Kept {
  std::string hash = {};
  TimePoint begun{};
  int status = 0;
  std::string location = {}, body = {};
};

std::string text_of(const Kept& kept_answer) {
  return wire::object([&](json::Writer& writer) {
    writer.member("hash", kept_answer.hash);
    wire::member_time(writer, "begun", kept_answer.begun);
    writer.member("status", kept_answer.status);
    writer.member("location", kept_answer.location);
    writer.member("body", kept_answer.body);
  });
}

Kept read_kept(std::string_view text) {
  using Member = wire::JsonMember<Kept>;
  static constexpr std::array members = {
      Member{"hash", [](Kept& k, const wire::JsonValue& v) { k.hash = v.text(); }},
      Member{"begun", [](Kept& k, const wire::JsonValue& v) { k.begun = v.time(); }},
      Member{"status",
             [](Kept& k, const wire::JsonValue& v) { k.status = static_cast<int>(v.integer(0, 999)); }},
      Member{"location", [](Kept& k, const wire::JsonValue& v) { k.location = v.text(); }},
      Member{"body", [](Kept& k, const wire::JsonValue& v) { k.body = v.text(); }},
  };
  Kept found;
  const wire::JsonDocument document{text};
  wire::read_members<Kept>(document.root(), found, members);
  return found;
}

http::Response replay(const Kept& answer) {
  http::Response response = json_answer(answer.status, answer.body);
  response.headers.emplace_back("Idempotency-Replayed", "true");
  if (!answer.location.empty()) response.headers.emplace_back("Location", answer.location);
  return response;
}

std::string location_of(const http::Response& response) {
  for (const auto& [name, value] : response.headers) {
    if (name == "Location") return value;
  }
  return {};
}

void check_key(std::string_view key) {
  const bool printable = std::ranges::all_of(key, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!key.empty() && key.size() <= key_max && printable) return;
  throw Problem{400, "invalid", fmt::format("an Idempotency-Key has 1 to {} printable characters", key_max)};
}

}  // namespace

std::string id_of(const std::string& seed, std::size_t number) {
  const std::string hex = sha256_hex(fmt::format("{} {}", seed, number));
  const std::string_view text{hex};
  return fmt::format("{}-{}-{}-{}-{}", text.substr(0, 8), text.substr(8, 4), text.substr(12, 4),
                     text.substr(16, 4), text.substr(20, 12));
}

http::Response Idempotency::run(const Ask& ask,
                                const std::function<http::Response(const std::string& seed)>& work) {
  if (!ask.request->has_header("idempotency-key")) return work("");
  const std::string_view key = ask.request->header("idempotency-key");
  check_key(key);
  Documents* documents = service_.store.documents();
  if (documents == nullptr)
    throw Problem{501, "not_supported", "this store keeps no idempotency keys; give tasks ids of your own"};

  const Call call = clock_.call();
  Document document{.folder = std::string{folder},
                    .name = sha256_hex(fmt::format("{}\n{}", ask.caller.name, key)),
                    .expires_at = call.now + kept};
  Kept state{.hash = sha256_hex(fmt::format("{}\n{}", ask.request->path, ask.request->body)),
             .begun = call.now};
  const DocumentName name{document.folder, document.name};
  if (const auto found = documents->get({&name, 1}, call).front()) {
    const Kept before = read_kept(found->text);
    if (before.hash != state.hash) {
      throw Problem{422, "idempotency_mismatch",
                    "this Idempotency-Key came with another path or body before; take a new one"};
    }
    if (before.status != 0) return replay(before);
    if (call.now - before.begun < in_progress_max)
      throw Problem{409, "idempotency_in_progress", "the same request is being carried out; try again"};
    document.version = found->version;
  }
  document.text = text_of(state);
  const auto begun = documents->put({&document, 1}, call).front();
  if (!begun)
    throw Problem{409, "idempotency_in_progress", "the same request is being carried out; try again"};
  document.version = *begun;

  const auto forget = [&] {
    const EraseDocument erase{document.folder, document.name, document.version};
    (void)documents->erase({&erase, 1}, clock_.call());
  };
  http::Response response;
  try {
    response = work(document.name);
  } catch (...) {
    forget();
    throw;
  }
  if (response.status >= 500) {
    forget();
    return response;
  }
  state.status = response.status;
  state.location = location_of(response);
  state.body = response.body;
  document.text = text_of(state);
  (void)documents->put({&document, 1}, clock_.call());
  return response;
}

}  // namespace tidemill::server
