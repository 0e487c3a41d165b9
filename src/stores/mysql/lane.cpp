#include "stores/sql/lane_body.hpp"

#include "stores/mysql/database.hpp"
#include "stores/sql/readers_body.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql void_number_sql{
    "UPDATE main.session SET number = CASE WHEN number < $2 THEN $2 + 1 ELSE number END WHERE id = $1"};
constexpr Sql get_number{"SELECT number FROM main.session WHERE id = $1"};
/// How long to wait for a lock, in seconds: the server's own 50 is longer than anybody here has time.
constexpr Sql wait_for_locks{"SET SESSION innodb_lock_wait_timeout = $1"};
constexpr int lock_seconds = 5;
constexpr int key_seconds = 2;
// Of all transactions of the connection.
constexpr Sql one_moment{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"};
// What is sorted by names is sorted by all of their bytes, and not by 1024.
constexpr Sql whole_names{"SET SESSION max_sort_length = 8192"};

}  // namespace

const Sql Mysql::put_session{
    "INSERT INTO main.session (id, number, used_at) VALUES ($1, 0, UNIX_TIMESTAMP()) ON DUPLICATE KEY UPDATE "
    "used_at = UNIX_TIMESTAMP()"};
// NULL is refused.
const Sql Mysql::move_session{
    "UPDATE main.session SET number = CASE WHEN number < $2 THEN $2 END, used_at = UNIX_TIMESTAMP() WHERE id "
    "= $1"};

std::optional<std::int64_t> Mysql::void_number(Connection& db, std::int64_t session, std::int64_t number) {
  Batch batch;
  batch.add(void_number_sql, session, number);
  batch.add(get_number, session);
  auto row = std::move(db.send(batch).back());
  return row.step() ? std::optional{row.integer(0)} : std::nullopt;
}

bool Mysql::may_succeed_again(const Failure& failure, bool waits_for_keys) {
  // A duplicate is another's commit between look and write. What holds a key may be somebody's open
  // transaction.
  return failure.duplicate() || (failure.retryable() && !(waits_for_keys && failure.lock_timed_out()));
}

mysql::Failure Mysql::undone(const Failure& failure) {
  return {Outcome::undone, failure.number(), {}, failure.what()};
}

void Mysql::set_up_writer(Connection& db, bool waits_for_keys) {
  db.run(wait_for_locks, waits_for_keys ? key_seconds : lock_seconds);
}

void Mysql::set_up_reader(Connection& db) {
  db.run(one_moment);
  db.run(whole_names);
}

}  // namespace tidemill::mysql_store

template class tidemill::sql_store::Lane<tidemill::mysql_store::Mysql>;
template class tidemill::sql_store::Readers<tidemill::mysql_store::Mysql>;
