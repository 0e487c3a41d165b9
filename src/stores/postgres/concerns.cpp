// How the server is set up and used where that endangers or slows tasks, and the numbers behind that.
#include <fmt/format.h>

#include "stores/postgres/store_impl.hpp"

namespace tidemill::postgres_store {

namespace {

/// Dead rows that are no trouble yet, and how many times the living ones they may be.
constexpr std::int64_t dead_least = 100'000;
constexpr std::int64_t dead_share = 2;
constexpr std::int64_t transaction_seconds = 300;

constexpr Sql get_settings{
    "SELECT current_setting('synchronous_commit'), current_setting('fsync'), "
    "current_setting('full_page_writes'), current_setting('autovacuum'), pg_is_in_recovery()"};
constexpr Sql get_dead{
    "SELECT n_live_tup, n_dead_tup FROM pg_stat_all_tables WHERE relid = to_regclass('main.tidemill_job')"};
// Whatever holds the horizon back: no row that has died since can be cleared away.
constexpr Sql get_oldest{
    "SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::bigint, "
    "(array_agg(coalesce(nullif(application_name, ''), 'process ' || pid) ORDER BY xact_start))[1] FROM "
    "pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND state IS NOT NULL "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"};
constexpr Sql get_prepared{
    "SELECT max(extract(epoch FROM clock_timestamp() - prepared))::bigint FROM pg_prepared_xacts WHERE "
    "database = current_database()"};

void look_at_settings(Query row, std::vector<Concern>& concerns) {
  if (!row.step()) return;
  if (row.bytes(0) == "off") {
    concerns.push_back(
        {"synchronous_commit is off: what was acknowledged in the last moments goes with the server",
         "ALTER DATABASE … SET synchronous_commit = on"});
  }
  if (row.bytes(1) == "off" || row.bytes(2) == "off") {
    concerns.push_back({"fsync or full_page_writes is off: a power failure damages the whole database",
                        "turn both on in postgresql.conf"});
  }
  if (row.bytes(3) == "off") {
    concerns.push_back({"autovacuum is off: tables of tasks grow with every task that comes and goes",
                        "autovacuum = on in postgresql.conf"});
  }
  if (row.boolean(4)) {
    concerns.push_back({"this server is a standby: it takes no tasks", "name the primary in the URL"});
  }
}

void look_at_dead(Query row, std::vector<Concern>& concerns) {
  if (!row.step()) return;
  const std::int64_t live = row.integer(0);
  const std::int64_t dead = row.integer(1);
  if (dead < dead_least || dead < dead_share * live) return;
  concerns.push_back(
      {fmt::format("the table of tasks has {} dead rows beside {} living: claims have to step over them",
                   dead, live),
       "look for a transaction that has been open for long, which vacuum must wait for; then VACUUM "
       "tidemill_job"});
}

void look_at_transactions(Query oldest, Query prepared, std::vector<Concern>& concerns) {
  if (oldest.step() && oldest.integer(0) >= transaction_seconds) {
    concerns.push_back(
        {fmt::format(
             "a transaction of \"{}\" has been open for {} s: dead rows pile up behind it, and claims "
             "get slower",
             oldest.bytes(1), oldest.integer(0)),
         "end it; idle_in_transaction_session_timeout keeps such from happening again"});
  }
  if (prepared.step() && prepared.integer(0) >= transaction_seconds) {
    concerns.push_back({fmt::format("a prepared transaction has been waiting for {} s: dead rows pile up "
                                    "behind it, and claims get slower",
                                    prepared.integer(0)),
                        "COMMIT PREPARED or ROLLBACK PREPARED it; pg_prepared_xacts lists them"});
  }
}

}  // namespace

std::vector<Concern> PostgresStore::concerns() {
  return readers_.read({}, [](Scope& scope) {
    Batch batch;
    batch.add(get_settings);
    batch.add(get_dead);
    batch.add(get_oldest);
    batch.add(get_prepared);
    auto answers = scope.ask_all(std::move(batch));
    std::vector<Concern> concerns;
    look_at_settings(std::move(answers[0]), concerns);
    look_at_dead(std::move(answers[1]), concerns);
    look_at_transactions(std::move(answers[2]), std::move(answers[3]), concerns);
    return concerns;
  });
}

std::vector<Gauge> PostgresStore::gauges() {
  return readers_.read({}, [](Scope& scope) {
    Batch batch;
    batch.add(get_dead);
    batch.add(get_oldest);
    batch.add(get_prepared);
    auto answers = scope.ask_all(std::move(batch));
    std::vector<Gauge> gauges;
    if (Query& row = answers[0]; row.step()) {
      gauges.push_back({"live_rows", "Living rows of the table of tasks, as PostgreSQL estimates them.",
                        static_cast<double>(row.integer(0))});
      gauges.push_back({"dead_rows", "Dead rows of the table of tasks that no vacuum has cleared away.",
                        static_cast<double>(row.integer(1))});
    }
    const auto seconds = [](Query& row) {
      return row.step() ? static_cast<double>(row.optional_integer(0).value_or(0)) : 0;
    };
    gauges.push_back({"oldest_transaction_seconds",
                      "How long the oldest transaction of the database has been open.", seconds(answers[1])});
    gauges.push_back({"oldest_prepared_transaction_seconds",
                      "How long the oldest prepared transaction has been waiting.", seconds(answers[2])});
    return gauges;
  });
}

}  // namespace tidemill::postgres_store
