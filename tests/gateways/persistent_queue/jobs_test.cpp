// What becomes of jobs: each outcome of A11, due times, and what a restart finds. One node, whose handlers
// leave the status that the params name.
#include "fixture.hpp"

namespace tidemill::persistent_queue {
namespace {

class PersistentQueueJobs : public Tables {};

TEST_F(PersistentQueueJobs, ImmediateJobsRunOnceAndTheirRowsSayHowTheyEnded) {
  const std::uint64_t before = insert("ok");
  const std::uint64_t failed = insert("fail");
  db.execute("UPDATE async_job_tab SET update_time = 1");
  const auto queues = start(config());
  const std::uint64_t after = insert("ok");
  EXPECT_TRUE(ends_as(before, 1)) << lines.all();
  EXPECT_TRUE(ends_as(after, 1));
  EXPECT_TRUE(ends_as(failed, 2));
  EXPECT_EQ(runs.size(), 3U);
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab WHERE update_time >= UNIX_TIMESTAMP() - 60"), 3);
}

TEST_F(PersistentQueueJobs, OtherTypesAreLeftAlone) {
  const std::uint64_t other = insert("ok", 0, 8);
  const std::uint64_t ours = insert("ok");
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(ours, 1));
  EXPECT_EQ(status(other), 0);
  EXPECT_EQ(runs.count(other), 0U);
}

TEST_F(PersistentQueueJobs, DelayedJobsRunWhenTheyAreDueAndNeverBefore) {
  const auto queues = start(config());
  const std::int64_t at = now();
  const std::uint64_t soon = insert("ok", at + 3);
  const std::uint64_t sooner = insert("ok", at + 2);
  const std::uint64_t late = insert("ok", at + 3600);
  const std::uint64_t retrying = insert("retry");
  EXPECT_TRUE(ends_as(soon, 1)) << lines.all();
  EXPECT_TRUE(ends_as(sooner, 1));
  EXPECT_GE(runs.at(soon), at + 3);
  EXPECT_GE(runs.at(sooner), at + 2);
  EXPECT_EQ(runs.count(soon), 1U);
  // One that is due in an hour, beside immediate, retried and due ones, which make Go run it at once.
  EXPECT_EQ(runs.count(late), 0U);
  EXPECT_EQ(status(late), 0);
  EXPECT_TRUE(ends_as(retrying, 2));
}

TEST_F(PersistentQueueJobs, WhatIsDueRunsInTheOrderOfDueTimes) {
  const std::int64_t at = now();
  const std::uint64_t third = insert("ok", at - 10);
  const std::uint64_t first = insert("ok", at - 30);
  const std::uint64_t second = insert("ok", at - 20);
  const std::uint64_t last = insert("ok");
  QueueConfig one = config();
  one.worker_pool_capacity = 1;
  const auto queues = start(std::move(one));
  ASSERT_TRUE(ends_as(last, 1));
  std::vector<std::uint64_t> order;
  for (const Runs::Run& run : runs.all()) order.push_back(run.id);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{first, second, third, last}));
}

TEST_F(PersistentQueueJobs, AJobThatFailsAlwaysRunsOnceMoreThanItsRetries) {
  QueueConfig retrying = config();
  retrying.need_retry = true;
  retrying.max_retries = 2;
  retrying.wait_time = 1s;
  const auto queues = start(std::move(retrying));
  const std::vector<std::uint64_t> ids{insert("retry"), insert("nothing"), insert("throw")};
  for (const std::uint64_t id : ids) {
    EXPECT_TRUE(ends_as(id, 2)) << lines.all();
    EXPECT_EQ(runs.count(id), 3U);
  }
  for (const std::uint64_t id : ids) {
    std::vector<std::int64_t> times;
    for (const Runs::Run& run : runs.all())
      if (run.id == id) times.push_back(run.at);
    for (std::size_t i = 1; i < times.size(); ++i) EXPECT_GE(times[i], times[i - 1] + 1);
  }
}

TEST_F(PersistentQueueJobs, WithoutRetriesAnUnsetStatusIsAFailureAndNotAStuckRow) {
  QueueConfig once = config();
  once.max_retries = 3;  // They are of no account: need_retry is false.
  const auto queues = start(std::move(once));
  const std::vector<std::uint64_t> ids{insert("retry"), insert("nothing"), insert("throw")};
  for (const std::uint64_t id : ids) {
    EXPECT_TRUE(ends_as(id, 2)) << lines.all();
    EXPECT_EQ(runs.count(id), 1U);
  }
}

