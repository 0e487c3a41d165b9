#include <libpq-fe.h>

#include <tidemill/postgres.hpp>
#include <tidemill/tidemill.hpp>

int main() {
  const auto store = tidemill::open("postgres://localhost/app?schema=jobs");
  tidemill::Client client{*store};
  PGconn* const db = PQconnectdb("postgres://localhost/app");
  if (PQstatus(db) != CONNECTION_OK) return 1;
  // [transaction]
  PQclear(PQexec(db, "BEGIN"));
  PQclear(PQexec(db, "INSERT INTO orders VALUES ('teapot')"));
  tidemill::PostgresTransaction transaction{db};
  client.enqueue(transaction, "order:confirm", R"({"item":"teapot"})");
  PQclear(PQexec(db, "COMMIT"));  // The order and its task exist from here on, or neither.
  // [transaction]
  PQfinish(db);
}
