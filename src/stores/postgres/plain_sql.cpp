// The view for people and programs that speak SQL: readable, and open for a plain INSERT from any language.
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "stores/postgres/schema.hpp"
#include "stores/sql/layout.hpp"

namespace tidemill::postgres_store {

namespace {

/// SQL for the state's name.
std::string state_name() {
  std::string sql = "CASE j.line >> 8 & 255";
  for (std::size_t i = 1; i < state_count; ++i) {
    sql += fmt::format(" WHEN {} THEN '{}'", i, tidemill::to_string(static_cast<State>(i)));
  }
  return sql + " END";
}

// Bytes that are no text are shown as PostgreSQL writes such. An id of 16 bytes is a UUID: layout.hpp.
constexpr std::string_view functions = R"sql(
CREATE FUNCTION main.tidemill_text(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
BEGIN
  RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN OTHERS THEN
  RETURN encode(bytes, 'escape');
END $body$;

CREATE FUNCTION main.tidemill_id(bytes bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $body$
  SELECT CASE WHEN length(bytes) = 16 THEN encode(bytes, 'hex')::uuid::text
    WHEN length(bytes) = 17 AND get_byte(bytes, 16) = 0 THEN main.tidemill_text(substr(bytes, 1, 16))
    ELSE main.tidemill_text(bytes) END
$body$;

CREATE FUNCTION main.tidemill_time(microseconds bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS $body$
  SELECT timestamptz 'epoch' + microseconds * interval '1 microsecond'
$body$;

CREATE FUNCTION main.tidemill_microseconds(value timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $body$
  SELECT (extract(epoch FROM value) * 1000000)::bigint
$body$;
)sql";

std::string view() {
  return fmt::format(R"sql(
CREATE VIEW main.tidemill_task AS SELECT
  main.tidemill_text(q.name) AS queue,
  main.tidemill_id(j.id) AS id,
  {state} AS state,
  main.tidemill_text(k.name) AS kind,
  main.tidemill_text(j.payload) AS payload,
  main.tidemill_text(j.headers) AS headers,
  main.tidemill_text(j.task_group) AS task_group,
  coalesce(j.priority, 0)::integer AS priority,
  CASE WHEN j.line >> 8 & 255 IN (1, 4) THEN main.tidemill_time(j.at) END AS run_at,
  coalesce(j.attempt, 0) AS attempt,
  coalesce(j.retries, 0) AS retries,
  coalesce(j.retries_max, {retries_max}) AS retries_max,
  coalesce(j.crashes, 0) AS crashes,
  coalesce(j.crashes_max, {crashes_max}) AS crashes_max,
  coalesce(j.timeout, {timeout}) * interval '1 microsecond' AS timeout,
  coalesce(j.retention, 0) * interval '1 microsecond' AS retention,
  main.tidemill_time(j.deadline) AS deadline,
  main.tidemill_time(j.expires_at) AS expires_at,
  main.tidemill_text(j.key) AS unique_key,
  main.tidemill_time(j.created_at) AS created_at,
  main.tidemill_time(j.started_at) AS started_at,
  main.tidemill_time(j.ended_at) AS ended_at,
  main.tidemill_text(j.reason) AS reason,
  main.tidemill_text(j.error) AS error,
  main.tidemill_text(j.result) AS result
FROM main.tidemill_job j
JOIN main.tidemill_queue q ON q.id = j.queue
JOIN main.tidemill_kind k ON k.id = j.kind;
)sql",
                     fmt::arg("state", state_name()), fmt::arg("retries_max", sql_store::usual_retries_max),
                     fmt::arg("crashes_max", sql_store::usual_crashes_max),
                     fmt::arg("timeout", sql_store::usual_timeout));
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
      {"octet_length(NEW.kind) > 255 OR octet_length(NEW.queue) > 255 OR octet_length(NEW.id) > 255",
       "names and ids have up to 255 bytes"},
      {"NEW.state IS NOT NULL OR NEW.attempt IS NOT NULL OR NEW.retries IS NOT NULL OR NEW.crashes IS NOT "
       "NULL OR NEW.task_group IS NOT NULL OR NEW.unique_key IS NOT NULL OR NEW.created_at IS NOT NULL OR "
       "NEW.started_at IS NOT NULL OR NEW.ended_at IS NOT NULL OR NEW.reason IS NOT NULL OR NEW.error IS NOT "
       "NULL OR NEW.result IS NOT NULL",
       "an INSERT may give queue, id, kind, payload, headers, priority, run_at, retries_max, crashes_max, "
       "timeout, retention, deadline and expires_at"},
      {"NEW.priority NOT BETWEEN -100 AND 100", "the priority must be from -100 to 100"},
      {"NEW.retries_max NOT BETWEEN 0 AND 10000", "retries_max must be from 0 to 10000"},
      {"NEW.crashes_max NOT BETWEEN 0 AND 1000", "crashes_max must be from 0 to 1000"},
      {"NEW.timeout < interval '0' OR NEW.retention < interval '0'",
       "timeout and retention must not be negative"},
      {"NEW.headers IS NOT NULL AND (jsonb_typeof(NEW.headers::jsonb) <> 'object' OR "
       "jsonb_path_exists(NEW.headers::jsonb, 'strict $.keyvalue() ? (@.value.type() == \"object\" || "
       "@.value.type() == \"array\")'))",
       "the headers must be a JSON object of texts"},
  };
  std::string sql;
  for (const Check& check : all) {
    sql += fmt::format("  IF {} THEN RAISE EXCEPTION 'tidemill_task: {}'; END IF;\n", check.wrong, check.why);
  }
  return sql;
}

/// It writes as an enqueue does in somebody else's transaction: no row is locked that others need. The state
/// is 1, scheduled, or 2, pending: stores/sql/layout.hpp.
std::string trigger() {
  return fmt::format(R"sql(
CREATE FUNCTION main.tidemill_task_insert() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  queue_name bytea := convert_to(coalesce(NEW.queue, 'default'), 'UTF8');
  kind_name bytea := convert_to(NEW.kind, 'UTF8');
  queue_number bigint;
  kind_number bigint;
  stored_id bytea;
  now_at bigint := main.tidemill_microseconds(clock_timestamp());
  at bigint := coalesce(main.tidemill_microseconds(NEW.run_at), now_at);
  state integer := CASE WHEN NEW.run_at IS NULL THEN 2 ELSE 1 END;
BEGIN
{checks}
  SELECT id INTO queue_number FROM main.tidemill_queue WHERE name = queue_name;
  IF queue_number IS NULL THEN
    INSERT INTO main.tidemill_queue (name) VALUES (queue_name) ON CONFLICT DO NOTHING;
    SELECT id INTO queue_number FROM main.tidemill_queue WHERE name = queue_name;
  END IF;
  SELECT id INTO kind_number FROM main.tidemill_kind WHERE name = kind_name;
  IF kind_number IS NULL THEN
    INSERT INTO main.tidemill_kind (name) VALUES (kind_name) ON CONFLICT DO NOTHING;
    SELECT id INTO kind_number FROM main.tidemill_kind WHERE name = kind_name;
  END IF;
  IF NEW.id IS NULL THEN
    -- A UUIDv7: it begins with the time, so that ids made one after the other lie side by side.
    stored_id := decode(lpad(to_hex(now_at / 1000), 12, '0') || '7' ||
      substr(replace(gen_random_uuid()::text, '-', ''), 14), 'hex');
    NEW.id := main.tidemill_id(stored_id);
  ELSIF NEW.id ~ '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}$' THEN
    stored_id := decode(replace(NEW.id, '-', ''), 'hex');
  ELSE
    stored_id := convert_to(NEW.id, 'UTF8');
    IF length(stored_id) = 16 THEN stored_id := stored_id || '\x00'::bytea; END IF;
  END IF;
  INSERT INTO main.tidemill_job (id, queue, line, at, since, kind, created_at, priority, retries_max, crashes_max,
    timeout, retention, deadline, expires_at, headers, payload)
  VALUES (stored_id, queue_number,
    (queue_number << 16) + (state << 8) + 128 - CASE WHEN state = 2 THEN coalesce(NEW.priority, 0) ELSE 0 END,
    at, at, kind_number, now_at, nullif(NEW.priority, 0), nullif(NEW.retries_max, {retries_max}),
    nullif(NEW.crashes_max, {crashes_max}), nullif((extract(epoch FROM NEW.timeout) * 1000000)::bigint, {timeout}),
    nullif((extract(epoch FROM NEW.retention) * 1000000)::bigint, 0), main.tidemill_microseconds(NEW.deadline),
    main.tidemill_microseconds(NEW.expires_at), convert_to(nullif(NEW.headers, '{{}}'), 'UTF8'),
    convert_to(coalesce(NEW.payload, ''), 'UTF8'));
  INSERT INTO main.tidemill_delta (queue, state, tasks) VALUES (queue_number, state, 1);
  PERFORM pg_notify('tidemill_channel', CASE WHEN state = 2 THEN '- q' || queue_number
    ELSE '- d' || queue_number || ':' || at END);
  RETURN NEW;
END $body$;

CREATE TRIGGER tidemill_task_insert INSTEAD OF INSERT ON main.tidemill_task
FOR EACH ROW EXECUTE FUNCTION main.tidemill_task_insert();
)sql",
                     fmt::arg("checks", checks()), fmt::arg("retries_max", sql_store::usual_retries_max),
                     fmt::arg("crashes_max", sql_store::usual_crashes_max),
                     fmt::arg("timeout", sql_store::usual_timeout));
}

}  // namespace

std::string plain_sql_view() { return std::string{functions} + view() + trigger(); }

}  // namespace tidemill::postgres_store