TEST_F(PersistentQueueJobs, AnUnknownStatusIsAFailureAndLogged) {
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(insert("odd"), 2));
  EXPECT_TRUE(lines.has("wrong status"));
}

TEST_F(PersistentQueueJobs, ContinuedJobsRunAgainAndUseUpNoRetry) {
  QueueConfig going_on = config();
  going_on.wait_time = 50ms;
  std::atomic<int> seen{0};
  std::atomic<int> wrong{0};
  going_on.handler = [&](Job& job) {
    if (job.status != (seen == 0 ? Status::init : Status::again) || job.retries != 0) ++wrong;
    job.status = ++seen < 5 ? Status::again : Status::success;
  };
  const auto queues = start(std::move(going_on));
  EXPECT_TRUE(ends_as(insert("x"), 1)) << lines.all();
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(wrong, 0);
}

TEST_F(PersistentQueueJobs, ACapEndsWhatGoesOnForEver) {
  QueueConfig capped = config();
  capped.continues_max = 3;
  const auto queues = start(std::move(capped));
  const std::uint64_t id = insert("again");
  EXPECT_TRUE(ends_as(id, 2));
  EXPECT_EQ(runs.count(id), 4U);
}

TEST_F(PersistentQueueJobs, TheHandlersErrorIsKeptAndDecidesNothing) {
  QueueConfig erring = config();
  erring.need_retry = true;
  erring.max_retries = 3;
  erring.wait_time = 1h;
  erring.handler = [](Job& job) {
    job.error = "only said";
    job.status = job.params == "ok" ? Status::success : Status::retry;
  };
  const auto queues = start(std::move(erring));
  const std::uint64_t retried = insert("x");
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_TRUE(lines.has("only said"));
  EXPECT_TRUE(eventually([&] {
    const auto rows =
        db.query(fmt::format("SELECT last_error FROM tidemill_async_job WHERE job_id = {}", retried));
    return !rows.empty() && rows[0][0] == "only said";
  }));
  EXPECT_EQ(status(retried), 0);  // So that a Go node can take over.
}

TEST_F(PersistentQueueJobs, AnErrorOfAnyBytesIsWritten) {
  QueueConfig erring = config();
  erring.handler = [](Job& job) {
    job.error = "\xff" + std::string(100'000, 'x');
    job.status = Status::failed;
  };
  const auto queues = start(std::move(erring));
  EXPECT_TRUE(ends_as(insert("x"), 2)) << lines.all();
}

TEST_F(PersistentQueueJobs, TheRetryCountSurvivesARestart) {
  QueueConfig retrying = config();
  retrying.need_retry = true;
  retrying.max_retries = 2;
  retrying.wait_time = 1s;
  const std::uint64_t id = insert("retry");
  auto queues = start(retrying);
  ASSERT_TRUE(eventually([&] { return runs.count(id) == 1; }));
  queues.reset();
  queues = start(retrying);
  EXPECT_TRUE(ends_as(id, 2)) << lines.all();
  EXPECT_EQ(runs.count(id), 3U);
}

TEST_F(PersistentQueueJobs, AThousandThrowsCostNoWorker) {
  std::string rows;
  for (int i = 0; i < 1000; ++i)
    rows += fmt::format("{}('throw', 7, 0, 0, UNIX_TIMESTAMP(), UNIX_TIMESTAMP())", i == 0 ? "" : ",");
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES " +
      rows);
  const auto queues = start(config());
  EXPECT_TRUE(eventually([&] {
    return number("SELECT COUNT(*) FROM async_job_tab WHERE job_status = 2") == 1000;
  })) << lines.all();
  EXPECT_EQ(runs.size(), 1000U);
  EXPECT_TRUE(ends_as(insert("ok"), 1));
}

// ---- What was there before

TEST_F(PersistentQueueJobs, RowsOfTheLastDaysAreRecoveredByTheirLaterTime) {
  const auto old = [&](const std::string& created, const std::string& start) {
    db.execute(
        fmt::format("INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, "
                    "update_time) VALUES ('ok', 7, 0, {}, {}, 0)",
                    start, created));
    return static_cast<std::uint64_t>(number("SELECT MAX(id) FROM async_job_tab"));
  };
  const std::uint64_t week = old("UNIX_TIMESTAMP() - 8 * 86400", "0");
  const std::uint64_t day = old("UNIX_TIMESTAMP() - 2 * 86400", "0");
  // Created long ago for now: Go would never load it.
  const std::uint64_t due = old("UNIX_TIMESTAMP() - 30 * 86400", "UNIX_TIMESTAMP() - 5");
  {
    const auto queues = start(config());
    EXPECT_TRUE(ends_as(day, 1)) << lines.all();
    EXPECT_TRUE(ends_as(due, 1));
    // New rows run whatever their create_time says.
    EXPECT_TRUE(ends_as(old("1", "0"), 1));
    EXPECT_EQ(status(week), 0);
  }
  QueueConfig all = config();
  all.first_pull_days = FirstPull::unlimited();
  const auto queues = start(std::move(all));
  EXPECT_TRUE(ends_as(week, 1));
}

