// The lease: who may run jobs, what Go's nodes do to it, and what happens when it is lost. Another node is
// played by statements that write its row; tests/interop has real ones.
#include <csignal>

#include "fixture.hpp"

namespace tidemill::persistent_queue {
namespace {

class PersistentQueueLease : public Tables {};

TEST_F(PersistentQueueLease, TheNameIsTheMd5OfTheService) {
  const auto queues = start(config());
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  EXPECT_EQ(db.query("SELECT lock_name FROM shedlock_tab").at(0)[0], "961e38b5146c0b07d078f53dec9b699a");
  EXPECT_TRUE(holder().starts_with("svc-"));
}

TEST_F(PersistentQueueLease, TheOwnerIsServiceAddressPodAndNanoseconds) {
  setenv("POD_NAME", "pod-3", 1);
  const auto queues = start(config());
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  unsetenv("POD_NAME");
  EXPECT_THAT(holder(), ::testing::MatchesRegex("svc-[0-9.]+-pod-3-[0-9]+"));
}

TEST_F(PersistentQueueLease, NothingRunsWhileAnotherHoldsIt) {
  give_lease("go", 600);
  const auto queues = start(config());
  const std::uint64_t id = insert("ok");
  // It looks ten times a second.
  const std::int64_t end = now() + 2;
  ASSERT_TRUE(eventually([&] { return now() >= end; }));
  EXPECT_FALSE(queues->leads("svc"));
  EXPECT_EQ(runs.size(), 0U);
  EXPECT_EQ(holder(), "go");
  give_lease("go", 0);
  EXPECT_TRUE(ends_as(id, 1)) << lines.all();
}

TEST_F(PersistentQueueLease, AfterACrashOldRowsWaitForTheGraceAndNewOnesDont) {
  const std::uint64_t before = insert("ok");
  give_lease("go", 0);
  QueueConfig careful = config();
  careful.table.takeover_grace = 3s;
  const std::int64_t at = now();
  const auto queues = start(std::move(careful));
  ASSERT_TRUE(eventually([&] { return lines.has("did not release it"); })) << lines.all();
  const std::uint64_t after = insert("ok");
  EXPECT_TRUE(ends_as(after, 1)) << lines.all();
  EXPECT_TRUE(ends_as(before, 1)) << lines.all();
  EXPECT_GE(runs.at(before), at + 3);
  EXPECT_EQ(runs.all().front().id, after);
}

TEST_F(PersistentQueueLease, AJobThatTheLastHolderFinishesDuringTheGraceDoesNotRunAgain) {
  const std::uint64_t before = insert("ok");
  give_lease("go", 0);
  QueueConfig careful = config();
  careful.table.takeover_grace = 2s;
  const auto queues = start(std::move(careful));
  ASSERT_TRUE(eventually([&] { return lines.has("did not release it"); }));
  db.execute(fmt::format("UPDATE async_job_tab SET job_status = 1 WHERE id = {}", before));
  const std::uint64_t later = insert("ok", now() + 3);
  EXPECT_TRUE(ends_as(later, 1));
  EXPECT_EQ(runs.count(before), 0U);
}

TEST_F(PersistentQueueLease, AReleaseOfOursNeedsNoGrace) {
  QueueConfig careful = config();
  careful.table.takeover_grace = 1h;
  start(careful).reset();
  EXPECT_EQ(holder(), "");
  const std::uint64_t id = insert("ok");
  const auto queues = start(careful);
  EXPECT_TRUE(ends_as(id, 1)) << lines.all();
}

/// Statement S4 of Go, which doesn't ask whose lease it is, every few milliseconds over several renewals:
/// with Go's own lengths, shortened alike. 25 of 30 s are 5 of 6 s.
TEST_F(PersistentQueueLease, ForeignReleasesDontTakeItAway) {
  QueueConfig kept = config();
  kept.table.lease = 6s;
  kept.table.renew_interval = 500ms;
  const auto queues = start(std::move(kept));
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  const std::string owner = holder();
  const std::int64_t end = now() + 8;
  std::size_t released = 0;
  bool led = true;
  EXPECT_TRUE(eventually([&] {
    db.execute("UPDATE shedlock_tab SET lock_until = GREATEST(locked_at + INTERVAL 5 SECOND, NOW())");
    ++released;
    led = led && queues->leads("svc") && holder() == owner;
    return now() >= end;
  }));
  EXPECT_TRUE(led) << lines.all();
  EXPECT_GT(released, 10U);
  EXPECT_FALSE(lines.has("lost the lease"));
  EXPECT_TRUE(ends_as(insert("ok"), 1));
}

TEST_F(PersistentQueueLease, ALeaseThatRanOutAndThatNobodyTookGoesOn) {
  const auto queues = start(config());
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  db.execute("UPDATE shedlock_tab SET lock_until = NOW() - INTERVAL 5 SECOND");
  EXPECT_TRUE(
      eventually([&] { return number("SELECT COUNT(*) FROM shedlock_tab WHERE lock_until > NOW()") == 1; }));
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_FALSE(lines.has("lost the lease"));
}

TEST_F(PersistentQueueLease, ATakenLeaseEndsTheTermAndWhatRanIsWrittenIfItsRowIsStillOurs) {
  QueueConfig slow = config();
  std::atomic<bool> go_on{false};
  std::atomic<bool> told{false};
  std::atomic<int> begun{0};
  slow.handler = [&](Job& job) {
    ++begun;
    testing::eventually([&] { return go_on.load(); });
    told = job.stop.stop_requested();
    job.status = Status::success;
  };
  const auto queues = start(std::move(slow));
  const std::uint64_t id = insert("x");
  ASSERT_TRUE(eventually([&] { return begun == 1; }));
  give_lease("go", 600);
  ASSERT_TRUE(eventually([&] { return lines.has("lost the lease"); })) << lines.all();
  EXPECT_FALSE(queues->leads("svc"));
  ASSERT_TRUE(eventually([&] { return lines.has("lost the lease"); }));
  go_on = true;
  EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(begun, 1);
  // It comes back: nothing hangs, as Go does after its second failed attempt.
  give_lease("go", 0);
  EXPECT_TRUE(ends_as(insert("x"), 1)) << lines.all();
}

TEST_F(PersistentQueueLease, ALateResultIsRefusedOnceAnotherNodeHasClaimedTheRow) {
  QueueConfig slow = config();
  std::atomic<bool> go_on{false};
  slow.handler = [&](Job& job) {
    runs.add(job);
    testing::eventually([&] { return go_on.load(); });
    job.status = Status::success;
  };
  auto queues = start(std::move(slow));
  const std::uint64_t id = insert("x");
  ASSERT_TRUE(eventually([&] { return runs.size() == 1; }));
  give_lease("other", 600);
  db.execute(
      fmt::format("UPDATE tidemill_async_job SET owner = 'other', epoch = epoch + 1 WHERE job_id = {}", id));
  ASSERT_TRUE(eventually([&] { return lines.has("lost the lease"); }));
  go_on = true;
  queues.reset();
  EXPECT_EQ(status(id), 0) << lines.all();
}

TEST_F(PersistentQueueLease, WhatANewerTermHasClaimedIsNotStarted) {
  start(config()).reset();  // Makes the tables.
  const std::uint64_t newer = insert("ok");
  db.execute(
      fmt::format("INSERT INTO tidemill_async_job (job_id, job_type, owner, epoch, updated_at) VALUES "
                  "({}, 7, 'other', (UNIX_TIMESTAMP() + 1000) * 1000000, 0)",
                  newer));
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_EQ(runs.count(newer), 0U);
}

TEST_F(PersistentQueueLease, AServiceOfAnotherNameGoesOnWithWhatTheLastLeft) {
  QueueConfig retrying = config("before");
  retrying.need_retry = true;
  retrying.max_retries = 1;
  retrying.wait_time = 1s;
  for (int i = 0; i < 3; ++i) start(config("before")).reset();  // Some terms.
  auto queues = start(retrying);
  const std::uint64_t id = insert("retry");
  ASSERT_TRUE(eventually([&] { return runs.count(id) == 1; }));
  queues.reset();
  db.execute("DELETE FROM tidemill_shedlock");
  retrying.service_name = "after";
  queues = start(retrying);
  EXPECT_TRUE(ends_as(id, 2)) << lines.all();
  EXPECT_EQ(runs.count(id), 2U);
}

TEST_F(PersistentQueueLease, StopWaitsForHandlersWritesAndReleasesOnlyThen) {
  QueueConfig slow = config();
  std::atomic<bool> go_on{false};
  std::atomic<int> begun{0};
  slow.shutdown_timeout = 100ms;
  slow.handler = [&](Job& job) {
    ++begun;
    testing::eventually([&] { return go_on.load(); });
    job.status = Status::success;
  };
  auto queues = start(std::move(slow));
  const std::uint64_t id = insert("x");
  ASSERT_TRUE(eventually([&] { return begun == 1; }));
  std::thread stopping{[&] { queues->stop(); }};
  // Renewals go on while it drains: it is still held after the length of a lease.
  const std::int64_t end = now() + 6;
  bool held = true;
  ASSERT_TRUE(eventually([&] {
    held = held && !holder().empty();
    return now() >= end;
  }));
  EXPECT_TRUE(held) << lines.all();
  go_on = true;
  stopping.join();
  EXPECT_EQ(status(id), 1);
  EXPECT_EQ(holder(), "");
  EXPECT_EQ(number("SELECT clean FROM tidemill_shedlock"), 1);
}

// Why: whoever takes the row between the two would let older jobs wait for runs that have long ended.
TEST_F(PersistentQueueLease, AReleaseIsSaidBeforeTheRowIsFree) {
  auto queues = start(config());
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  db.execute("CREATE TABLE seen (clean tinyint)");
  db.execute(
      "CREATE TRIGGER freed BEFORE UPDATE ON shedlock_tab FOR EACH ROW "
      "INSERT INTO seen SELECT clean FROM tidemill_shedlock WHERE NEW.lock_until <= NOW()");
  queues.reset();
  EXPECT_EQ(holder(), "");
  EXPECT_EQ(number("SELECT MIN(clean) FROM seen"), 1);
}

TEST_F(PersistentQueueLease, AMinimumHoldDelaysTheNextHolder) {
  QueueConfig held = config();
  held.table.lease_min = 3s;
  auto queues = start(std::move(held));
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  queues.reset();
  EXPECT_EQ(number("SELECT lock_until = locked_at + INTERVAL 3 SECOND FROM shedlock_tab"), 1);
}

TEST_F(PersistentQueueLease, TheReleaseOfAFormerHolderLeavesTheNextOnesLease) {
  auto queues = start(config());
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  give_lease("go", 600);
  queues.reset();
  EXPECT_EQ(holder(), "go");
  EXPECT_GT(number("SELECT UNIX_TIMESTAMP(lock_until) - UNIX_TIMESTAMP() FROM shedlock_tab"), 500);
}

TEST_F(PersistentQueueLease, TwoNodesRunEachJobOnceAndTheSecondTakesOver) {
  auto first = start(config());
  ASSERT_TRUE(eventually([&] { return first->leads("svc"); }));
  const auto second = start(config());
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(insert("ok"));
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1));
  first.reset();
  for (int i = 0; i < 50; ++i) ids.push_back(insert("ok"));
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(runs.size(), 100U);
  EXPECT_TRUE(second->leads("svc"));
}

