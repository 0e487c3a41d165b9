// The view for people and programs that speak SQL: readable, and open for a plain INSERT from any language.
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "stores/sqlite/layout.hpp"
#include "stores/sqlite/schema.hpp"

namespace tidemill::sqlite_store {

namespace {

/// SQL for the state's name.
std::string state_name() {
  std::string sql = "CASE j.line >> 8 & 255";
  for (std::size_t i = 1; i < state_count; ++i) {
    sql += fmt::format(" WHEN {} THEN '{}'", i, tidemill::to_string(static_cast<State>(i)));
  }
  return sql + " END";
}

/// SQL for the text of an id.
std::string id_text() {
  return "CASE WHEN typeof(j.id) = 'text' THEN j.id ELSE lower(printf('%s-%s-%s-%s-%s', substr(hex(j.id), 1, "
         "8), "
         "substr(hex(j.id), 9, 4), substr(hex(j.id), 13, 4), substr(hex(j.id), 17, 4), substr(hex(j.id), "
         "21))) END";
}

/// SQL that is true when `text` is a canonical UUID.
std::string is_uuid(std::string_view text) {
  std::string pattern;
  for (int i = 0; i < 36; ++i) {
    pattern += i == 8 || i == 13 || i == 18 || i == 23 ? "-" : "[0-9a-f]";
  }
  return fmt::format("{} GLOB '{}'", text, pattern);
}

/// SQL for the 16 bytes of a canonical UUID. Versions of SQLite before 3.41 have no unhex(), so each byte is
/// cut out of a list of all: they come as `bytes`.
std::string uuid_bytes(std::string_view text, std::string_view bytes) {
  std::string sql = "CAST(";
  constexpr int places[] = {1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35};
  for (const int place : places) {
    if (place > 1) sql += " || ";
    sql += fmt::format(
        "substr({1}, instr('0123456789abcdef', substr({0}, {2}, 1)) * 16 + "
        "instr('0123456789abcdef', substr({0}, {3}, 1)) - 16, 1)",
        text, bytes, place, place + 1);
  }
  return sql + " AS BLOB)";
}

std::string all_bytes() {
  std::string sql = "x'";
  for (int i = 0; i < 256; ++i) sql += fmt::format("{:02x}", i);
  return sql + "'";
}

constexpr std::string_view now_milliseconds =
    "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";

/// SQL for a new UUIDv7 as text: it begins with the time, so that keys made one after the other lie side by
/// side.
std::string new_uuid() {
  return fmt::format(
      "(substr(printf('%012x', {0}), 1, 8) || '-' || substr(printf('%012x', {0}), 9) || '-7' || "
      "lower(substr(hex(randomblob(2)), 2)) || '-' || substr('89ab', 1 + (random() & 3), 1) || "
      "lower(substr(hex(randomblob(2)), 2)) || '-' || lower(hex(randomblob(6))))",
      now_milliseconds);
}

std::string view() {
  return fmt::format(R"sql(
CREATE VIEW tidemill_task AS SELECT
  q.name AS queue,
  {id} AS id,
  {state} AS state,
  k.name AS kind,
  CAST(j.payload AS TEXT) AS payload,
  j.headers AS headers,
  j.task_group AS task_group,
  coalesce(j.priority, 0) AS priority,
  CASE WHEN j.line >> 8 & 255 IN (1, 4) THEN j.at / 1e6 END AS run_at,
  coalesce(r.attempt, 0) AS attempt,
  coalesce(r.retries, 0) AS retries,
  coalesce(j.retries_max, {retries_max}) AS retries_max,
  coalesce(r.crashes, 0) AS crashes,
  coalesce(j.crashes_max, {crashes_max}) AS crashes_max,
  coalesce(j.timeout, {timeout}) / 1e6 AS timeout,
  coalesce(j.retention, 0) / 1e6 AS retention,
  j.deadline / 1e6 AS deadline,
  j.expires_at / 1e6 AS expires_at,
  j.key AS unique_key,
  j.created_at / 1e6 AS created_at,
  coalesce(c.started_at, r.started_at) / 1e6 AS started_at,
  r.ended_at / 1e6 AS ended_at,
  r.reason AS reason,
  r.error AS error,
  CAST(r.result AS TEXT) AS result
FROM tidemill_job j
JOIN tidemill_queue q ON q.id = j.queue
JOIN tidemill_kind k ON k.id = j.kind
LEFT JOIN tidemill_run r ON r.seq = j.seq
LEFT JOIN tidemill_claim c ON c.id = j.claim;
)sql",
                     fmt::arg("id", id_text()), fmt::arg("state", state_name()),
                     fmt::arg("retries_max", usual_retries_max), fmt::arg("crashes_max", usual_crashes_max),
                     fmt::arg("timeout", usual_timeout));
}

/// Refuses what must not get into the tables.
std::string checks() {
  struct Check {
    std::string_view wrong;
    std::string_view why;
  };
  constexpr Check all[] = {
      {"coalesce(NEW.kind, '') = ''", "the kind is missing: name the task''s kind, such as ''mail:send''"},
      {"NEW.queue = ''", "the queue''s name is empty: leave it out for ''default''"},
      {"NEW.id = ''", "the id is empty: leave it out for a new one"},
      {"NEW.state IS NOT NULL OR NEW.attempt IS NOT NULL OR NEW.retries IS NOT NULL OR NEW.crashes IS NOT "
       "NULL OR "
       "NEW.task_group IS NOT NULL OR NEW.unique_key IS NOT NULL OR NEW.created_at IS NOT NULL OR "
       "NEW.started_at IS NOT "
       "NULL OR NEW.ended_at IS NOT NULL OR NEW.reason IS NOT NULL OR NEW.error IS NOT NULL OR NEW.result IS "
       "NOT NULL",
       "an INSERT may give queue, id, kind, payload, headers, priority, run_at, retries_max, crashes_max, "
       "timeout, "
       "retention, deadline and expires_at"},
      {"NEW.priority IS NOT NULL AND (typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN -100 AND "
       "100)",
       "the priority must be an integer from -100 to 100"},
      {"NEW.retries_max IS NOT NULL AND (typeof(NEW.retries_max) <> 'integer' OR NEW.retries_max NOT BETWEEN "
       "0 AND "
       "10000)",
       "retries_max must be an integer from 0 to 10000"},
      {"NEW.crashes_max IS NOT NULL AND (typeof(NEW.crashes_max) <> 'integer' OR NEW.crashes_max NOT BETWEEN "
       "0 AND "
       "1000)",
       "crashes_max must be an integer from 0 to 1000"},
      {"typeof(NEW.run_at) NOT IN ('null', 'integer', 'real') OR typeof(NEW.deadline) NOT IN ('null', "
       "'integer', "
       "'real') OR typeof(NEW.expires_at) NOT IN ('null', 'integer', 'real')",
       "run_at, deadline and expires_at are numbers of seconds since 1970, such as unixepoch() + 60"},
      {"typeof(NEW.timeout) NOT IN ('null', 'integer', 'real') OR typeof(NEW.retention) NOT IN ('null', "
       "'integer', "
       "'real') OR NEW.timeout < 0 OR NEW.retention < 0",
       "timeout and retention are numbers of seconds, not negative"},
      {"NEW.headers IS NOT NULL AND (NOT json_valid(NEW.headers) OR json_type(NEW.headers) <> 'object' OR "
       "EXISTS "
       "(SELECT 1 FROM json_each(NEW.headers) WHERE type IN ('object', 'array')))",
       "the headers must be a JSON object of texts"},
  };
  std::string sql;
  for (const Check& check : all) {
    sql += fmt::format("  SELECT RAISE(ABORT, 'tidemill_task: {}') WHERE {};\n", check.why, check.wrong);
  }
  return sql;
}

/// The subquery ends in LIMIT so that SQLite evaluates its random parts once, instead of at each use.
std::string trigger() {
  return fmt::format(R"sql(
CREATE TRIGGER tidemill_task_insert INSTEAD OF INSERT ON tidemill_task BEGIN
{checks}
  INSERT INTO tidemill_queue (name) VALUES (coalesce(NEW.queue, 'default')) ON CONFLICT DO NOTHING;
  INSERT INTO tidemill_kind (name) VALUES (NEW.kind) ON CONFLICT DO NOTHING;
  INSERT INTO tidemill_job (id, queue, line, at, since, kind, created_at, priority, retries_max, crashes_max, timeout,
    retention, deadline, expires_at, headers, payload)
  SELECT CASE WHEN {is_uuid} THEN {uuid_bytes} ELSE n.id END, q.id,
    q.id << 16 | CASE WHEN NEW.run_at IS NULL THEN 2 << 8 | (128 - coalesce(NEW.priority, 0)) ELSE 1 << 8 | 128 END,
    coalesce(CAST(NEW.run_at * 1000000 AS INTEGER), n.now), coalesce(CAST(NEW.run_at * 1000000 AS INTEGER), n.now),
    k.id, n.now,
    nullif(NEW.priority, 0), nullif(NEW.retries_max, {retries_max}), nullif(NEW.crashes_max, {crashes_max}),
    nullif(CAST(NEW.timeout * 1000000 AS INTEGER), {timeout}), nullif(CAST(NEW.retention * 1000000 AS INTEGER), 0),
    CAST(NEW.deadline * 1000000 AS INTEGER), CAST(NEW.expires_at * 1000000 AS INTEGER),
    nullif(NEW.headers, '{{}}'), coalesce(CAST(NEW.payload AS BLOB), x'')
  FROM (SELECT coalesce(CAST(NEW.id AS TEXT), {new_uuid}) AS id, {now} * 1000 AS now, {all_bytes} AS bytes LIMIT 1) n
  JOIN tidemill_queue q ON q.name = coalesce(NEW.queue, 'default')
  JOIN tidemill_kind k ON k.name = NEW.kind;
  INSERT INTO tidemill_counter
  SELECT q.id, CASE WHEN NEW.run_at IS NULL THEN 2 ELSE 1 END, 1 FROM tidemill_queue q
  WHERE q.name = coalesce(NEW.queue, 'default')
  ON CONFLICT (queue, state) DO UPDATE SET tasks = tasks + 1;
END;
)sql",
                     fmt::arg("checks", checks()), fmt::arg("is_uuid", is_uuid("n.id")),
                     fmt::arg("uuid_bytes", uuid_bytes("n.id", "n.bytes")),
                     fmt::arg("retries_max", usual_retries_max), fmt::arg("crashes_max", usual_crashes_max),
                     fmt::arg("timeout", usual_timeout), fmt::arg("new_uuid", new_uuid()),
                     fmt::arg("now", now_milliseconds), fmt::arg("all_bytes", all_bytes()));
}

}  // namespace

std::string plain_sql_view() { return view() + trigger(); }

}  // namespace tidemill::sqlite_store
