#include "stores/sql/ids.hpp"

#include <cstring>

#include "core/uuid.hpp"

namespace tidemill::sql_store {

namespace {

bool ends_in_zeros_alone(std::string_view bytes) {
  return bytes.size() >= sizeof(Uuid) && bytes.find_first_not_of('\0', sizeof(Uuid)) == bytes.npos;
}

}  // namespace

std::string stored_id(std::string_view text) {
  if (const auto uuid = parse_uuid(text)) {
    return {reinterpret_cast<const char*>(uuid->data()), uuid->size()};
  }
  std::string bytes{text};
  if (ends_in_zeros_alone(text)) bytes += '\0';
  return bytes;
}

std::string id_text(std::string_view bytes) {
  if (bytes.size() == sizeof(Uuid)) {
    Uuid uuid;
    std::memcpy(uuid.data(), bytes.data(), uuid.size());
    return tidemill::to_string(uuid);
  }
  if (ends_in_zeros_alone(bytes)) bytes.remove_suffix(1);
  return std::string{bytes};
}

}  // namespace tidemill::sql_store
