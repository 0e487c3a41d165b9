#pragma once

#include <cstdint>
#include <string>

#include <tidemill/log.hpp>
#include <tidemill/sql.hpp>

/// The tables: PersistentQueue's two, which Go reads by `SELECT *` and so must stay as they are, and ours
/// beside them.
///
///   tidemill_async_job   what is to be kept of a job that has not ended: retries, when it is due next, who
///                        runs it. One row a job that has run, keyed by its id; deleted some time after the
///                        end.
///   tidemill_shedlock    one row a lease: the number of its term, and whether its last owner released it.
namespace tidemill::persistent_queue {

/// Creates what is missing if `create`, and adds the index if `create_index`: all goes on without one, if it
/// can't be had. Throws Error{corrupt} for a table with other columns, and Error{unavailable} for one that is
/// missing or that the user may not write to.
void prepare_tables(const SqlHandle& db, bool create, bool create_index, const Log& log);

/// Whether the tables that are there take writes now. Throws Error{unavailable}, which says why not.
void check_rights(const SqlHandle& db);

/// Creates shedlock_tab, and nothing else, if it is missing. Throws as above.
void prepare_lock_table(const SqlHandle& db);

/// Whether a look for a type's rows reads those alone.
bool has_index(const SqlHandle& db);

}  // namespace tidemill::persistent_queue
