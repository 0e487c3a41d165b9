#include "stores/redis/documents.hpp"

#include "core/named.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/record.hpp"
#include "stores/redis/shared.hpp"

namespace tidemill::redis_store {

namespace {

/// KEYS[1] is the hash of documents: the length of the folder's name, a colon, the folder and the name have
/// VERSION:EXPIRES:TEXT. Behind the key, `:folder:NAME` has the names of a folder in order, `:expires` when
/// documents go, and `:version` is the last version.
constexpr std::string_view common = R"lua(
local K, call = KEYS[1], redis.call
local function field(folder, name) return #folder .. ':' .. folder .. name end
local function get(folder, name, now)
  local text = call('HGET', K, field(folder, name))
  if not text then return nil end
  local version, expires = string.match(text, '^(%d+):(%d*):')
  if expires ~= '' and tonumber(expires) <= now then return nil end
  return {version, expires, string.sub(text, #version + #expires + 3)}
end
local function drop(key)
  local size, rest = string.match(key, '^(%d+):(.*)$')
  size = tonumber(size)
  call('HDEL', K, key)
  call('ZREM', K .. ':folder:' .. string.sub(rest, 1, size), string.sub(rest, size + 1))
  call('ZREM', K .. ':expires', key)
end
)lua";

/// ARGV: now; then folder and name of each. Answers an empty text, or version, expires and text, a document.
constexpr std::string_view get_text = R"lua(
local answers = {}
for i = 2, #ARGV, 2 do answers[#answers + 1] = get(ARGV[i], ARGV[i + 1], tonumber(ARGV[1])) or '' end
return answers
)lua";

/// ARGV: now; then folder, name, text, version and expires of each. Answers versions; empty: another is
/// stored.
constexpr std::string_view put_text = R"lua(
local answers, now = {}, tonumber(ARGV[1])
for i = 2, #ARGV, 5 do
  local folder, name, expires = ARGV[i], ARGV[i + 1], ARGV[i + 4]
  local stored = get(folder, name, now)
  if (stored and stored[1] or '0') ~= ARGV[i + 3] then
    answers[#answers + 1] = ''
  else
    local version = string.format('%d', math.max(tonumber(call('GET', K .. ':version') or '0') + 1, now))
    local key = field(folder, name)
    call('SET', K .. ':version', version)
    call('HSET', K, key, version .. ':' .. expires .. ':' .. ARGV[i + 2])
    call('ZADD', K .. ':folder:' .. folder, 0, name)
    if expires == '' then call('ZREM', K .. ':expires', key) else call('ZADD', K .. ':expires', expires, key) end
    answers[#answers + 1] = version
  end
end
return answers
)lua";

/// ARGV: now; then folder, name and version (empty: any) of each. Answers 1 for each that is gone now.
constexpr std::string_view erase_text = R"lua(
local answers = {}
for i = 2, #ARGV, 3 do
  local stored = get(ARGV[i], ARGV[i + 1], tonumber(ARGV[1]))
  local erases = stored and (ARGV[i + 2] == '' or ARGV[i + 2] == stored[1])
  if erases then drop(field(ARGV[i], ARGV[i + 1])) end
  answers[#answers + 1] = erases and 1 or 0
end
return answers
)lua";

/// ARGV: now, folder, the name before, how many. Answers name and document in turn.
constexpr std::string_view list_text = R"lua(
local answers, most, skipped = {}, tonumber(ARGV[4]), 0
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
while #answers < most * 2 do
  local names = call('ZRANGEBYLEX', K .. ':folder:' .. ARGV[2], from, '+', 'LIMIT', skipped, 100)
  if #names == 0 then break end
  skipped = skipped + #names
  for _, name in ipairs(names) do
    local stored = get(ARGV[2], name, tonumber(ARGV[1]))
    if stored and #answers < most * 2 then
      answers[#answers + 1] = name
      answers[#answers + 1] = stored
    end
  end
end
return answers
)lua";

/// ARGV: now, how many.
constexpr std::string_view purge_text = R"lua(
local keys = call('ZRANGEBYSCORE', K .. ':expires', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, key in ipairs(keys) do drop(key) end
return #keys
)lua";

std::string documents_key() { return shared_key("documents"); }

redis::Command begin(const redis::Script& script, const Call& call) {
  redis::Command command{script, documents_key()};
  command.add(micros(call.now));
  return command;
}

Document to_document(std::string_view folder, std::string_view name, const redis::Reply& stored) {
  Document document{
      .folder = std::string{folder}, .name = std::string{name}, .text = stored.items.at(2).text};
  document.version = static_cast<std::uint64_t>(to_number(stored.items.at(0).text));
  const std::string& expires = stored.items.at(1).text;
  if (!expires.empty()) document.expires_at = from_micros(to_number(expires));
  return document;
}

}  // namespace

std::vector<std::optional<Document>> RedisDocuments::get(std::span<const DocumentName> names,
                                                         const Call& call) {
  static const redis::Script script{common, get_text};
  for (const DocumentName& each : names) rules::check_document(each.folder, each.name);
  std::vector<std::optional<Document>> answers;
  if (names.empty()) return answers;
  auto command = begin(script, call);
  for (const DocumentName& each : names) command.add(each.folder).add(each.name);
  const redis::Reply reply = ask_shared(client_, command.reads(), call);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const redis::Reply& stored = reply.items.at(i);
    answers.push_back(stored.items.empty()
                          ? std::nullopt
                          : std::optional{to_document(names[i].folder, names[i].name, stored)});
  }
  return answers;
}

std::vector<std::optional<std::uint64_t>> RedisDocuments::put(std::span<const Document> documents,
                                                              const Call& call) {
  static const redis::Script script{common, put_text};
  for (const Document& each : documents) rules::check_document(each);
  std::vector<std::optional<std::uint64_t>> answers;
  if (documents.empty()) return answers;
  auto command = begin(script, call);
  for (const Document& each : documents) {
    command.add(each.folder).add(each.name).add(each.text).add(std::to_string(each.version));
    command.add(each.expires_at ? std::to_string(micros(*each.expires_at)) : "");
  }
  const redis::Reply reply = ask_shared(client_, command, call);
  for (const redis::Reply& item : reply.items) {
    answers.push_back(item.text.empty() ? std::nullopt
                                        : std::optional{static_cast<std::uint64_t>(to_number(item.text))});
  }
  return answers;
}

std::vector<bool> RedisDocuments::erase(std::span<const EraseDocument> documents, const Call& call) {
  static const redis::Script script{common, erase_text};
  for (const EraseDocument& each : documents) rules::check_document(each.folder, each.name);
  std::vector<bool> answers;
  if (documents.empty()) return answers;
  auto command = begin(script, call);
  for (const EraseDocument& each : documents) {
    command.add(each.folder).add(each.name).add(each.version ? std::to_string(*each.version) : "");
  }
  const redis::Reply reply = ask_shared(client_, command, call);
  for (const redis::Reply& item : reply.items) answers.push_back(item.integer != 0);
  return answers;
}

std::vector<Document> RedisDocuments::list(std::string_view folder, std::string_view after, std::size_t limit,
                                           const Call& call) {
  static const redis::Script script{common, list_text};
  auto command = begin(script, call);
  command.add(folder).add(after).add(limit).reads();
  const redis::Reply reply = ask_shared(client_, command, call);
  std::vector<Document> found;
  for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2)
    found.push_back(to_document(folder, reply.items[i].text, reply.items[i + 1]));
  return found;
}

std::size_t RedisDocuments::purge(std::size_t limit, const Call& call) {
  static const redis::Script script{common, purge_text};
  auto command = begin(script, call);
  return static_cast<std::size_t>(ask_shared(client_, command.add(limit).repeatable(), call).integer);
}

}  // namespace tidemill::redis_store
