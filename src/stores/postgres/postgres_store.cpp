#include "stores/postgres/postgres_store.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/postgres.hpp>

#include "core/url.hpp"
#include "stores/postgres/claim.hpp"
#include "stores/postgres/errors.hpp"
#include "stores/postgres/keyed.hpp"
#include "stores/postgres/schema.hpp"
#include "stores/postgres/store_impl.hpp"
#include "stores/sql/catalog_body.hpp"
#include "stores/sql/handle.hpp"
#include "stores/sql/server_store_body.hpp"

namespace tidemill {

namespace {

constexpr int version_least = 130000;

postgres::Options read_url(std::string_view url) {
  try {
    postgres::Options options = postgres::parse_url(url);
    if (options.schema.find('\'') == options.schema.npos) return options;
    throw Error{
        ErrorKind::invalid,
        fmt::format("store URL: the schema is \"{}\"; its name can't have an apostrophe", options.schema)};
  } catch (const postgres::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

/// Makes sure that the schema is as this program needs it, and says what was done for that.
Migration prepare(const postgres::Options& server, const std::string& where, bool migrate) {
  try {
    postgres::Connection db{server};
    if (db.server_version() < version_least) {
      throw Error{ErrorKind::unavailable,
                  fmt::format("{} is PostgreSQL {}, which is too old; 13 or later is needed", where,
                              db.server_version() / 10000)};
    }
    if (migrate) return postgres_store::migrate_schema(db, where);
    postgres_store::check_schema(db, where);
    return {postgres_store::schema_version(), postgres_store::schema_version()};
  } catch (const postgres::Failure& failure) {
    throw postgres_store::to_error(failure, where);
  }
}

}  // namespace

void check_postgres_url(std::string_view url) { (void)read_url(url); }

std::unique_ptr<Store> open_postgres(std::string_view url, const Clock* clock, bool migrate) {
  postgres::Options server = read_url(url);
  std::string where = postgres::shown(server);
  prepare(server, where, migrate);
  return std::make_unique<postgres_store::PostgresStore>(std::move(server), std::move(where), clock);
}

std::unique_ptr<Store> open_postgres(PostgresHandles handles, const OpenOptions& options) {
  if (!handles.connect) throw Error{ErrorKind::invalid, "PostgresHandles: there is no connect"};
  postgres::Options server = read_url("postgres:///?schema=" + percent_encoded(handles.schema));
  server.sessions = sql_store::sessions_of(std::move(handles.connect));
  std::string where = fmt::format("PostgreSQL by the application's connections, schema {}", server.schema);
  prepare(server, where, options.migrate);
  const Clock* const clock = options.clock == &Clock::system() ? nullptr : options.clock;
  return std::make_unique<postgres_store::PostgresStore>(std::move(server), std::move(where), clock);
}

Migration migrate_postgres(std::string_view url) {
  const postgres::Options server = read_url(url);
  return prepare(server, postgres::shown(server), true);
}

namespace postgres_store {

PostgresStore::PostgresStore(postgres::Options server, std::string where, const Clock* clock)
    : ServerStore(std::move(server), std::move(where), Capabilities{}.task_bytes_max, clock),
      janitor_(server_),
      bell_(server_, channel_of(postgres::quoted(server_.schema)), naming_, hub_) {}

void PostgresStore::publish(News news, std::int64_t died) {
  janitor_.died(died);
  hub_.publish(news);
  bell_.tell(std::move(news));
}

bool PostgresStore::claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) {
  return postgres_store::claim_nothing(scope, claim, fronts_, now, answer);
}

ClaimAnswer PostgresStore::claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now) {
  return postgres_store::claim_tasks(write, claim, fronts_, std::move(looked), now);
}

Wake PostgresStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                         std::stop_token stop) {
  bell_.listen();
  return ServerStore::wait(worker, queues, timeout, std::move(stop));
}

}  // namespace postgres_store
}  // namespace tidemill

template class tidemill::sql_store::ServerStore<tidemill::postgres_store::Postgres>;
