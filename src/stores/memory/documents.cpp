#include "stores/memory/documents.hpp"

#include <algorithm>

#include "core/named.hpp"

namespace tidemill::memory {

namespace {

bool expired(const Document& document, TimePoint now) {
  return document.expires_at && *document.expires_at <= now;
}

}  // namespace

const Document* MemoryDocuments::find(const std::string& folder, const std::string& name,
                                      TimePoint now) const {
  const auto found = documents_.find({folder, name});
  return found == documents_.end() || expired(found->second, now) ? nullptr : &found->second;
}

std::vector<std::optional<Document>> MemoryDocuments::get(std::span<const DocumentName> names,
                                                          const Call& call) {
  for (const DocumentName& each : names) rules::check_document(each.folder, each.name);
  const std::lock_guard guard{mutex_};
  std::vector<std::optional<Document>> answers;
  for (const DocumentName& each : names) {
    const Document* const found = find(each.folder, each.name, call.now);
    answers.push_back(found == nullptr ? std::nullopt : std::optional{*found});
  }
  return answers;
}

std::vector<std::optional<std::uint64_t>> MemoryDocuments::put(std::span<const Document> documents,
                                                               const Call& call) {
  for (const Document& each : documents) rules::check_document(each);
  const std::lock_guard guard{mutex_};
  std::vector<std::optional<std::uint64_t>> answers;
  for (const Document& each : documents) {
    const Document* const found = find(each.folder, each.name, call.now);
    if ((found == nullptr ? 0 : found->version) != each.version) {
      answers.emplace_back();
      continue;
    }
    version_ = static_cast<std::uint64_t>(
        std::max<std::int64_t>(static_cast<std::int64_t>(version_) + 1, call.now.time_since_epoch().count()));
    Document& stored = documents_[{each.folder, each.name}];
    stored = each;
    stored.version = version_;
    answers.emplace_back(version_);
  }
  return answers;
}

std::vector<bool> MemoryDocuments::erase(std::span<const EraseDocument> documents, const Call& call) {
  for (const EraseDocument& each : documents) rules::check_document(each.folder, each.name);
  const std::lock_guard guard{mutex_};
  std::vector<bool> answers;
  for (const EraseDocument& each : documents) {
    const Document* const found = find(each.folder, each.name, call.now);
    const bool erases = found != nullptr && each.version.value_or(found->version) == found->version;
    if (erases) documents_.erase({each.folder, each.name});
    answers.push_back(erases);
  }
  return answers;
}

std::vector<Document> MemoryDocuments::list(std::string_view folder, std::string_view after,
                                            std::size_t limit, const Call& call) {
  const std::lock_guard guard{mutex_};
  std::vector<Document> found;
  for (auto at = documents_.upper_bound({std::string{folder}, std::string{after}});
       at != documents_.end() && at->first.first == folder && found.size() < limit; ++at) {
    if (!expired(at->second, call.now)) found.push_back(at->second);
  }
  return found;
}

std::size_t MemoryDocuments::purge(TimePoint now, std::size_t limit) {
  const std::lock_guard guard{mutex_};
  std::size_t left = limit;
  return std::erase_if(documents_, [&](const auto& entry) {
    const bool purged = left > 0 && expired(entry.second, now);
    if (purged) --left;
    return purged;
  });
}

}  // namespace tidemill::memory
