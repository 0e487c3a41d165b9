#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "drivers/sql/blob.hpp"

/// Columns of rows that travel with a statement. Each database has a `Table` of such, for statements that
/// join it, and `Rows`, for an INSERT: `Table<Number<"seq">, Bytes<"id">>`.
namespace tidemill::sql_store {

using sql::Blob;

/// NULL when it is empty.
inline std::optional<Blob> blob_unless_empty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional{Blob{text}};
}

template <std::size_t Size>
struct ColumnName {
  consteval ColumnName(const char (&name)[Size]) { std::copy_n(name, Size, text); }
  char text[Size];
};

/// Integers, enumerations, and optionals of these.
template <ColumnName Name>
struct Number {
  static constexpr const char* name = Name.text;
  using Value = std::int64_t;
};

/// Blobs, and optionals of these.
template <ColumnName Name>
struct Bytes {
  static constexpr const char* name = Name.text;
  using Value = Blob;
};

template <ColumnName Name>
struct Flag {
  static constexpr const char* name = Name.text;
  using Value = bool;
};

/// Tasks that are to be erased if they are still these, under this claim.
template <template <class...> class Table>
using SimpleEnds = Table<Number<"seq">, Number<"claim">, Number<"queue">, Bytes<"id">>;

/// Leases that are to be extended.
template <template <class...> class Table>
using Extensions = Table<Number<"seq">, Number<"claim">, Bytes<"id">, Flag<"started">, Bytes<"progress">>;

}  // namespace tidemill::sql_store
