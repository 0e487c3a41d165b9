#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>

#include "drivers/postgres/postgres.hpp"
#include "stores/sql/columns.hpp"
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

using sql_store::blob_unless_empty;
using sql_store::first_line;
using sql_store::id_text;
using sql_store::last_line;
using sql_store::line_of;
using sql_store::make_claim;
using sql_store::no_claim;
using sql_store::queue_of;
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

/// What `sql_store::read_row` reads: the first columns of a SELECT from `tidemill_job j`.
inline constexpr char job_columns[] =
    "j.seq, j.line, j.at, j.since, j.claim, j.was_due, j.id, j.kind, j.created_at, j.priority, "
    "j.retries_max, j.crashes_max, j.timeout, j.retention, j.deadline, j.expires_at, j.key, j.task_group, "
    "j.headers, j.payload, j.worker, j.started_at, j.marked, j.signal, j.attempt, j.retries, j.crashes, "
    "j.deferrals, j.attempts_kept, j.logs_kept, j.ended_at, j.reason, j.progress, j.error, j.result";

/// Rows as arrays, one for each column: they stand for that many parameters of a statement, as
/// `unnest($1::bigint[], $2::bytea[])` has them.
template <class... Columns>
class Arrays {
 public:
  /// One value a column. What is added is copied.
  template <class... Values>
  void add(const Values&... values) {
    static_assert(sizeof...(Values) == sizeof...(Columns));
    std::apply([&](auto&... arrays) { (arrays.add(values), ...); }, arrays_);
  }
  bool empty() const noexcept { return std::get<0>(arrays_).empty(); }
  void clear() noexcept {
    std::apply([](auto&... arrays) { (arrays.clear(), ...); }, arrays_);
  }
  /// For Parameters::add.
  template <class Use>
  void bind_to(Use use) const {
    std::apply([&](const auto&... arrays) { (use(arrays), ...); }, arrays_);
  }

 private:
  std::tuple<Array<typename Columns::Value>...> arrays_;
};

}  // namespace tidemill::postgres_store
