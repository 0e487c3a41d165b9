#pragma once

#include "drivers/sql/text.hpp"

/// Parts of statements.
namespace tidemill::persistent_queue {

/// The database's clock in microseconds, in whatever zone the session is.
inline constexpr auto now_us = sql::join("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))");
/// A job's row, with what is kept beside it.
inline constexpr auto both = sql::join("async_job_tab j JOIN tidemill_async_job s ON s.job_id = j.id");
/// The same where nothing may be kept: then those columns are NULL.
inline constexpr auto both_if_any =
    sql::join("async_job_tab j LEFT JOIN tidemill_async_job s ON s.job_id = j.id");

}  // namespace tidemill::persistent_queue
