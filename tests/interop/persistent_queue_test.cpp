// Tables that Go's nodes share with ours: the stand-in of tests/interop/persistent_queue, with all of
// PersistentQueue's times a fifth of what they are, but for one test with its own. Immediate jobs run exactly
// once as long as whoever holds the lease is healthy; what the death of a Go node leaves in doubt is named
// where it is allowed.
#include <csignal>
#include <map>

#include "gateways/persistent_queue/fixture.hpp"
#include "go_tools.hpp"

namespace tidemill::persistent_queue {
namespace {

class PersistentQueueWithGo : public Tables {
 protected:
  void SetUp() override {
    Tables::SetUp();
    if (IsSkipped()) return;
    if (!testing::persistent_queue_peer().why_not.empty())
      GTEST_SKIP() << testing::persistent_queue_peer().why_not;
    db.execute(
        "CREATE TABLE effects (n int AUTO_INCREMENT PRIMARY KEY, job_id bigint, node varchar(255), "
        "what varchar(10))");
  }

  testing::Process go(std::vector<std::string> flags = {}) {
    const std::string database = url.substr(url.rfind('/') + 1);
    std::vector<std::string> arguments{
        testing::persistent_queue_peer().program.string(), "-unit", "1", "-dsn",
        fmt::format("root@tcp(127.0.0.1:{})/{}", testing::shared_mysql().port(), database)};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return testing::Process{std::move(arguments), {.err = directory / "go.log"}};
  }
  std::string go_log() const { return testing::read_file(directory / "go.log"); }
  bool go_leads() const {
    return eventually([&] { return holder().starts_with("svc-go-"); });
  }
  /// Go's lease lasts 6 s here, and so does ours.
  std::unique_ptr<Queues> ours(Duration grace = Duration::zero()) {
    QueueConfig made = noting(config());
    made.table.lease = 6s;
    made.table.takeover_grace = grace;
    return start(std::move(made));
  }
  QueueConfig noting(QueueConfig made) {
    made.handler = [this](Job& job) {
      note(job.id, "begin");
      act(job);
      note(job.id, "end");
      runs.add(job);
    };
    return made;
  }
  void note(std::uint64_t id, const std::string& what) const {
    db.execute(fmt::format("INSERT INTO effects (job_id, node, what) VALUES ({}, 'ours', '{}')", id, what));
  }
  void insert_many(int count, const std::string& params) {
    std::string rows;
    for (int i = 0; i < count; ++i)
      rows += fmt::format("{}('{}', 7, 0, 0, UNIX_TIMESTAMP(), UNIX_TIMESTAMP())", i == 0 ? "" : ",", params);
    db.execute(
        "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, "
        "update_time) VALUES " +
        rows);
  }
  bool all_end() const {
    return eventually([&] { return number("SELECT COUNT(*) FROM async_job_tab WHERE job_status <> 1") == 0; },
                      60s);
  }
  std::int64_t effects(const std::string& condition) const {
    return number("SELECT COUNT(*) FROM effects WHERE " + condition);
  }
  /// Jobs that did not run exactly once.
  std::int64_t not_once() const {
    return number(
        "SELECT COUNT(*) FROM (SELECT j.id FROM async_job_tab j LEFT JOIN effects e ON e.job_id = j.id AND "
        "e.what = 'begin' GROUP BY j.id HAVING COUNT(e.n) <> 1) odd");
  }

