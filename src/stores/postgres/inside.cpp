// What a caller's transaction is told apart by.
#include "stores/postgres/bell.hpp"
#include "stores/postgres/database.hpp"
#include "stores/postgres/schema.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql notify{"SELECT pg_notify($1, $2)::text"};

}  // namespace

const sql_store::InsideStatements Postgres::inside{
    .get_identity = {"SELECT value FROM main.tidemill_meta WHERE name = 'identity'"},
    .database_name = {"SELECT current_database()::text"},
};

bool Postgres::is_read_only(const Failure& failure) { return failure.state() == "25006"; }

bool Postgres::is_elsewhere(const Failure& failure) {
  // A handle may not know the state.
  return failure.state() == "42P01" || failure.state() == "3F000" ||
         (failure.state().empty() && !failure.lost());
}

void Postgres::tell_listeners(Write& write, Connection& db) {
  if (const auto news = write.queue_news(); !news.empty())
    write.tell(notify, channel_of(db.quoted_schema()), bell_message("-", news));
}

}  // namespace tidemill::postgres_store
