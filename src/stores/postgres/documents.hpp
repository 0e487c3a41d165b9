#pragma once

#include <tidemill/documents.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

class PostgresDocuments final : public Documents {
 public:
  /// Both must outlive it.
  PostgresDocuments(Lane& lane, Readers& readers) : lane_(lane), readers_(readers) {}

  std::vector<std::optional<Document>> get(std::span<const DocumentName> names, const Call& call) override;
  std::vector<std::optional<std::uint64_t>> put(std::span<const Document> documents,
                                                const Call& call) override;
  std::vector<bool> erase(std::span<const EraseDocument> documents, const Call& call) override;
  std::vector<Document> list(std::string_view folder, std::string_view after, std::size_t limit,
                             const Call& call) override;

 private:
  Lane& lane_;
  Readers& readers_;
};

}  // namespace tidemill::postgres_store