TEST_F(PersistentQueueLease, MarkedRowsOfADeadNodeAreTakenBack) {
  QueueConfig marking = config();
  marking.table.claim_mode = ClaimMode::mark;
  start(marking).reset();  // Makes the tables.
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('ok', 7, 3, 0, UNIX_TIMESTAMP(), 0)");
  std::atomic<std::int64_t> seen{-1};
  marking.handler = [&](Job& job) {
    seen = status(job.id);
    job.status = Status::success;
  };
  const auto queues = start(std::move(marking));
  EXPECT_TRUE(ends_as(1, 1)) << lines.all();
  EXPECT_EQ(seen, 3);
}

TEST_F(PersistentQueueLease, TheServerIsKilledAndAllEndsOnceItIsBack) {
  testing::MysqlServer server;
  url = server.url();
  db = SqlHandle::mysql(url);
  const auto queues = start(config());
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(insert("ok"));
  for (const std::uint64_t id : ids) ASSERT_TRUE(ends_as(id, 1)) << lines.all();
  server.stop(SIGKILL);
  server.start();
  for (int i = 0; i < 20; ++i) ids.push_back(insert("ok"));
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(runs.size(), 40U);
}

TEST_F(PersistentQueueLease, ALeaseThatIsTakenWithoutATermIsTakenOnceMoreAndNotForItsWholeLengthFromThen) {
  // The row is had, the number of the term can't be: it is not held by halves.
  const std::uint64_t id = insert("ok");
  give_lease("go", 600);
  QueueConfig careful = config();
  careful.table.takeover_grace = 2s;
  const auto queues = start(std::move(careful));
  db.execute("RENAME TABLE tidemill_shedlock TO hidden");
  db.execute("CREATE TABLE tidemill_shedlock (lock_name varchar(64) PRIMARY KEY)");
  give_lease("go", 0);
  ASSERT_TRUE(eventually([&] { return lines.has("the lease can't be asked for"); }));
  EXPECT_FALSE(queues->leads("svc"));
  db.execute("DROP TABLE tidemill_shedlock");
  db.execute("RENAME TABLE hidden TO tidemill_shedlock");
  EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_TRUE(lines.has("did not release it")) << lines.all();  // It knows still whose it was.
}

TEST_F(PersistentQueueLease, TheSessionsTimeZoneStaysAsItWas) {
  TableOptions options = table_options();
  options.db.execute("SET SESSION time_zone = '+05:00'");
  options.lease_db = {};
  QueueConfig shared = config();
  shared.db = options.db;
  shared.table.lease_db = {};
  const auto queues = start(std::move(shared));
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  EXPECT_EQ(options.db.query("SELECT @@session.time_zone")[0][0], "+05:00");
  EXPECT_LE(number("SELECT UNIX_TIMESTAMP(lock_until) - UNIX_TIMESTAMP() FROM shedlock_tab"), 4);
}

}  // namespace
}  // namespace tidemill::persistent_queue
