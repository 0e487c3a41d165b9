#pragma once

#include <optional>
#include <string_view>

#include "drivers/mysql/mysql.hpp"
#include "stores/sql/columns.hpp"
#include "stores/sql/ids.hpp"
#include "stores/sql/layout.hpp"

/// How values lie in the tables of schema.cpp: as in all SQL stores; and all texts as bytes, since some
/// aren't UTF-8, and so that they are compared byte by byte whatever the database's language.
namespace tidemill::mysql_store {

using mysql::Batch;
using mysql::Blob;
using mysql::join;
using mysql::Query;
using mysql::Rows;
using mysql::Sql;
using mysql::Table;

using sql_store::blob_unless_empty;
using sql_store::first_line;
using sql_store::last_line;
using sql_store::line_of;
using sql_store::make_claim;
using sql_store::no_claim;
using sql_store::queue_of;
using sql_store::read_map;
using sql_store::set_line;
using sql_store::state_of;
using sql_store::stored;
using sql_store::stored_id;
using sql_store::time_of;
using sql_store::token_text;
using sql_store::unless;
using sql_store::usual_crashes_max;
using sql_store::usual_retries_max;
using sql_store::usual_timeout;
using sql_store::write_map;

/// How long an id, a name, a unique key or a group's name may be, as they are parts of indexes.
inline constexpr std::size_t name_bytes_most = 1024;

/// What `sql_store::read_row` reads: the first columns of a SELECT from `main.job j`.
inline constexpr char job_columns[] =
    "j.seq, j.line, j.at, j.since, j.claim, j.was_due, j.id, j.kind, j.created_at, j.priority, "
    "j.retries_max, j.crashes_max, j.timeout, j.retention, j.deadline, j.expires_at, j.unique_key, "
    "j.task_group, j.headers, j.payload, j.worker, j.started_at, j.marked, j.asked, j.attempt, j.retries, "
    "j.crashes, "
    "j.deferrals, j.attempts_kept, j.logs_kept, j.ended_at, j.reason, j.progress, j.error, j.result";

/// A Table of such columns.
template <class... Columns>
class TableOf : public Table {
 public:
  TableOf() : Table{Columns::name...} {}
};

/// A statement of about so much is sent by itself: a server takes 16 MiB or more, and a task may be half of
/// that.
inline constexpr std::size_t statement_bytes = 1U << 20U;

}  // namespace tidemill::mysql_store
