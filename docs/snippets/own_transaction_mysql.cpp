#include <mysql.h>

#include <tidemill/mysql.hpp>
#include <tidemill/tidemill.hpp>

int main() {
  const auto store = tidemill::open("mysql://app@127.0.0.1/app?prefix=jobs_");
  tidemill::Client client{*store};
  MYSQL* const db = mysql_init(nullptr);
  mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  if (mysql_real_connect(db, "127.0.0.1", "app", "", "app", 0, nullptr, 0) == nullptr) return 1;
  // [transaction]
  mysql_query(db, "START TRANSACTION");
  mysql_query(db, "INSERT INTO orders VALUES ('teapot')");
  tidemill::MysqlTransaction transaction{db};
  client.enqueue(transaction, "order:confirm", R"({"item":"teapot"})");
  mysql_query(db, "COMMIT");  // The order and its task exist from here on, or neither.
  // [transaction]
  mysql_close(db);
}
