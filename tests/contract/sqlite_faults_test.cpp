// The SQLite store when something is wrong: files that are none, full disks, dead processes, neighbours.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
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

// ---- Files

// Why: each of these has one thing that would be right, and the message must name it.
TEST_F(SqliteStoreTest, AFileThatIsNoneIsRefused) {
  const auto open_at = [&](const std::filesystem::path& file, bool migrate = true) {
    return [=] { open_sqlite({.path = file.string(), .migrate = migrate}); };
  };
  std::ofstream{path("text")} << std::string(5000, 'x');
  EXPECT_THAT(refusal(open_at(path("text")), ErrorKind::corrupt), HasSubstr("no SQLite database"));
  EXPECT_THAT(refusal(open_at(path("absent") / "jobs.db"), ErrorKind::unavailable), HasSubstr("directory"));
  EXPECT_THAT(refusal(open_at(path("absent.db"), false), ErrorKind::unavailable),
              HasSubstr("can't be opened"));
  EXPECT_THAT(refusal(open_at("")), HasSubstr("path"));
  EXPECT_THAT(refusal(open_at(":memory:")), HasSubstr("memory:"));
}

// Why: a read-only file can hold no lease. How: as a user who may not write; root may always.
TEST_F(SqliteStoreTest, AReadOnlyFileIsRefused) {
  store();
  close();
  std::filesystem::permissions(path(), std::filesystem::perms{0444});
  std::filesystem::permissions(path().parent_path(), std::filesystem::perms{0555});
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const std::string why = refusal([&] { open_sqlite(options()); }, ErrorKind::unavailable);
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  std::filesystem::permissions(path().parent_path(), std::filesystem::perms{0755});
  EXPECT_THAT(why, HasSubstr("writable"));
}

// Why: an older program must not write into what it does not know. How: a version from the future, and none.
TEST_F(SqliteStoreTest, OtherSchemasAreToldApart) {
  EXPECT_EQ(migrate_sqlite(options()).from, 0);
  EXPECT_EQ(migrate_sqlite(options()).from, migrate_sqlite(options()).to);
  {
    PlainSql sql{path()};
    sql.run("UPDATE tidemill_meta SET value = 999 WHERE name = 'schema'");
  }
  const std::string why = refusal([&] { open_sqlite(options()); }, ErrorKind::unavailable);
  EXPECT_THAT(why, HasSubstr("999"));
  EXPECT_THAT(why, HasSubstr("newer version"));

  PlainSql{path("app.db")}.run("CREATE TABLE t (x)");
  SqliteOptions app = options();
  app.path = path("app.db").string();
  app.migrate = false;
  EXPECT_THAT(refusal([&] { open_sqlite(app); }, ErrorKind::unavailable), HasSubstr("tidemill migrate"));
}

// Why: a file outlives the program that made it. How: a file as version 1 made it, with tasks in it, two of
// them in a group.
TEST_F(SqliteStoreTest, AnOlderSchemaIsBroughtUpToDate) {
  put(store(), task("old"));
  for (const char* const id : {"a", "b"}) {
    Task member = task(id);
    member.state = State::aggregating;
    member.group = "g";
    put(store(), member);
  }
  close();
  PlainSql sql{path()};
  ASSERT_EQ(sql.run("DROP INDEX tidemill_job_group; DROP TABLE tidemill_group; DROP TABLE tidemill_set; "
                    "DROP TABLE tidemill_lock; DROP TABLE tidemill_document; DELETE FROM tidemill_meta WHERE "
                    "name IN ('fence', 'version'); UPDATE tidemill_meta SET value = 1 WHERE name = 'schema'"),
            "");
  SqliteOptions careful = options();
  careful.migrate = false;
  const std::string why = refusal([&] { open_sqlite(careful); }, ErrorKind::unavailable);
  EXPECT_THAT(why, HasSubstr("version 1"));
  EXPECT_THAT(why, HasSubstr("tidemill migrate"));

  EXPECT_TRUE(get("old")) << "to open it is enough";
  EXPECT_EQ(store().locks()->acquire("l", "o", std::chrono::seconds{1}, call()).owner, "o");
  const Document document{.folder = "f", .name = "n", .text = "t"};
  EXPECT_TRUE(store().documents()->put({&document, 1}, call()).at(0));
  const auto groups = store().catalog()->groups("q", "", 10, call());
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].name, "g");
  EXPECT_EQ(groups[0].size, 2U);
  const std::string_view queue = "q";
  const Gather gather{
      .worker = "w", .queues = {&queue, 1}, .rule = {.size_max = 2}, .lease = std::chrono::seconds{1}};
  EXPECT_EQ(store().groups()->gather(gather, call()).sets.at(0).tasks.size(), 2U);
  const Migration done = migrate_sqlite(options());
  EXPECT_EQ(done.from, 3);
  EXPECT_EQ(done.to, 3);
  EXPECT_EQ(sql.one("SELECT value FROM tidemill_meta WHERE name = 'schema'"), "3");
}

