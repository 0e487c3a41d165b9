#pragma once

#include <tidemill/documents.hpp>

#include "drivers/redis/client.hpp"

namespace tidemill::redis_store {

/// All documents are in one hash slot, so that a batch is one write.
///
/// Thread safety: all members may be called from any thread.
class RedisDocuments final : public Documents {
 public:
  explicit RedisDocuments(redis::Client& client) : client_(client) {}

  std::vector<std::optional<Document>> get(std::span<const DocumentName> names, const Call& call) override;
  std::vector<std::optional<std::uint64_t>> put(std::span<const Document> documents,
                                                const Call& call) override;
  std::vector<bool> erase(std::span<const EraseDocument> documents, const Call& call) override;
  std::vector<Document> list(std::string_view folder, std::string_view after, std::size_t limit,
                             const Call& call) override;

  /// Deletes what has expired, `limit` at most, and answers how many.
  std::size_t purge(std::size_t limit, const Call& call);

 private:
  redis::Client& client_;
};

}  // namespace tidemill::redis_store
