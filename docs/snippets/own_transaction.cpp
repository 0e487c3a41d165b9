#include <sqlite3.h>

#include <tidemill/sqlite.hpp>
#include <tidemill/tidemill.hpp>

int main() {
  const auto store = tidemill::open("sqlite:app.db");
  tidemill::Client client{*store};
  sqlite3* db = nullptr;
  if (sqlite3_open("app.db", &db) != SQLITE_OK) return 1;
  // [transaction]
  sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
  sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS orders (item TEXT)", nullptr, nullptr, nullptr);
  sqlite3_exec(db, "INSERT INTO orders VALUES ('teapot')", nullptr, nullptr, nullptr);
  tidemill::SqliteTransaction transaction{db};
  client.enqueue(transaction, "order:confirm", R"({"item":"teapot"})");
  sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);  // The order and its task exist from here on, or neither.
  // [transaction]
  sqlite3_close(db);
}
