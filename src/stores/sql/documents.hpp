#pragma once

#include <algorithm>
#include <map>

#include <tidemill/documents.hpp>

#include "core/named.hpp"
#include "stores/sql/columns.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/readers.hpp"
#include "stores/sql/statements.hpp"

namespace tidemill::sql_store {

/// Whoever writes documents waits for whoever did so before: so none comes between a look and its write.
template <class Database>
class SqlDocuments final : public Documents {
 public:
  using Lane = sql_store::Lane<Database>;
  using Readers = sql_store::Readers<Database>;

  /// Both must outlive it.
  SqlDocuments(Lane& lane, Readers& readers) : lane_(lane), readers_(readers) {}

  std::vector<std::optional<Document>> get(std::span<const DocumentName> names, const Call& call) override;
  std::vector<std::optional<std::uint64_t>> put(std::span<const Document> documents,
                                                const Call& call) override;
  std::vector<bool> erase(std::span<const EraseDocument> documents, const Call& call) override;
  std::vector<Document> list(std::string_view folder, std::string_view after, std::size_t limit,
                             const Call& call) override;

 private:
  using Scope = sql_store::Scope<Database>;
  using Write = sql_store::Write<Database>;
  using Query = typename Database::Query;
  using Place = std::pair<std::string, std::string>;
  using Versions = std::map<Place, std::uint64_t>;

  static bool expired(std::optional<std::int64_t> expires_at, TimePoint now) {
    return expires_at && *expires_at <= stored(now);
  }
  static Document read(const Query& row, int first, std::string_view folder) {
    return {.folder = std::string{folder},
            .name = std::string{row.bytes(first)},
            .text = std::string{row.bytes(first + 1)},
            .version = static_cast<std::uint64_t>(row.integer(first + 2)),
            .expires_at = time_of(row.optional_integer(first + 3))};
  }
  /// The versions of those that there are, after all others that write documents.
  static Versions lock_all(Write& write, const auto& documents, TimePoint now, std::int64_t& counter);
  static std::vector<std::optional<std::uint64_t>> put_all(Write& write, std::span<const Document> documents,
                                                           TimePoint now);
  static std::vector<bool> erase_all(Write& write, std::span<const EraseDocument> documents, TimePoint now);

  Lane& lane_;
  Readers& readers_;
};

template <class Database>
auto SqlDocuments<Database>::lock_all(Write& write, const auto& documents, TimePoint now,
                                      std::int64_t& counter) -> Versions {
  typename Database::template Table<Bytes<"folder">, Bytes<"name">> names;
  for (const auto& each : documents) names.add(Blob{each.folder}, Blob{each.name});
  typename Database::Batch batch;
  batch.add(Database::documents.lock_counter);
  batch.add(Database::documents.lock_versions, names);
  auto answers = write.ask_all(std::move(batch));
  if (!answers[0].step())
    throw Error{ErrorKind::corrupt, "tidemill_meta has lost a counter: restore a backup"};
  counter = answers[0].integer(0);
  Versions versions;
  while (answers[1].step()) {
    if (expired(answers[1].optional_integer(3), now)) continue;
    versions[{std::string{answers[1].bytes(0)}, std::string{answers[1].bytes(1)}}] =
        static_cast<std::uint64_t>(answers[1].integer(2));
  }
  return versions;
}

template <class Database>
std::vector<std::optional<std::uint64_t>> SqlDocuments<Database>::put_all(Write& write,
                                                                          std::span<const Document> documents,
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
    write.tell(Database::documents.put, Blob{each.folder}, Blob{each.name}, counter, stored(each.expires_at),
               Blob{each.text});
    // An expired one is as if it were not there, also for the items that follow.
    if (expired(stored(each.expires_at), now)) {
      versions.erase({each.folder, each.name});
    } else {
      versions[{each.folder, each.name}] = version;
    }
    answers.emplace_back(version);
  }
  if (counter != before) write.tell(Database::documents.set_counter, counter);
  return answers;
}

template <class Database>
std::vector<bool> SqlDocuments<Database>::erase_all(Write& write, std::span<const EraseDocument> documents,
                                                    TimePoint now) {
  std::vector<bool> answers;
  std::int64_t counter = 0;
  auto versions = lock_all(write, documents, now, counter);
  for (const EraseDocument& each : documents) {
    const auto found = versions.find({each.folder, each.name});
    const bool goes = found != versions.end() && each.version.value_or(found->second) == found->second;
    answers.push_back(goes);
    if (!goes) continue;
    versions.erase(found);
    write.tell(Database::documents.drop, Blob{each.folder}, Blob{each.name});
  }
  return answers;
}

template <class Database>
std::vector<std::optional<Document>> SqlDocuments<Database>::get(std::span<const DocumentName> names,
                                                                 const Call& call) {
  typename Database::template Table<Number<"n">, Bytes<"folder">, Bytes<"name">> wanted;
  for (std::size_t i = 0; i < names.size(); ++i) {
    rules::check_document(names[i].folder, names[i].name);
    wanted.add(i, Blob{names[i].folder}, Blob{names[i].name});
  }
  return readers_.read(call, [&](Scope& scope) {
    std::vector<std::optional<Document>> answers(names.size());
    auto row = scope.ask(Database::documents.get_some, wanted, stored(call.now));
    while (row.step()) {
      const auto place = static_cast<std::size_t>(row.integer(0));
      answers[place] = read(row, 1, names[place].folder);
    }
    return answers;
  });
}

template <class Database>
std::vector<std::optional<std::uint64_t>> SqlDocuments<Database>::put(std::span<const Document> documents,
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

template <class Database>
std::vector<bool> SqlDocuments<Database>::erase(std::span<const EraseDocument> documents, const Call& call) {
  if (documents.empty()) return {};
  for (const EraseDocument& each : documents) rules::check_document(each.folder, each.name);
  return lane_.run(call, {.tasks = documents.size()},
                   [&](Write& write) { return erase_all(write, documents, call.now); });
}

template <class Database>
std::vector<Document> SqlDocuments<Database>::list(std::string_view folder, std::string_view after,
                                                   std::size_t limit, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    std::vector<Document> found;
    auto row = scope.ask(Database::documents.get_folder, Blob{folder}, Blob{after}, stored(call.now), limit);
    while (row.step()) found.push_back(read(row, 0, folder));
    return found;
  });
}

}  // namespace tidemill::sql_store
