// Jobs of PersistentQueue's tables that the server delivers, through the whole program.
#include <atomic>
#include <mutex>

#include <tidemill/persistent_queue.hpp>

#include "drivers/http/server.hpp"
#include "mysql_server.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class PersistentQueueGateway : public ServerTest {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    ServerTest::SetUp();
    db_ = SqlHandle::mysql(shared_mysql().url());
    for (const char* const table :
         {"async_job_tab", "shedlock_tab", "tidemill_async_job", "tidemill_shedlock"})
      db_.execute(std::string{"DROP TABLE IF EXISTS "} + table);
    db_.execute(std::string{persistent_queue::async_job_table()});
  }
  std::string yaml(const std::string& how) const {
    return fmt::format(
        "outgoing: {{allow_networks: [127.0.0.0/8]}}\n"
        "gateways:\n  persistent_queue:\n    - service: mails\n      job_type: 7\n      database: {}\n"
        "      max_retries: 1\n      wait: 10ms\n      {}\n",
        shared_mysql().url(), how);
  }
  std::string to_receiver() const {
    return fmt::format("http: 'http://127.0.0.1:{}/{{{{id}}}}'", receiver_.port());
  }
  bool ends_as(std::uint64_t id, const std::string& status) const {
    return eventually([&] {
      return db_.query(fmt::format("SELECT job_status FROM async_job_tab WHERE id = {}", id)).at(0).at(0) ==
             status;
    });
  }

  SqlHandle db_;
  std::atomic<int> calls_{0};
  std::mutex mutex_;
  std::string body_;  // Guarded by mutex_.
  http::Server receiver_{{}, [this](http::Request&& request, const http::Answer& answer) {
                           ++calls_;
                           const std::lock_guard lock{mutex_};
                           body_ = request.body;
                           answer({body_ == "bad" ? 500 : 200, "text/plain", {}, "so"});
                         }};
};

TEST_F(PersistentQueueGateway, JobsAreDeliveredByHttpAndTheirRowsSayHowTheyEnded) {
  serve(yaml(to_receiver()));
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, R"({"to":"ada"})"}), "1")) << log();
  {
    const std::lock_guard lock{mutex_};
    EXPECT_EQ(body_, R"({"to":"ada"})");
  }
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "bad"}), "2")) << log();
  EXPECT_EQ(calls_, 3);  // Once, and once more after a retry.
  const Reply shown = get("/config");
  EXPECT_EQ(shown.text("/gateways/persistent_queue/0/service"), "mails");
}

TEST_F(PersistentQueueGateway, QueuesOfOneServiceShareItsLease) {
  const std::string one = yaml(to_receiver());
  const std::size_t entry = one.find("    - service");
  std::string other = one.substr(entry);
  other.replace(other.find("job_type: 7"), 11, "job_type: 8");
  serve(one + other);
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "a"}), "1")) << log();
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {8, "b"}), "1")) << log();
  // A reload hands both on.
  configure(one + other + "      timeout: 5s\n");
  EXPECT_EQ(post("/config/reload", "").status, 200);
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {8, "c"}), "1")) << log();
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "d"}), "1")) << log();
}

TEST_F(PersistentQueueGateway, AReloadHandsTheLeaseOnAndTheEndReleasesIt) {
  serve(yaml(to_receiver()));
  ASSERT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "one"}), "1")) << log();
  configure(yaml("command: 'cat > " + (directory_ / "made").string() + "'"));
  EXPECT_EQ(post("/config/reload", "").status, 200);
  EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "two"}), "1")) << log();
  EXPECT_TRUE(eventually([&] { return calls_ == 2 || read_file(directory_ / "made") == "two"; }));
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(ends_as(persistent_queue::add_job(db_, {7, "three"}), "1")) << log();
    return read_file(directory_ / "made") == "three";
  }));
  server_.end(SIGTERM);
  EXPECT_EQ(db_.query("SELECT COUNT(*) FROM shedlock_tab WHERE lock_until > NOW()").at(0).at(0), "0");
}

}  // namespace

}  // namespace tidemill::testing
