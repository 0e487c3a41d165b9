#pragma once

#include <map>
#include <mutex>
#include <utility>

#include <tidemill/documents.hpp>

namespace tidemill::memory {

/// Thread safety: all members may be called from any thread.
class MemoryDocuments final : public Documents {
 public:
  std::vector<std::optional<Document>> get(std::span<const DocumentName> names, const Call& call) override;
  std::vector<std::optional<std::uint64_t>> put(std::span<const Document> documents,
                                                const Call& call) override;
  std::vector<bool> erase(std::span<const EraseDocument> documents, const Call& call) override;
  std::vector<Document> list(std::string_view folder, std::string_view after, std::size_t limit,
                             const Call& call) override;

  /// Deletes those that have expired, `limit` at most, and answers how many.
  std::size_t purge(TimePoint now, std::size_t limit);

 private:
  using Name = std::pair<std::string, std::string>;

  /// Null when there is none. Wants the mutex held.
  const Document* find(const std::string& folder, const std::string& name, TimePoint now) const;

  std::mutex mutex_;  // Guards all that follows.
  std::map<Name, Document> documents_;
  std::uint64_t version_ = 0;  // The last.
};

}  // namespace tidemill::memory
