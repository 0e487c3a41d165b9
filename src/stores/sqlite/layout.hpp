#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/uuid.hpp"
#include "drivers/sqlite/sqlite.hpp"
#include "stores/sql/layout.hpp"

/// How values lie in the tables of schema.cpp: as in all SQL stores, and ids as SQLite's columns can have
/// them.
namespace tidemill::sqlite_store {

using sql_store::first_line;
using sql_store::last_line;
using sql_store::line_of;
using sql_store::make_claim;
using sql_store::no_claim;
using sql_store::parse_token;
using sql_store::priority_most;
using sql_store::queue_of;
using sql_store::read_lines;
using sql_store::read_map;
using sql_store::set_line;
using sql_store::state_of;
using sql_store::stored;
using sql_store::time_of;
using sql_store::Token;
using sql_store::token_text;
using sql_store::unless;
using sql_store::unless_empty;
using sql_store::usual_crashes_max;
using sql_store::usual_retries_max;
using sql_store::usual_timeout;
using sql_store::write_lines;
using sql_store::write_map;

/// A canonical UUID takes 16 bytes, as a BLOB; every other text stays TEXT. Refers to the text that it was
/// made of.
class StoredId {
 public:
  explicit StoredId(std::string_view text) : text_(text), uuid_(parse_uuid(text)) {}

  template <class F>
  void bind_to(F&& bind) const {
    if (uuid_) {
      bind(sqlite::Blob{{reinterpret_cast<const char*>(uuid_->data()), uuid_->size()}});
    } else {
      bind(text_);
    }
  }

 private:
  std::string_view text_;
  std::optional<Uuid> uuid_;
};

/// The text of a column that a StoredId was bound to.
std::string id_at(const sqlite::Query& row, int column);

}  // namespace tidemill::sqlite_store