// Why: an application's own database serves as well, and stays its own. How: its marks and rows before and
// after.
TEST_F(SqliteStoreTest, AnApplicationsFileIsShared) {
  PlainSql sql{path()};
  sql.run(
      "PRAGMA application_id = 42; PRAGMA user_version = 7; CREATE TABLE t (x); INSERT INTO t VALUES "
      "('mine')");
  EXPECT_EQ(put(store(), task("a")), Put::created);
  EXPECT_EQ(sql.one("PRAGMA application_id"), "42");
  EXPECT_EQ(sql.one("PRAGMA user_version"), "7");
  EXPECT_EQ(sql.one("SELECT x FROM t"), "mine");
  EXPECT_EQ(sql.one("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(
      sql.one("SELECT count(*) FROM sqlite_master WHERE tbl_name NOT LIKE 'tidemill%' AND tbl_name <> 't'"),
      "0");
}

// Why: a fleet starts at once on a new file. How: many open it at the same time.
TEST_F(SqliteStoreTest, ManyMayOpenANewFileAtOnce) {
  std::atomic<int> done{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        const auto mine = open_sqlite(options());
        if (put(*mine, task(std::to_string(i))) == Put::created) ++done;
      });
    }
  }
  EXPECT_EQ(done, 8);
  EXPECT_EQ(count(State::pending), 8U);
}

// ---- Disks

sqlite3* last_opened = nullptr;

int remember_last(sqlite3* db, const char**, const void*) {
  last_opened = db;
  return SQLITE_OK;
}

// Why: with the disk full nothing is acknowledged that is not there, and when there is room again all goes
// on. How: the store's connection may not have more pages than it has.
TEST_F(SqliteStoreTest, AFullDiskLosesNothing) {
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(&remember_last));
  store();
  sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&remember_last));
  ASSERT_EQ(put(store(), task("before")), Put::created);
  ASSERT_EQ(sqlite3_exec(last_opened, "PRAGMA max_page_count = 1", nullptr, nullptr, nullptr), SQLITE_OK);
  std::size_t acknowledged = 1;
  std::string why;
  for (int i = 0; why.empty() && i < 1000; ++i) {
    Task large = task("t" + std::to_string(i));
    large.payload = std::string(20'000, 'x');
    try {
      acknowledged += put(store(), large) == Put::created ? 1U : 0U;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
      why = error.what();
    }
  }
  EXPECT_THAT(why, HasSubstr("disk is full"));
  EXPECT_EQ(count(State::pending), acknowledged);
  sqlite3_exec(last_opened, "PRAGMA max_page_count = 1000000", nullptr, nullptr, nullptr);
  EXPECT_EQ(put(store(), task("after")), Put::created);
  EXPECT_EQ(claim(store(), 2000).size(), acknowledged + 1);
}

