#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "drivers/postgres/postgres.hpp"
#include "stores/sql/ids.hpp"
#include "stores/sql/layout.hpp"

/// How values lie in the tables of schema.cpp: as in all SQL stores; and all texts as bytes, since some
/// aren't UTF-8, and so that they are compared byte by byte whatever the database's language.
namespace tidemill::postgres_store {

using postgres::Array;
using postgres::Batch;
using postgres::Blob;
using postgres::join;
using postgres::Query;
using postgres::Sql;

using sql_store::first_line;
using sql_store::id_text;
using sql_store::last_line;
using sql_store::line_of;
using sql_store::make_claim;
using sql_store::no_claim;
using sql_store::parse_token;
using sql_store::queue_of;
using sql_store::read_lines;
using sql_store::read_map;
using sql_store::set_line;
using sql_store::state_of;
using sql_store::stored;
using sql_store::stored_id;
using sql_store::time_of;
using sql_store::Token;
using sql_store::token_text;
using sql_store::unless;
using sql_store::usual_crashes_max;
using sql_store::usual_retries_max;
using sql_store::usual_timeout;
using sql_store::write_lines;
using sql_store::write_map;

/// NULL when it is empty.
inline std::optional<Blob> unless_empty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional{Blob{text}};
}

}  // namespace tidemill::postgres_store
