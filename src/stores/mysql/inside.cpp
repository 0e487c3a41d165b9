// What a caller's transaction is told apart by.
#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

const sql_store::InsideStatements Mysql::inside{
    .get_identity = {"SELECT value FROM main.meta WHERE name = 'identity'"},
    .database_name = {"SELECT DATABASE()"},
};

bool Mysql::is_read_only(const Failure& failure) { return failure.read_only(); }

bool Mysql::is_elsewhere(const Failure& failure) {
  const bool unclear = failure.number() == 0 && !failure.lost();  // A handle may not know.
  return failure.missing() || failure.forbidden() || unclear;
}

}  // namespace tidemill::mysql_store
