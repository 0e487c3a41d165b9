// examples/persistent_queue, as it is, on a MariaDB of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <tidemill/sql.hpp>

#include "mysql_server.hpp"
#include "places.hpp"
#include "process.hpp"

namespace tidemill {
namespace {

class PersistentQueueExample : public ::testing::Test {
 protected:
  void SetUp() override { TIDEMILL_NEEDS_MYSQL(); }

  testing::Process start(std::vector<std::string> words) {
    std::vector<std::string> arguments{"/usr/bin/env"};
    arguments.push_back("TIDEMILL_MYSQL=" + testing::shared_mysql().url());
    arguments.push_back(testing::built("example_persistent_queue"));
    arguments.insert(arguments.end(), words.begin(), words.end());
    return {std::move(arguments), {.out = directory_ / "out", .err = directory_ / "err"}};
  }
  std::string out() const { return testing::read_file(directory_ / "out"); }
  std::string err() const { return testing::read_file(directory_ / "err"); }

  testing::TemporaryDirectory directory_;
};

TEST_F(PersistentQueueExample, TheQuickStartRuns) {
  ASSERT_EQ(start({"add", "ada"}).wait(), 0) << err();
  testing::Process worker = start({"work"});
  const auto prints = [&](const std::string& line) {
    return testing::eventually([&] { return out().find(line + "\n") != std::string::npos; });
  };
  EXPECT_TRUE(prints("mail to ada: welcome")) << err();
  EXPECT_TRUE(prints("mail to ada: your order")) << err();
  const SqlHandle db = SqlHandle::mysql(testing::shared_mysql().url());
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES ('{\"to\":\"bob\",\"text\":\"hello\"}', 1, 0, 0, UNIX_TIMESTAMP(), UNIX_TIMESTAMP())");
  EXPECT_TRUE(prints("mail to bob: hello")) << err();
  EXPECT_EQ(worker.end(SIGTERM), 0) << err();
  EXPECT_EQ(db.query("SELECT COUNT(*) FROM async_job_tab WHERE job_status = 1").at(0).at(0), "3");
  EXPECT_EQ(db.query("SELECT COUNT(*) FROM shedlock_tab WHERE lock_until > NOW()").at(0).at(0), "0");
  EXPECT_EQ(start({"once"}).wait(), 0) << err();
  EXPECT_TRUE(prints("makes the report"));
}

}  // namespace
}  // namespace tidemill
