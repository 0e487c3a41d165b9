// The one place that knows all stores.
#include <string>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "core/url.hpp"
#include "stores/check_url.hpp"
#include "stores/memory/memory_store.hpp"
#include "stores/mysql/mysql_store.hpp"
#include "stores/postgres/postgres_store.hpp"
#include "stores/redis/redis_store.hpp"
#include "stores/sqlite/sqlite_store.hpp"

namespace tidemill {

namespace {

[[noreturn]] void unknown_scheme(const Url& url) {
  throw Error{
      ErrorKind::invalid,
      fmt::format("there is no store \"{}:\"; there are sqlite: (as in sqlite:jobs.db), postgres: (as in "
                  "postgres://user@localhost/app), mysql: (as in mysql://user@localhost/app), redis: (as in "
                  "redis://localhost:6379/0) and memory:",
                  url.scheme)};
}

SqliteOptions sqlite_options(const Url& url) {
  url.allow_only({"synchronous"});
  SqliteOptions options;
  options.path = url.path;
  if (options.path.empty()) {
    throw Error{ErrorKind::invalid, "store URL \"sqlite:\" names no file; write for instance sqlite:jobs.db"};
  }
  const auto synchronous = url.query.find("synchronous");
  if (synchronous == url.query.end() || synchronous->second == "full") return options;
  if (synchronous->second != "normal") {
    throw Error{ErrorKind::invalid,
                fmt::format("store URL sqlite:{}: synchronous is \"{}\"; it must be full or normal", url.path,
                            synchronous->second)};
  }
  options.full_sync = false;
  return options;
}

void check_memory(const Url& url) {
  url.allow_only({});
  if (!url.path.empty()) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("store URL \"memory:{}\": a store in memory has no name; write memory:", url.path)};
  }
}

/// redis, rediss, redis+sentinel …: the driver reads these by itself, as they name several servers.
bool is_redis(std::string_view text) {
  const std::string_view scheme = text.substr(0, text.find(':'));
  return scheme == "redis" || scheme == "rediss" || scheme.starts_with("redis+") ||
         scheme.starts_with("rediss+");
}

/// The driver reads these by itself too.
bool is_postgres(std::string_view text) {
  const std::string_view scheme = text.substr(0, text.find(':'));
  return scheme == "postgres" || scheme == "postgresql";
}

/// And these.
bool is_mysql(std::string_view text) {
  const std::string_view scheme = text.substr(0, text.find(':'));
  return scheme == "mysql" || scheme == "mariadb";
}

}  // namespace

void check_store_url(std::string_view text) {
  if (is_redis(text)) return check_redis_url(text);
  if (is_postgres(text)) return check_postgres_url(text);
  if (is_mysql(text)) return check_mysql_url(text);
  const Url url = Url::parse(text);
  if (url.scheme == "memory") return check_memory(url);
  if (url.scheme != "sqlite") unknown_scheme(url);
  (void)sqlite_options(url);
}

std::unique_ptr<Store> open(std::string_view text, const OpenOptions& options) {
  const Clock* const own_clock = options.clock == &Clock::system() ? nullptr : options.clock;
  if (is_redis(text)) return open_redis(text, own_clock);
  if (is_postgres(text)) return open_postgres(text, own_clock, options.migrate);
  if (is_mysql(text)) return open_mysql(text, own_clock, options.migrate);
  const Url url = Url::parse(text);
  if (url.scheme == "memory") {
    check_memory(url);
    return open_memory({.clock = options.clock});
  }
  if (url.scheme == "sqlite") {
    SqliteOptions sqlite = sqlite_options(url);
    sqlite.clock = options.clock;
    sqlite.migrate = options.migrate;
    return open_sqlite(sqlite);
  }
  unknown_scheme(url);
}

Migration migrate(std::string_view text) {
  if (is_redis(text)) return {};
  if (is_postgres(text)) return migrate_postgres(text);
  if (is_mysql(text)) return migrate_mysql(text);
  const Url url = Url::parse(text);
  if (url.scheme == "memory") return {};
  if (url.scheme == "sqlite") return migrate_sqlite(sqlite_options(url));
  unknown_scheme(url);
}

}  // namespace tidemill
