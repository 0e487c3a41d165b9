#include "stores/sql/lane_body.hpp"

#include "stores/postgres/database.hpp"
#include "stores/sql/readers_body.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql void_number_sql{
    "UPDATE main.tidemill_session SET number = CASE WHEN number < $2 THEN $2 + 1 ELSE number END WHERE id = "
    "$1 RETURNING number"};
constexpr Sql no_sync{"SELECT set_config('synchronous_commit', 'off', true)"};
constexpr Sql wait_shortly{"SELECT set_config('lock_timeout', '2s', true)"};
constexpr Sql one_moment{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"};

}  // namespace

const Sql plan_by_index{
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"};

const Sql Postgres::put_session{
    "INSERT INTO main.tidemill_session (id, number, used_at) VALUES ($1, 0, now()) ON CONFLICT (id) DO "
    "UPDATE SET used_at = now()"};
// NULL is refused.
const Sql Postgres::move_session{
    "UPDATE main.tidemill_session SET number = CASE WHEN number < $2 THEN $2 END, used_at = now() WHERE id = "
    "$1"};

std::optional<std::int64_t> Postgres::void_number(Connection& db, std::int64_t session, std::int64_t number) {
  auto row = db.query(void_number_sql, session, number);
  return row.step() ? std::optional{row.integer(0)} : std::nullopt;
}

bool Postgres::may_succeed_again(const Failure& failure, bool /*waits_for_keys*/) {
  // A unique violation is another's commit between look and write.
  return failure.state() == unique_violation ||
         (failure.retryable() && failure.state() != lock_not_available);
}

postgres::Failure Postgres::undone(const Failure& failure) { return {Outcome::undone, "", failure.what()}; }

Batch Postgres::settings_of_write(bool waits_for_keys, bool sync) {
  Batch batch;
  batch.add(plan_by_index);
  if (waits_for_keys) batch.add(wait_shortly);
  if (!sync) batch.add(no_sync);
  return batch;
}

Batch Postgres::opening_of_look() {
  Batch batch;
  batch.add(plan_by_index);
  return batch;
}

Batch Postgres::opening_of_read() {
  Batch batch;
  batch.add(one_moment);
  batch.add(plan_by_index);
  return batch;
}

}  // namespace tidemill::postgres_store

template class tidemill::sql_store::Lane<tidemill::postgres_store::Postgres>;
template class tidemill::sql_store::Readers<tidemill::postgres_store::Postgres>;
