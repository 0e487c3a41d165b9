#include "stores/mysql/mysql_store.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/mysql.hpp>

#include "core/url.hpp"
#include "stores/mysql/claim.hpp"
#include "stores/mysql/errors.hpp"
#include "stores/mysql/keyed.hpp"
#include "stores/mysql/schema.hpp"
#include "stores/mysql/store_impl.hpp"
#include "stores/sql/catalog_body.hpp"
#include "stores/sql/handle.hpp"
#include "stores/sql/server_store_body.hpp"

namespace tidemill {

namespace {

constexpr unsigned long mariadb_least = 100600;
constexpr unsigned long mysql_least = 80019;

mysql::Options read_url(std::string_view url) {
  try {
    return mysql::parse_url(url);
  } catch (const mysql::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

void check_version(const mysql::Connection& db, const std::string& where) {
  const unsigned long version = db.server_version();
  if (version >= (db.mariadb() ? mariadb_least : mysql_least)) return;
  throw Error{
      ErrorKind::unavailable,
      fmt::format("{} is {} {}.{}.{}, which is too old; MariaDB 10.6 or MySQL 8.0.19 or later is needed",
                  where, db.mariadb() ? "MariaDB" : "MySQL", version / 10000, version / 100 % 100,
                  version % 100)};
}

/// Of the application's connections: how they count is a matter of a flag with which they were made.
void check_counts(mysql::Connection& db) {
  static constexpr mysql::Sql change_nothing{"UPDATE main.meta SET value = value WHERE name = 'identity'"};
  if (db.run(change_nothing) == 1) return;
  throw Error{
      ErrorKind::invalid,
      "the application's connection counts only the rows that an UPDATE changes: make it with the flag "
      "CLIENT_FOUND_ROWS"};
}

/// What the store can do is known from the server.
struct Prepared {
  Migration migration = {};
  std::size_t task_bytes_max = 0;
  std::string database = {};  ///< Of the application's connections.
};

/// A task goes in one statement, whose bytes are twice the task's where those need to be written as digits.
std::size_t task_bytes_max(mysql::Connection& db) {
  static constexpr mysql::Sql get_packet{"SELECT @@max_allowed_packet"};
  constexpr std::size_t rest = 64U << 10U;
  auto row = db.query(get_packet);
  row.step();
  const auto packet = static_cast<std::size_t>(row.integer(0));
  return std::min(Capabilities{}.task_bytes_max, (std::max(packet, 2 * rest) - rest) / 2);
}

std::string database_of(mysql::Connection& db) {
  static constexpr mysql::Sql get_database{"SELECT COALESCE(DATABASE(), '')"};
  auto row = db.query(get_database);
  return row.step() ? std::string{row.bytes(0)} : "";
}

/// Makes sure that the schema is as this program needs it, and says what was done for that.
Prepared prepare(const mysql::Options& server, const std::string& where, bool migrate) {
  try {
    mysql::Connection db{server};
    check_version(db, where);
    Prepared prepared{.task_bytes_max = task_bytes_max(db)};
    const int version = mysql_store::schema_version();
    if (!migrate) mysql_store::check_schema(db, where);
    prepared.migration = migrate ? mysql_store::migrate_schema(db, where) : Migration{version, version};
    if (server.sessions) {
      check_counts(db);
      prepared.database = database_of(db);
    }
    return prepared;
  } catch (const mysql::Failure& failure) {
    throw mysql_store::to_error(failure, where);
  }
}

}  // namespace

void check_mysql_url(std::string_view url) { (void)read_url(url); }

std::unique_ptr<Store> open_mysql(std::string_view url, const Clock* clock, bool migrate) {
  mysql::Options server = read_url(url);
  std::string where = mysql::shown(server);
  const std::size_t bytes = prepare(server, where, migrate).task_bytes_max;
  return std::make_unique<mysql_store::MysqlStore>(std::move(server), std::move(where), bytes, clock);
}

std::unique_ptr<Store> open_mysql(MysqlHandles handles, const OpenOptions& options) {
  if (!handles.connect) throw Error{ErrorKind::invalid, "MysqlHandles: there is no connect"};
  mysql::Options server =
      read_url("mysql://application@localhost/database?prefix=" + percent_encoded(handles.prefix));
  server.sessions = sql_store::sessions_of(std::move(handles.connect));
  std::string where = fmt::format("MariaDB by the application's connections, prefix {}", server.prefix);
  Prepared prepared = prepare(server, where, options.migrate);
  server.database = std::move(prepared.database);
  const Clock* const clock = options.clock == &Clock::system() ? nullptr : options.clock;
  return std::make_unique<mysql_store::MysqlStore>(std::move(server), std::move(where),
                                                   prepared.task_bytes_max, clock);
}

Migration migrate_mysql(std::string_view url) {
  const mysql::Options server = read_url(url);
  return prepare(server, mysql::shown(server), true).migration;
}

namespace mysql_store {

MysqlStore::MysqlStore(mysql::Options server, std::string where, std::size_t task_bytes_max,
                       const Clock* clock)
    : ServerStore(std::move(server), std::move(where), task_bytes_max, clock),
      bell_(server_, naming_, hub_) {}

void MysqlStore::publish(News news, std::int64_t /*died*/) {
  bell_.stir();
  hub_.publish(news);
}

bool MysqlStore::claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) {
  return mysql_store::claim_nothing(scope, claim, now, answer);
}

ClaimAnswer MysqlStore::claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now) {
  return mysql_store::claim_tasks(write, claim, std::move(looked), now, capabilities_.task_bytes_max);
}

}  // namespace mysql_store
}  // namespace tidemill

template class tidemill::sql_store::ServerStore<tidemill::mysql_store::Mysql>;