TEST_F(PersistentQueueJobs, NoneRecoversNothingAndRunsWhatComes) {
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('ok', 7, 0, 0, UNIX_TIMESTAMP() - 60, 0)");
  QueueConfig fresh = config();
  fresh.first_pull_days = FirstPull::none();
  give_lease("go", 600);
  const auto queues = start(std::move(fresh));
  // What comes while it still waits for the lease is not of before.
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('ok', 7, 0, 0, 1, 0)");
  give_lease("go", 0);
  EXPECT_TRUE(ends_as(2, 1)) << lines.all();
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_EQ(runs.count(1), 0U);
}

TEST_F(PersistentQueueJobs, ARowWithNullsRunsAndIsReportedAndCanBeRepaired) {
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, start_time, create_time, update_time) "
      "VALUES ('ok', 7, NULL, UNIX_TIMESTAMP(), 0)");
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('ok', 7, 0, NULL, UNIX_TIMESTAMP(), 0), ('ok', 8, NULL, NULL, 0, 0)");
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(1, 1)) << lines.all();
  EXPECT_TRUE(ends_as(2, 1));
  EXPECT_TRUE(lines.has("rows with NULL"));
  EXPECT_EQ(repair_nulls(db), 3);
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab WHERE job_status IS NULL OR start_time IS NULL"), 0);
}

TEST_F(PersistentQueueJobs, ARowThatCommitsAfterLaterOnesRuns) {
  mysql::Connection slow{mysql::parse_url(url)};
  slow.execute(
      "START TRANSACTION; INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, "
      "update_time) VALUES ('ok', 7, 0, 0, UNIX_TIMESTAMP(), 0)");
  const auto queues = start(config());
  const std::uint64_t later = insert("ok");
  ASSERT_TRUE(ends_as(later, 1));
  slow.execute("COMMIT");
  EXPECT_TRUE(ends_as(later - 1, 1)) << lines.all();
}

TEST_F(PersistentQueueJobs, AnOldRowOpenForMinutesBeforeItsCommitRuns) {
  // What a transaction that stays open for longer than Go remembers holes comes to: a row far behind the
  // greatest id appears, created minutes ago.
  const auto queues = start(config());
  db.execute("ALTER TABLE async_job_tab AUTO_INCREMENT = 5000");
  ASSERT_TRUE(ends_as(insert("ok"), 1));
  db.execute(
      "INSERT INTO async_job_tab (id, params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES (3, 'ok', 7, 0, 0, UNIX_TIMESTAMP() - 360, 0)");
  EXPECT_TRUE(ends_as(3, 1));
}

TEST_F(PersistentQueueJobs, WithoutAnIndexNewRowsAreFoundByTheGreatestId) {
  QueueConfig plain = config();
  plain.table.create_index = false;
  const auto queues = start(std::move(plain));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_EQ(number("SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND "
                   "TABLE_NAME = 'async_job_tab'"),
            1);
}

TEST_F(PersistentQueueJobs, ALimitOnLoadsAndOnWhatIsKnownLosesNothing) {
  QueueConfig small = config();
  small.load_limit = 3;
  small.queue_max_size = 5;
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(insert("ok"));
  const auto queues = start(std::move(small));
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(runs.size(), 40U);
}

TEST_F(PersistentQueueJobs, WhatIsKeptBesideAJobGoesWithItsSuccess) {
  const auto queues = start(config());
  const std::uint64_t failed = insert("fail");
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  EXPECT_TRUE(ends_as(failed, 2));
  EXPECT_TRUE(eventually([&] { return number("SELECT COUNT(*) FROM tidemill_async_job") == 1; }));
  EXPECT_EQ(number("SELECT job_id FROM tidemill_async_job"), static_cast<std::int64_t>(failed));
}

}  // namespace
}  // namespace tidemill::persistent_queue
