#include "handles.hpp"

#include <memory>

#include <fmt/format.h>

#include "drivers/mysql/options.hpp"
#include "drivers/postgres/options.hpp"

#if __has_include(<pqxx/pqxx>)
#include "pqxx.hpp"
#endif
#if __has_include(<soci/soci.h>)
#include <soci/mysql/soci-mysql.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include "soci.hpp"
#endif

namespace tidemill::contract {

namespace {

/// As libpq's programs write it: without what is ours in the URL.
std::string words_of(const std::string& url) {
  std::string words;
  for (const auto& [name, value] : postgres::parse_url(url).parameters) words += name + "=" + value + " ";
  return words;
}

}  // namespace

#if __has_include(<pqxx/pqxx>)
bool has_pqxx() noexcept { return true; }

SqlHandle pqxx_handle(const std::string& url) {
  struct Owner {
    explicit Owner(const std::string& its_url) : connection(its_url), calls(connection), adapter(calls) {}
    pqxx::connection connection;
    pqxx::nontransaction calls;
    testing::Pqxx adapter;
  };
  const auto owner = std::make_shared<Owner>(words_of(url));
  return SqlHandle::share(std::shared_ptr<testing::Pqxx>{owner, &owner->adapter});
}
#else
bool has_pqxx() noexcept { return false; }
SqlHandle pqxx_handle(const std::string&) { return {}; }
#endif

#if __has_include(<soci/soci.h>)
namespace {

SqlHandle soci_handle(const soci::backend_factory& backend, const std::string& options,
                      testing::Soci::Details details) {
  struct Owner {
    Owner(const soci::backend_factory& its, const std::string& its_options,
          testing::Soci::Details its_details)
        : session(its, its_options), adapter(session, its_details) {}
    soci::session session;
    testing::Soci adapter;
  };
  const auto owner = std::make_shared<Owner>(backend, options, details);
  return SqlHandle::share(std::shared_ptr<testing::Soci>{owner, &owner->adapter});
}

SqlError::Details postgres_details(const soci::soci_error& error) {
  SqlError::Details known{.lost = error.get_error_category() == soci::soci_error::connection_error};
  if (const auto* const its = dynamic_cast<const soci::postgresql_soci_error*>(&error))
    known.state = its->sqlstate();
  return known;
}

SqlError::Details mysql_details(const soci::soci_error& error) {
  const auto* const its = dynamic_cast<const soci::mysql_soci_error*>(&error);
  return {.number = its != nullptr ? static_cast<int>(its->err_num_) : 0};
}

SqlError::Details sqlite_details(const soci::soci_error& error) {
  const auto* const its = dynamic_cast<const soci::sqlite3_soci_error*>(&error);
  return {.number = its != nullptr ? its->result() : 0};
}

}  // namespace

bool has_soci() noexcept { return true; }

SqlHandle soci_mysql_handle(const std::string& url) {
  const mysql::Options its = mysql::parse_url(url);
  return soci_handle(soci::mysql,
                     fmt::format("host={} port={} user={} db={} charset=utf8mb4", its.host, its.port,
                                 its.user, its.database),
                     &mysql_details);
}

SqlHandle soci_sqlite_handle(const std::string& path) {
  return soci_handle(soci::sqlite3, "timeout=5 dbname=" + path, &sqlite_details);
}

SqlHandle soci_postgres_handle(const std::string& url) {
  return soci_handle(soci::postgresql, words_of(url), &postgres_details);
}
#else
bool has_soci() noexcept { return false; }
SqlHandle soci_postgres_handle(const std::string&) { return {}; }
SqlHandle soci_mysql_handle(const std::string&) { return {}; }
SqlHandle soci_sqlite_handle(const std::string&) { return {}; }
#endif

}  // namespace tidemill::contract