// Why: the same for writes that the system refuses. How: files of this process may not grow for a while.
TEST_F(SqliteStoreTest, AFailedWriteLosesNothing) {
  ASSERT_EQ(put(store(), task("before")), Put::created);
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  rlimit small = limit;
  small.rlim_cur = std::filesystem::file_size(path().string() + "-wal");
  setrlimit(RLIMIT_FSIZE, &small);
  Task large = task("large");
  large.payload = std::string(200'000, 'x');
  const std::string why = refusal([&] { put(store(), large); }, ErrorKind::unavailable);
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  EXPECT_THAT(why, HasSubstr("nothing was written"));
  EXPECT_FALSE(get("large"));
  EXPECT_EQ(put(store(), large), Put::created);
  EXPECT_EQ(count(State::pending), 2U);
}

// Why: what was acknowledged outlives the process, at whatever instant that dies. How: a child enqueues,
// claims and reports, tells what was acknowledged through a pipe, and is killed in the midst of it.
TEST_F(SqliteStoreTest, Rule1_AKilledProcessLosesNothingAcknowledged) {
  store();
  close();
  for (int round = 0; round < 5; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const auto mine = open_sqlite(options());
      for (int i = 0;; ++i) {
        const int number = round * 1'000'000 + i;
        if (put(*mine, task(std::to_string(number))) != Put::created) ::_exit(1);
        if (::write(ends[1], &number, sizeof number) != sizeof number) ::_exit(1);
        for (const Lease& lease : claim(*mine, 1)) end(*mine, lease, State::held);
      }
    }
    ::close(ends[1]);
    std::set<int> acknowledged;
    int number = 0;
    while (acknowledged.size() < 100U && ::read(ends[0], &number, sizeof number) == sizeof number) {
      acknowledged.insert(number);
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    while (::read(ends[0], &number, sizeof number) == sizeof number) acknowledged.insert(number);
    ::close(ends[0]);
    ASSERT_TRUE(WIFSIGNALED(status));
    for (const int each : acknowledged) EXPECT_TRUE(get(std::to_string(each))) << each;
    PlainSql sql{path()};
    EXPECT_EQ(sql.one("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(sql.one("SELECT count(*) FROM tidemill_job"),
              sql.one("SELECT sum(tasks) FROM tidemill_counter"));
    close();
  }
}

// ---- Several stores on one file

// Why: rule 2 holds among processes. How: two store objects, which share nothing but the file, claim at once.
TEST_F(SqliteStoreTest, Rule2_TwoProcessesNeverShareATask) {
  constexpr std::size_t total = 2000;
  std::vector<Task> tasks(total);
  for (std::size_t i = 0; i < total; ++i) tasks[i] = task(std::to_string(i));
  store().enqueue(tasks, call());
  const auto second = open_sqlite(options());
  std::vector<std::string> taken[2];
  const auto drain = [&](Store& store, std::vector<std::string>& into) {
    for (auto leases = claim(store, 7); !leases.empty(); leases = claim(store, 7)) {
      for (const Lease& lease : leases) {
        into.push_back(lease.task.ref.id);
        EXPECT_EQ(end(store, lease), Reported::applied);
      }
    }
  };
  {
    std::jthread first{[&] { drain(store(), taken[0]); }};
    std::jthread other{[&] { drain(*second, taken[1]); }};
  }
  std::set<std::string> all{taken[0].begin(), taken[0].end()};
  all.insert(taken[1].begin(), taken[1].end());
  EXPECT_EQ(all.size(), total);
  EXPECT_EQ(taken[0].size() + taken[1].size(), total);
  EXPECT_EQ(catalog().queues(call()).at(0).counts.size(), 0U);
}

// Why: a task that another process puts in is noticed at once and not at the next time-out. How: a wait that
// would last long, and each way in which something may come from outside.
TEST_F(SqliteStoreTest, AWaitNoticesOtherProcesses) {
  const auto second = open_sqlite(options());
  PlainSql sql{path()};
  const std::string_view queue = "q";
  const WorkerInfo worker{.id = "w", .state = "running"};
  store().renew(worker, {}, std::chrono::seconds{25}, {}, call());
  const auto wake = [&](auto&& cause) {
    claim(store(), 100);
    std::jthread other{cause};
    return store().wait("w", {&queue, 1}, std::chrono::minutes{5}, {});
  };

  EXPECT_EQ(wake([&] { put(*second, task("a")); }), Wake::tasks);
  EXPECT_EQ(wake([&] { sql.run("INSERT INTO tidemill_task (queue, kind) VALUES ('q', 'k')"); }), Wake::tasks);
  Wake signalled = wake([&] { second->catalog()->signal("w", Signal::quiet, call()); });
  EXPECT_EQ(signalled, Wake::signals);
  EXPECT_EQ(store().renew(worker, {}, std::chrono::seconds{25}, {}, call()).worker, Signal::quiet);
}

}  // namespace

}  // namespace tidemill::contract
