#include "stores/sqlite/documents.hpp"

#include "core/named.hpp"
#include "stores/sqlite/layout.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql get_one{
    "SELECT name, text, version, expires_at FROM main.tidemill_document WHERE folder = ?1 AND name = ?2"};
constexpr sqlite::Sql get_folder{
    "SELECT name, text, version, expires_at FROM main.tidemill_document WHERE folder = ?1 AND name > ?2 "
    "AND (expires_at IS NULL OR expires_at > ?3) ORDER BY name LIMIT ?4"};
constexpr sqlite::Sql get_version{
    "SELECT version, expires_at FROM main.tidemill_document WHERE folder = ?1 AND name = ?2"};
constexpr sqlite::Sql put_one{
    "INSERT INTO main.tidemill_document (folder, name, version, expires_at, text) "
    "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (folder, name) DO UPDATE SET version = excluded.version, "
    "expires_at = excluded.expires_at, text = excluded.text"};
constexpr sqlite::Sql drop{"DELETE FROM main.tidemill_document WHERE folder = ?1 AND name = ?2"};

bool expired(std::optional<std::int64_t> expires_at, TimePoint now) {
  return expires_at && *expires_at <= stored(now);
}

Document read(const sqlite::Query& row, std::string_view folder) {
  return {.folder = std::string{folder},
          .name = std::string{row.bytes(0)},
          .text = std::string{row.bytes(1)},
          .version = static_cast<std::uint64_t>(row.integer(2)),
          .expires_at = time_of(row.optional_integer(3))};
}

/// Zero: there is none.
std::uint64_t version_of(Scope& scope, std::string_view folder, std::string_view name, TimePoint now) {
  auto row = scope.db.query(get_version, folder, name);
  if (!row.step() || expired(row.optional_integer(1), now)) return 0;
  return static_cast<std::uint64_t>(row.integer(0));
}

std::optional<std::uint64_t> write_one(Write& write, const Document& given, TimePoint now) {
  if (version_of(write, given.folder, given.name, now) != given.version) return {};
  const std::int64_t version = write.next_number(Counter::version, now);
  write.db.run(put_one, std::string_view{given.folder}, std::string_view{given.name}, version,
               stored(given.expires_at), std::string_view{given.text});
  return static_cast<std::uint64_t>(version);
}

bool erase_one(Write& write, const EraseDocument& given, TimePoint now) {
  const std::uint64_t version = version_of(write, given.folder, given.name, now);
  if (version == 0 || given.version.value_or(version) != version) return false;
  write.db.run(drop, std::string_view{given.folder}, std::string_view{given.name});
  return true;
}

}  // namespace

std::vector<std::optional<Document>> SqliteDocuments::get(std::span<const DocumentName> names,
                                                          const Call& call) {
  for (const DocumentName& each : names) rules::check_document(each.folder, each.name);
  return readers_.read([&](Scope& scope) {
    std::vector<std::optional<Document>> answers;
    for (const DocumentName& each : names) {
      auto row = scope.db.query(get_one, std::string_view{each.folder}, std::string_view{each.name});
      const bool there = row.step() && !expired(row.optional_integer(3), call.now);
      answers.push_back(there ? std::optional{read(row, each.folder)} : std::nullopt);
    }
    return answers;
  });
}

std::vector<std::optional<std::uint64_t>> SqliteDocuments::put(std::span<const Document> documents,
                                                               const Call& call) {
  std::vector<std::optional<std::uint64_t>> answers;
  if (documents.empty()) return answers;
  std::size_t bytes = 0;
  for (const Document& each : documents) {
    rules::check_document(each);
    bytes += each.text.size();
  }
  lane_.run({.apply =
                 [&](Write& write) {
                   answers.clear();
                   for (const Document& each : documents) {
                     answers.push_back(write_one(write, each, call.now));
                   }
                 },
             .tasks = documents.size(),
             .bytes = bytes,
             .deadline = call.deadline});
  return answers;
}

std::vector<bool> SqliteDocuments::erase(std::span<const EraseDocument> documents, const Call& call) {
  std::vector<bool> answers;
  if (documents.empty()) return answers;
  for (const EraseDocument& each : documents) rules::check_document(each.folder, each.name);
  lane_.run({.apply =
                 [&](Write& write) {
                   answers.clear();
                   for (const EraseDocument& each : documents) {
                     answers.push_back(erase_one(write, each, call.now));
                   }
                 },
             .tasks = documents.size(),
             .deadline = call.deadline});
  return answers;
}

std::vector<Document> SqliteDocuments::list(std::string_view folder, std::string_view after,
                                            std::size_t limit, const Call& call) {
  return readers_.read([&](Scope& scope) {
    std::vector<Document> found;
    auto row = scope.db.query(get_folder, folder, after, stored(call.now), limit);
    while (row.step()) found.push_back(read(row, folder));
    return found;
  });
}

}  // namespace tidemill::sqlite_store
