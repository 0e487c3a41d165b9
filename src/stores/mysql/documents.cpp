#include "stores/mysql/documents.hpp"

#include <algorithm>
#include <map>

#include "core/named.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr char named[] =
    "$1 AS t STRAIGHT_JOIN main.document d FORCE INDEX (PRIMARY) ON d.folder_digest = UNHEX(SHA2(t.folder, "
    "256)) AND d.digest = UNHEX(SHA2(t.name, 256))";
constexpr auto get_some_text = join("SELECT t.n, d.name, d.text, d.version, d.expires_at FROM ", named,
                                    " WHERE d.expires_at IS NULL OR d.expires_at > $2");
constexpr Sql get_some{get_some_text.data()};
constexpr Sql get_folder{
    "SELECT name, text, version, expires_at FROM main.document WHERE folder_digest = UNHEX(SHA2($1, 256)) "
    "AND name > $2 AND (expires_at IS NULL OR expires_at > $3) ORDER BY name LIMIT $4"};
constexpr auto lock_versions_text =
    join("SELECT d.folder, d.name, d.version, d.expires_at FROM ", named, " FOR UPDATE");
constexpr Sql lock_versions{lock_versions_text.data()};
// Whoever writes documents waits for whoever did so before: so none comes between a look and its write.
constexpr Sql lock_counter{"SELECT value FROM main.meta WHERE name = 'version' FOR UPDATE"};
constexpr Sql set_counter{"UPDATE main.meta SET value = $1 WHERE name = 'version'"};
constexpr Sql put_one{
    "INSERT INTO main.document (folder_digest, digest, folder, name, version, expires_at, text) VALUES "
    "(UNHEX(SHA2($1, 256)), UNHEX(SHA2($2, 256)), $1, $2, $3, $4, $5) ON DUPLICATE KEY UPDATE "
    "version = VALUES(version), expires_at = VALUES(expires_at), text = VALUES(text)"};
constexpr Sql drop{
    "DELETE FROM main.document WHERE folder_digest = UNHEX(SHA2($1, 256)) AND digest = UNHEX(SHA2($2, "
    "256))"};

using Place = std::pair<std::string, std::string>;

bool expired(std::optional<std::int64_t> expires_at, TimePoint now) {
  return expires_at && *expires_at <= stored(now);
}

Document read(const Query& row, int first, std::string_view folder) {
  return {.folder = std::string{folder},
          .name = std::string{row.bytes(first)},
          .text = std::string{row.bytes(first + 1)},
          .version = static_cast<std::uint64_t>(row.integer(first + 2)),
          .expires_at = time_of(row.optional_integer(first + 3))};
}

/// The versions of those that there are, after all others that write documents.
std::map<Place, std::uint64_t> lock_all(Write& write, const auto& documents, TimePoint now,
                                        std::int64_t& counter) {
  Table names{"folder", "name"};
  for (const auto& each : documents) names.add(Blob{each.folder}, Blob{each.name});
  Batch batch;
  batch.add(lock_counter);
  batch.add(lock_versions, names);
  auto answers = write.ask_all(std::move(batch));
  if (!answers[0].step())
    throw Error{ErrorKind::corrupt, "tidemill_meta has lost a counter: restore a backup"};
  counter = answers[0].integer(0);
  std::map<Place, std::uint64_t> versions;
  while (answers[1].step()) {
    if (expired(answers[1].optional_integer(3), now)) continue;
    versions[{std::string{answers[1].bytes(0)}, std::string{answers[1].bytes(1)}}] =
        static_cast<std::uint64_t>(answers[1].integer(2));
  }
  return versions;
}

std::vector<std::optional<std::uint64_t>> put_all(Write& write, std::span<const Document> documents,
                                                  TimePoint now) {
  std::vector<std::optional<std::uint64_t>> answers;
  std::int64_t counter = 0;
  auto versions = lock_all(write, documents, now, counter);
  const std::int64_t before = counter;
  for (const Document& each : documents) {
    const auto found = versions.find({each.folder, each.name});
    if ((found == versions.end() ? 0 : found->second) != each.version) {
      answers.emplace_back();
      continue;
    }
    counter = std::max(counter + 1, stored(now));
    const auto version = static_cast<std::uint64_t>(counter);
    write.tell(put_one, Blob{each.folder}, Blob{each.name}, counter, stored(each.expires_at),
               Blob{each.text});
    // An expired one is as if it were not there, also for the items that follow.
    if (expired(stored(each.expires_at), now)) {
      versions.erase({each.folder, each.name});
    } else {
      versions[{each.folder, each.name}] = version;
    }
    answers.emplace_back(version);
  }
  if (counter != before) write.tell(set_counter, counter);
  return answers;
}

std::vector<bool> erase_all(Write& write, std::span<const EraseDocument> documents, TimePoint now) {
  std::vector<bool> answers;
  std::int64_t counter = 0;
  auto versions = lock_all(write, documents, now, counter);
  for (const EraseDocument& each : documents) {
    const auto found = versions.find({each.folder, each.name});
    const bool goes = found != versions.end() && each.version.value_or(found->second) == found->second;
    answers.push_back(goes);
    if (!goes) continue;
    versions.erase(found);
    write.tell(drop, Blob{each.folder}, Blob{each.name});
  }
  return answers;
}

}  // namespace

std::vector<std::optional<Document>> MysqlDocuments::get(std::span<const DocumentName> names,
                                                         const Call& call) {
  Table wanted{"n", "folder", "name"};
  for (const DocumentName& each : names) {
    rules::check_document(each.folder, each.name);
    wanted.add(wanted.size(), Blob{each.folder}, Blob{each.name});
  }
  return readers_.read(call, [&](Scope& scope) {
    std::vector<std::optional<Document>> answers(names.size());
    auto row = scope.ask(get_some, wanted, stored(call.now));
    while (row.step()) {
      const auto place = static_cast<std::size_t>(row.integer(0));
      answers[place] = read(row, 1, names[place].folder);
    }
    return answers;
  });
}

std::vector<std::optional<std::uint64_t>> MysqlDocuments::put(std::span<const Document> documents,
                                                              const Call& call) {
  if (documents.empty()) return {};
  std::size_t bytes = 0;
  for (const Document& each : documents) {
    rules::check_document(each);
    bytes += each.text.size();
  }
  return lane_.run(call, {.tasks = documents.size(), .bytes = bytes},
                   [&](Write& write) { return put_all(write, documents, call.now); });
}

std::vector<bool> MysqlDocuments::erase(std::span<const EraseDocument> documents, const Call& call) {
  if (documents.empty()) return {};
  for (const EraseDocument& each : documents) rules::check_document(each.folder, each.name);
  return lane_.run(call, {.tasks = documents.size()},
                   [&](Write& write) { return erase_all(write, documents, call.now); });
}

std::vector<Document> MysqlDocuments::list(std::string_view folder, std::string_view after, std::size_t limit,
                                           const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    std::vector<Document> found;
    auto row = scope.ask(get_folder, Blob{folder}, Blob{after}, stored(call.now), limit);
    while (row.step()) found.push_back(read(row, 0, folder));
    return found;
  });
}

}  // namespace tidemill::mysql_store
