// Nodes that are killed, paused and told to stop, each a process of its own; all of them C++.
#include <csignal>
#include <set>

#include "fixture.hpp"

namespace tidemill::persistent_queue {
namespace {

class PersistentQueueNodes : public Tables {
 protected:
  void SetUp() override {
    Tables::SetUp();
    if (IsSkipped()) return;
    db.execute(
        "CREATE TABLE effects (n int AUTO_INCREMENT PRIMARY KEY, job_id bigint, node varchar(50), "
        "what varchar(10), at bigint, KEY (job_id))");
  }

  testing::Process node(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{program(), url, name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return testing::Process{std::move(arguments), {.err = directory / name}};
  }
  static std::string program() {
    return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "pq_node_main").string();
  }
  std::int64_t effects(const std::string& condition) const {
    return number("SELECT COUNT(*) FROM effects WHERE " + condition);
  }
  bool begins(const std::string& name) const {
    return eventually([&] { return effects(fmt::format("what = 'begin' AND node = '{}'", name)) > 0; });
  }
  bool all_end() const {
    return eventually(
        [&] {
          return number("SELECT COUNT(*) FROM async_job_tab WHERE IFNULL(job_status, 0) NOT IN (1, 2)") == 0;
        },
        90s);
  }
  std::string log(const std::string& name) const { return testing::read_file(directory / name); }
  /// Runs of jobs named so that are more than `expected`, but for those that the dead had begun last.
  std::int64_t too_many(const std::string& params, int expected, const std::string& dead) const {
    return number(fmt::format(
        "SELECT COUNT(*) FROM (SELECT j.id FROM async_job_tab j JOIN effects e ON e.job_id = j.id "
        "AND e.what = 'begin' WHERE j.params = '{}' GROUP BY j.id "
        "HAVING COUNT(*) - SUM(e.node IN ({})) > {} OR COUNT(*) < {} OR "
        "(COUNT(*) > {} AND SUM(e.node IN ({})) = 0)) odd",
        params, dead, expected, expected, expected, dead));
  }

  testing::TemporaryDirectory directory;
};

TEST_F(PersistentQueueNodes, LeadersAreKilledAndEveryJobOfEachSortEndsAsItShould) {
  std::vector<testing::Process> nodes;
  for (const std::string name : {"n0", "n1", "n2"}) nodes.push_back(node(name, {"2"}));
  std::vector<std::uint64_t> delayed;
  const auto wave = [&] {
    for (int i = 0; i < 60; ++i) insert(i % 3 == 0 ? "slow:50" : "ok");
    for (int i = 0; i < 5; ++i) insert("retry");
    for (int i = 0; i < 5; ++i) insert("again:3");
    for (int i = 1; i <= 5; ++i) delayed.push_back(insert("later", now() + 2 * i));
  };
  std::set<std::string> dead;
  for (int round = 0; round < 2; ++round) {
    const std::int64_t before = effects("what = 'begin'");
    wave();
    ASSERT_TRUE(eventually([&] { return effects("what = 'begin'") > before + 20; }));
    const std::string leader = *db.query("SELECT node FROM effects ORDER BY n DESC LIMIT 1").at(0).at(0);
    dead.insert(leader);
    nodes[static_cast<std::size_t>(leader.at(1) - '0')].end(SIGKILL);
  }
  ASSERT_TRUE(all_end()) << log("n0") << log("n1") << log("n2");
  std::string killed;
  for (const std::string& name : dead) killed += fmt::format("{}'{}'", killed.empty() ? "" : ", ", name);
  EXPECT_EQ(too_many("ok", 1, killed), 0);
  EXPECT_EQ(too_many("slow:50", 1, killed), 0);
  EXPECT_EQ(too_many("later", 1, killed), 0);
  EXPECT_EQ(too_many("retry", 3, killed), 0);
  EXPECT_EQ(too_many("again:3", 3, killed), 0);
  // Never early, whoever led.
  EXPECT_EQ(
      number(
          "SELECT COUNT(*) FROM effects e JOIN async_job_tab j ON j.id = e.job_id WHERE e.at < j.start_time"),
      0);
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab WHERE job_status <> IF(params = 'retry', 2, 1)"), 0);
}

TEST_F(PersistentQueueNodes, APausedNodeStartsNothingAfterItsLeaseIsAnothers) {
  testing::Process first = node("n0");
  // Its line and its slots are full when it stops, in the middle of four jobs.
  for (int i = 0; i < 12; ++i) insert("slow:1500");
  ASSERT_TRUE(eventually([&] { return effects("what = 'begin'") - effects("what = 'end'") == 4; }));
  first.signal(SIGSTOP);
  testing::Process second = node("n1");
  ASSERT_TRUE(begins("n1")) << log("n1");
  const std::int64_t begun = effects("node = 'n0' AND what = 'begin'");
  first.signal(SIGCONT);
  for (int i = 0; i < 20; ++i) insert("ok");
  ASSERT_TRUE(all_end()) << log("n0") << log("n1");
  // What ran when it stopped may have gone on; nothing else began.
  EXPECT_EQ(effects("node = 'n0' AND what = 'begin'"), begun) << log("n0");
  EXPECT_EQ(too_many("ok", 1, "'n0'"), 0);
}

TEST_F(PersistentQueueNodes, SigtermDrainsWritesReleasesAndAnotherLeads) {
  testing::Process first = node("n0");
  const std::uint64_t slow = insert("slow:3000");
  ASSERT_TRUE(begins("n0"));
  testing::Process second = node("n1");
  first.signal(SIGTERM);
  const std::uint64_t next = insert("ok");
  EXPECT_EQ(first.wait(), 0) << log("n0");
  EXPECT_EQ(status(slow), 1);
  EXPECT_TRUE(ends_as(next, 1)) << log("n1");
  EXPECT_EQ(effects(fmt::format("job_id = {} AND node = 'n1' AND what = 'begin'", next)), 1);
  EXPECT_EQ(number("SELECT clean FROM tidemill_shedlock"), 0);  // As the second holds it.
}

TEST_F(PersistentQueueNodes, AMarkedJobOfAKilledNodeWaitsForANodeOfOurs) {
  testing::Process first = node("n0", {"0", "mark"});
  const std::uint64_t id = insert("slow:2000");
  ASSERT_TRUE(begins("n0"));
  EXPECT_EQ(status(id), 3);
  first.end(SIGKILL);
  EXPECT_EQ(status(id), 3);
  testing::Process second = node("n1", {"0", "mark"});
  EXPECT_TRUE(ends_as(id, 1)) << log("n1");
}

}  // namespace
}  // namespace tidemill::persistent_queue