  testing::TemporaryDirectory directory;
};

TEST_F(PersistentQueueWithGo, AGoLeaderWorksAloneAndItsLeaseIsTakenOverWhenItDies) {
  testing::Process leader = go();
  ASSERT_TRUE(go_leads()) << go_log();
  insert("ok");
  const auto queues = ours();
  ASSERT_TRUE(all_end()) << go_log();
  EXPECT_FALSE(queues->leads("svc"));
  EXPECT_EQ(effects("node = 'ours'"), 0);
  leader.end(SIGKILL);
  insert_many(20, "ok");
  ASSERT_TRUE(all_end()) << lines.all();
  EXPECT_TRUE(queues->leads("svc"));
  EXPECT_EQ(not_once(), 0);
}

TEST_F(PersistentQueueWithGo, WhatAKilledGoLeaderRanRunsAgainAndAllElseOnce) {
  testing::Process leader = go();
  ASSERT_TRUE(go_leads());
  insert_many(5, "slow:60000");
  ASSERT_TRUE(eventually([&] { return effects("what = 'begin'") == 5; })) << go_log();
  const auto queues = ours(1s);
  insert_many(50, "ok");
  leader.end(SIGKILL);
  ASSERT_TRUE(all_end()) << lines.all();
  // In flight when it died, so nobody can know: these five have begun twice and ended once.
  EXPECT_EQ(not_once(), 5);
  EXPECT_EQ(effects("what = 'end'"), 55);
  EXPECT_TRUE(lines.has("did not release it"));
}

TEST_F(PersistentQueueWithGo, AThousandJobsOfOursAreLeftAloneByAGoStandby) {
  const auto queues = ours();
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  testing::Process standby = go();
  insert_many(1000, "ok");
  ASSERT_TRUE(all_end()) << lines.all();
  ASSERT_TRUE(eventually([&] { return go_log().find("failed attempt") != std::string::npos; }));
  EXPECT_EQ(effects("node <> 'ours'"), 0);
  EXPECT_EQ(not_once(), 0);
  EXPECT_TRUE(queues->leads("svc"));
}

TEST_F(PersistentQueueWithGo, AReleasedLeaseGoesToGoWhichReadsOurTablesAndRunsTheRest) {
  auto queues = ours();
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  insert_many(20, "ok");
  ASSERT_TRUE(all_end());
  queues.reset();
  insert_many(20, "ok");
  testing::Process next = go();
  // Its SELECT * finds the seven columns, beside the index and the tables that we have added.
  ASSERT_TRUE(all_end()) << go_log();
  EXPECT_EQ(effects("what = 'begin' AND node = 'ours'"), 20);
  EXPECT_EQ(not_once(), 0);
  EXPECT_EQ(go_log().find("Scan"), std::string::npos) << go_log();
}

TEST_F(PersistentQueueWithGo, AReleaseOfGosThatComesLateLeavesOurLease) {
  testing::Process first = go();
  ASSERT_TRUE(go_leads());
  // Paused for longer than its lease; then it finds that a renewal fails, and leaves with S4.
  first.signal(SIGSTOP);
  const auto queues = ours();
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }));
  first.signal(SIGCONT);
  ASSERT_TRUE(eventually([&] { return go_log().find("renewal failed") != std::string::npos; })) << go_log();
  insert_many(20, "ok");
  ASSERT_TRUE(eventually([&] { return runs.size() >= 20; }, 60s)) << lines.all();
  // Several times of the pause in which Go's loop ends and gives the lease free.
  const std::int64_t end = now() + 15;
  bool led = true;
  ASSERT_TRUE(eventually([&] {
    led = led && queues->leads("svc");
    return now() >= end;
  }));
  EXPECT_TRUE(led) << lines.all();
  EXPECT_FALSE(lines.has("lost the lease"));
}

// Why: the other tests shorten all times alike, ours and Go's. How: a lease of 30 s, renewed after 25 s by Go
// and every 8 s by ours; Go's pauses of 5 s and 30 s. A Go leader dies and ours leads once its lease has run
// out; then ours releases, and a Go node that has stood by finds that at its next attempt. Takes some 45 s.
TEST_F(PersistentQueueWithGo, WithItsOwnIntervalsTheLeaseGoesFromGoToUsAndBack) {
  const auto ran_by_us = [&] { return effects("what = 'begin' AND node = 'ours'"); };
  insert_many(5, "ok");
  testing::Process leader = go({"-unit", "5"});
  ASSERT_TRUE(go_leads()) << go_log();
  const std::string first = holder();
  QueueConfig made = noting(config());
  const TableOptions usual;
  made.table.lease = usual.lease;
  made.table.renew_interval = usual.renew_interval;
  made.table.safety_margin = usual.safety_margin;
  made.table.contest_interval = usual.contest_interval;
  made.table.takeover_grace = usual.takeover_grace;
  auto queues = start(std::move(made));
  ASSERT_TRUE(all_end()) << go_log();
  testing::Process standby = go({"-unit", "5"});
  EXPECT_EQ(holder(), first);
  EXPECT_EQ(ran_by_us(), 0);
  leader.end(SIGKILL);
  ASSERT_TRUE(eventually([&] { return queues->leads("svc"); }, 60s)) << lines.all();
  insert_many(5, "ok");  // Rows of before would wait for the grace of 30 s.
  ASSERT_TRUE(all_end()) << lines.all();
  EXPECT_EQ(ran_by_us(), 5);
  queues.reset();
  insert_many(5, "ok");
  ASSERT_TRUE(eventually([&] { return holder().starts_with("svc-go-"); }, 60s)) << go_log();
  EXPECT_NE(holder(), first);
  ASSERT_TRUE(all_end()) << go_log();
  EXPECT_EQ(ran_by_us(), 5);
  EXPECT_EQ(not_once(), 0);
}

TEST_F(PersistentQueueWithGo, WhatGosHelperEnqueuesRunsHere) {
  const auto queues = ours();
  testing::Process producer = go({"-add", "10"});
  EXPECT_EQ(producer.wait(), 0) << go_log();
  ASSERT_TRUE(all_end()) << lines.all();
  EXPECT_EQ(runs.all().front().params.find("{\"number\":"), 0U);
  EXPECT_EQ(runs.size(), 10U);
}

TEST_F(PersistentQueueWithGo, MarkedRowsAreNotRunByGo) {
  // A C++ node died with a mark; Go's nodes, which shouldn't lead such a queue, leave the row alone.
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('ok', 7, 3, 0, UNIX_TIMESTAMP(), 0)");
  insert("ok");
  testing::Process leader = go();
  ASSERT_TRUE(ends_as(2, 1)) << go_log();
  EXPECT_EQ(status(1), 3);
}

}  // namespace
}  // namespace tidemill::persistent_queue
