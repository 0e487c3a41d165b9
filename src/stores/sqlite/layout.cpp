#include "stores/sqlite/layout.hpp"

#include <cstring>

namespace tidemill::sqlite_store {

std::string id_at(const sqlite::Query& row, int column) {
  const std::string_view bytes = row.bytes(column);
  if (bytes.size() != sizeof(Uuid) || !row.is_blob(column)) return std::string{bytes};
  Uuid uuid;
  std::memcpy(uuid.data(), bytes.data(), uuid.size());
  return tidemill::to_string(uuid);
}

}  // namespace tidemill::sqlite_store
