// What the SQLite store promises beyond the port: plain SQL, statements that never look through a
// table.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <thread>

#include <tidemill/documents.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/locks.hpp>

#include "contract/sqlite_fixture.hpp"

namespace tidemill::contract {

namespace {

using testing::HasSubstr;

// ---- Plain SQL

// Why: a program in any language enqueues with one INSERT. How: the shortest that there is, then the usual
// verbs.
TEST_F(SqliteStoreTest, APlainInsertIsATask) {
  store();
  PlainSql sql{path()};
  ASSERT_EQ(sql.run("INSERT INTO tidemill_task (kind, payload) VALUES ('mail:send', '{\"to\":\"a@b\"}')"),
            "");
  EXPECT_EQ(count(State::pending, "default"), 1U);
  const auto leases = claim(store(), 10, "default");
  ASSERT_EQ(leases.size(), 1U);
  const Task& task = leases[0].task;
  EXPECT_EQ(task.kind, "mail:send");
  EXPECT_EQ(task.payload, "{\"to\":\"a@b\"}");
  EXPECT_TRUE(parse_uuid(task.ref.id)) << task.ref.id;
  EXPECT_EQ(task.ref.id[14], '7') << "it should be a UUID of version 7: " << task.ref.id;
  EXPECT_EQ(task.retries_max, 25);
  EXPECT_EQ(task.timeout, std::chrono::minutes{30});
  EXPECT_LT(call().now - *task.created_at, std::chrono::minutes{1});
  EXPECT_EQ(end(store(), leases[0]), Reported::applied);
  EXPECT_EQ(sql.one("SELECT count(*) FROM tidemill_task"), "0");
}

// Why: an INSERT may say what an enqueue may. How: all columns, read back through the port.
TEST_F(SqliteStoreTest, APlainInsertMayGiveAllOptions) {
  store();
  PlainSql sql{path()};
  const std::string id = "0190b5f0-7f8a-7000-8000-00000000abcd";
  ASSERT_EQ(
      sql.run("INSERT INTO tidemill_task (queue, id, kind, payload, headers, priority, run_at, retries_max, "
              "crashes_max, timeout, retention, deadline, expires_at) VALUES ('q', '" +
              id +
              R"(', 'k', x'0001ff', '{"a":"\u00e4\n","n":1}', -7, 4000000000.5, 3, 0, 0, 60, 5e9, 6e9))"),
      "");
  const auto task = get(id);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->state, State::scheduled);
  EXPECT_EQ(task->payload, std::string("\0\1\xff", 3));
  EXPECT_EQ(task->headers, (std::map<std::string, std::string>{{"a", "\u00e4\n"}, {"n", "1"}}));
  EXPECT_EQ(task->priority, -7);
  EXPECT_EQ(task->run_at, TimePoint{std::chrono::milliseconds{4'000'000'000'500}});
  EXPECT_EQ(task->retries_max, 3);
  EXPECT_EQ(task->crashes_max, 0);
  EXPECT_EQ(task->timeout, Duration::zero());
  EXPECT_EQ(task->retention, std::chrono::seconds{60});
  EXPECT_EQ(task->deadline, TimePoint{std::chrono::seconds{5'000'000'000}});
  EXPECT_EQ(task->expires_at, TimePoint{std::chrono::seconds{6'000'000'000}});
  EXPECT_EQ(count(State::scheduled), 1U);
}

// Why: an id is one task's, whoever made it. How: the same id by INSERT and by enqueue, as UUID and as other
// text.
TEST_F(SqliteStoreTest, APlainInsertSharesTheIdsOfTheQueue) {
  PlainSql sql{path()};
  for (const std::string id :
       {"0190b5f0-7f8a-7000-8000-00000000abcd", "0190B5F0-7F8A-7000-8000-00000000ABCD", "x"}) {
    ASSERT_EQ(put(store(), task(id)), Put::created);
    EXPECT_THAT(sql.run("INSERT INTO tidemill_task (queue, id, kind) VALUES ('q', '" + id + "', 'k')"),
                HasSubstr("UNIQUE"));
    ASSERT_EQ(sql.run("INSERT INTO tidemill_task (queue, id, kind) VALUES ('p', '" + id + "', 'k')"), "");
    EXPECT_EQ(put(store(), task(id, "p")), Put::exists);
  }
  EXPECT_EQ(count(State::pending), 3U);
  EXPECT_EQ(count(State::pending, "p"), 3U);
}

// Why: what the port would refuse must not come in by SQL. How: one mistake each, and what the message must
// name.
TEST_F(SqliteStoreTest, APlainInsertIsChecked) {
  store();
  PlainSql sql{path()};
  const auto insert = [&](const std::string& columns, const std::string& values) {
    return sql.run("INSERT INTO tidemill_task (" + columns + ") VALUES (" + values + ")");
  };
  EXPECT_THAT(insert("payload", "'x'"), HasSubstr("kind is missing"));
  EXPECT_THAT(insert("kind, queue", "'k', ''"), HasSubstr("queue's name is empty"));
  EXPECT_THAT(insert("kind, state", "'k', 'held'"), HasSubstr("an INSERT may give"));
  EXPECT_THAT(insert("kind, priority", "'k', 101"), HasSubstr("-100 to 100"));
  EXPECT_THAT(insert("kind, priority", "'k', 'high'"), HasSubstr("-100 to 100"));
  EXPECT_THAT(insert("kind, run_at", "'k', '2030-01-01'"), HasSubstr("seconds since 1970"));
  EXPECT_THAT(insert("kind, headers", "'k', '[1]'"), HasSubstr("JSON object"));
  EXPECT_THAT(insert("kind, headers", "'k', '{\"a\":[1]}'"), HasSubstr("JSON object"));
  EXPECT_THAT(insert("kind, timeout", "'k', -1"), HasSubstr("not negative"));
  EXPECT_EQ(sql.one("SELECT count(*) FROM tidemill_task"), "0");
  EXPECT_EQ(sql.one("SELECT count(*) FROM tidemill_counter"), "0");
}

// Why: people look at a queue with the sqlite3 shell. How: a task in each of some states.
TEST_F(SqliteStoreTest, TheViewIsReadable) {
  Task later = task("later");
  later.state = State::scheduled;
  later.run_at = TimePoint{std::chrono::seconds{4'000'000'000}};
  put(store(), later);
  put(store(), task("0190b5f0-7f8a-7000-8000-00000000abcd"));
  PlainSql sql{path()};
  EXPECT_THAT(
      sql.rows("SELECT queue, id, state, kind, payload, run_at, timeout FROM tidemill_task ORDER BY state"),
      testing::ElementsAre("q", "0190b5f0-7f8a-7000-8000-00000000abcd", "pending", "test:kind", "payload",
                           "NULL", "0.0", "q", "later", "scheduled", "test:kind", "payload", "4000000000.0",
                           "0.0"));
  claim(store());
  EXPECT_EQ(sql.one("SELECT count(*) FROM tidemill_task WHERE state = 'active' AND started_at > 1e9"), "1");
}

// ---- Beside a caller's own transaction

// Why: who forgets to hand over the transaction waits for himself, and must be told. How: a short patience.
TEST_F(SqliteStoreTest, ACallBesideTheOwnTransactionSaysSo) {
  SqliteOptions impatient = options();
  impatient.busy_timeout = std::chrono::milliseconds{50};
  const auto store = open_sqlite(impatient);
  PlainSql app{path()};
  app.run("BEGIN IMMEDIATE; CREATE TABLE t (x)");
  EXPECT_THAT(refusal([&] { put(*store, task("a")); }, ErrorKind::timed_out), HasSubstr("SqliteTransaction"));
  app.run("COMMIT");
  EXPECT_EQ(put(*store, task("a")), Put::created);
}

// ---- Cost

std::set<sqlite3*> opened;

/// Runs for each connection of the process. A function of its own lets it know when SQLite closes it.
int remember(sqlite3* db, const char**, const void*) {
  opened.insert(db);
  const auto forget = [](void* closed) { opened.erase(static_cast<sqlite3*>(closed)); };
  const auto nothing = [](sqlite3_context*, int, sqlite3_value**) {};
  return sqlite3_create_function_v2(db, "until_closed", 0, SQLITE_UTF8, db, nothing, nullptr, nullptr,
                                    forget);
}

/// The statements that all connections to the file have prepared.
std::set<std::string> statements_of(const std::filesystem::path& path) {
  std::set<std::string> texts;
  for (sqlite3* const db : opened) {
    const char* const name = sqlite3_db_filename(db, "main");
    if (name == nullptr || path != name) continue;
    for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr; s = sqlite3_next_stmt(db, s)) {
      texts.insert(sqlite3_sql(s));
    }
  }
  return texts;
}

/// Every verb in every form.
void use_all(Store& store, const Call& call) {
  Catalog& catalog = *store.catalog();
  std::vector<Task> tasks(30);
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].ref = {"q", "t" + std::to_string(i)};
    tasks[i].kind = "k";
    tasks[i].priority = static_cast<std::int32_t>(i % 2);
    if (i % 3 == 0) tasks[i].unique = Unique{.key = std::to_string(i), .window = std::chrono::seconds{1}};
    if (i % 5 == 0) tasks[i].state = State::scheduled;
  }
  const PutSchedule schedule{.schedule = {.id = "s", .next = call.now}};
  catalog.put_schedules({&schedule, 1}, call);
  tasks[1].firing = Firing{"s", call.now, call.now};
  store.enqueue(tasks, call);
  tasks[3].unique->on_conflict = OnConflict::replace;
  tasks[3].ref.id = "replaces";
  store.enqueue({&tasks[3], 1}, call);
  const Want want{"q", 100};
  const Claim claim{.worker = "w", .wants = {&want, 1}, .count_max = 100, .lease = std::chrono::seconds{1}};
  const std::array ends{State::gone, State::retry, State::completed, State::pending, State::archived};
  for (int round = 0; round < 3; ++round) {
    const auto leases = store.claim(claim, call).leases;
    std::vector<Report> reports;
    std::vector<Beat> beats;
    for (std::size_t i = 0; i + 5 < leases.size(); ++i) {
      beats.push_back({.lease = &leases[i], .started = true, .progress = "p", .logs = {{.text = "line"}}});
      reports.push_back(
          {.lease = &leases[i], .to = ends[i % ends.size()], .keep = Duration{1}, .record = true});
    }
    const Stat stat{.queue = "q", .kind = "k", .at = call.now};
    if (round > 0) store.renew({.id = "w"}, beats, std::chrono::seconds{1}, {&stat, 1}, call);
    store.report(reports, call);
    const Ref ref = leases.empty() ? Ref{"q", "t"} : leases.back().task.ref;
    catalog.change({&ref, 1}, {.from = States::all(), .signal = Signal::cancel}, call);
  }
  const auto page = catalog.find({}, "", 2, std::chrono::seconds{1}, call);
  catalog.find({.queue = "q"}, page.next, 2, std::chrono::seconds{1}, call);
  catalog.attempts({"q", "t1"}, call);
  catalog.queues(call);
  catalog.pause("q", false, call);
  catalog.workers(call);
  catalog.signal("w", Signal::quiet, call);
  catalog.schedules(call.now, call);
  catalog.stats("", Span::minute, call.now - std::chrono::hours{1}, call.now, call);
  const LockInfo lock = store.locks()->acquire("l", "o", std::chrono::seconds{1}, call);
  store.locks()->extend("l", "o", lock.fence, std::chrono::seconds{1}, call);
  store.locks()->list("", 10, call);
  store.locks()->release("l", "o", lock.fence, call);
  const Document document{.folder = "f", .name = "n", .expires_at = call.now + std::chrono::seconds{1}};
  store.documents()->put({&document, 1}, call);
  const DocumentName name{"f", "n"};
  store.documents()->get({&name, 1}, call);
  store.documents()->list("f", "", 10, call);
  const EraseDocument erased{"f", "n"};
  store.documents()->erase({&erased, 1}, call);
  std::vector<Task> members(4);
  for (std::size_t i = 0; i < members.size(); ++i) {
    members[i].ref = {"q", "g" + std::to_string(i)};
    members[i].kind = "k";
    members[i].state = State::aggregating;
    members[i].group = i < 3 ? "g" : "h";
  }
  store.enqueue(members, call);
  const std::string_view queue = "q";
  const Gather gather{.worker = "w",
                      .queues = {&queue, 1},
                      .rule = {.size_max = 2, .delay_max = std::chrono::seconds{1}},
                      .count_max = 2,
                      .lease = std::chrono::seconds{1}};
  const Gathered sets = store.groups()->gather(gather, call);
  Settle merged{.set = &sets.sets.at(0), .merged = members[0]};
  merged.merged->ref.id = "merged";
  const Settle back{.set = &sets.sets.at(1), .delay = std::chrono::seconds{1}};
  store.groups()->settle({&merged, 1}, call);
  store.groups()->settle({&back, 1}, call);
  store.groups()->gather(gather, call);
  catalog.groups("q", "", 10, call);
  Call later = call;
  later.now += std::chrono::hours{10'000};
  store.sweep("w", std::chrono::seconds{1}, 100, later);
  const std::string id = "s";
  catalog.erase_schedules({&id, 1}, call);
}

// Why: no call looks through a table; a plan that does so is slow only when it hurts. How: every statement
// that the store has prepared is explained on a connection of its own. Lists of queues, kinds and schedules
// are short, and read whole on purpose.
TEST_F(SqliteStoreTest, EveryStatementUsesAnIndex) {
  opened.clear();
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(&remember));
  use_all(store(), call());
  sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&remember));
  const auto statements = statements_of(path());
  EXPECT_GT(statements.size(), 50U);
  PlainSql sql{path()};
  for (const std::string& text : statements) {
    if (text.starts_with("PRAGMA")) continue;
    const auto plan = testing::PrintToString(sql.rows("EXPLAIN QUERY PLAN " + text));
    const bool short_list = text.find("FROM main.tidemill_queue ORDER BY name") != std::string::npos ||
                            text.find("FROM main.tidemill_schedule ORDER BY id") != std::string::npos ||
                            text.find("FROM main.tidemill_counter WHERE") != std::string::npos ||
                            text.find("sqlite_master") != std::string::npos;
    EXPECT_TRUE(short_list || plan.find("SCAN") == std::string::npos) << text << "\n" << plan;
    EXPECT_TRUE(text.find("ORDER BY +id") != std::string::npos ||
                plan.find("TEMP B-TREE") == std::string::npos)
        << text << "\n"
        << plan;
  }
}

// Why: a disk is bought by tasks. How: as most tasks are, with a payload of 100 bytes.
TEST_F(SqliteStoreTest, APendingTaskTakesAtMost300Bytes) {
  constexpr std::size_t batches = 50;
  for (std::size_t i = 0; i < batches; ++i) {
    std::vector<Task> tasks(1000);
    for (Task& each : tasks) {
      each = task(to_string(make_uuid()));
      each.payload = std::string(100, 'x');
      each.timeout = std::chrono::minutes{30};
    }
    store().enqueue(tasks, call());
  }
  close();  // Moves all of the log into the file.
  EXPECT_LE(std::filesystem::file_size(path()) / (batches * 1000), 300U);
}

// Why: an idle worker must not wear out the disk. How: claims, sweeps that find nothing, seen from outside.
TEST_F(SqliteStoreTest, WhatFindsNothingWritesNothing) {
  Task later = task("later");
  later.state = State::scheduled;
  later.delay = std::chrono::hours{1};
  put(store(), later);
  Task member = task("member");
  member.state = State::aggregating;
  member.group = "g";
  put(store(), member);
  store().locks()->acquire("l", "a", std::chrono::hours{1}, call());
  PlainSql sql{path()};
  const std::string before = sql.one("PRAGMA data_version");
  EXPECT_TRUE(claim(store()).empty());
  EXPECT_EQ(store().sweep("w", std::chrono::seconds{25}, 100, call()).promoted, 0U);
  const std::string_view queue = "q";
  const Gather gather{.worker = "w",
                      .queues = {&queue, 1},
                      .rule = {.size_max = 2, .grace = std::chrono::hours{1}},
                      .lease = std::chrono::seconds{1}};
  EXPECT_TRUE(store().groups()->gather(gather, call()).sets.empty());
  EXPECT_EQ(store().locks()->acquire("l", "b", std::chrono::seconds{1}, call()).owner, "a");
  EXPECT_FALSE(store().locks()->extend("l", "b", 1, std::chrono::seconds{1}, call()));
  EXPECT_FALSE(store().locks()->release("l", "b", 1, call()));
  EXPECT_EQ(sql.one("PRAGMA data_version"), before);
}

}  // namespace

}  // namespace tidemill::contract
