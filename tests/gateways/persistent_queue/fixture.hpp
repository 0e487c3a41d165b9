#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/persistent_queue.hpp>

#include "mysql_server.hpp"
#include "process.hpp"

/// PersistentQueue's tables in a database of each test's own, on a real MariaDB. Leases are short here, so
/// that tests need not wait for those of 30 s; nothing is asserted about how long something takes.
namespace tidemill::persistent_queue {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::eventually;

/// What handlers did, in their order.
class Runs {
 public:
  struct Run {
    std::uint64_t id = 0;
    std::string params = {};
    std::int64_t at = 0;  ///< Unix seconds.
  };
  void add(const Job& job) {
    // Not std::time: that clock is some milliseconds late.
    const auto at = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    const std::lock_guard lock{mutex_};
    runs_.push_back({job.id, job.params, at.time_since_epoch().count()});
  }
  std::size_t count(std::uint64_t id) const {
    const std::lock_guard lock{mutex_};
    std::size_t found = 0;
    for (const Run& run : runs_) found += run.id == id ? 1 : 0;
    return found;
  }
  std::size_t size() const {
    const std::lock_guard lock{mutex_};
    return runs_.size();
  }
  std::vector<Run> all() const {
    const std::lock_guard lock{mutex_};
    return runs_;
  }
  std::int64_t at(std::uint64_t id) const {
    for (const Run& run : all())
      if (run.id == id) return run.at;
    return 0;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Run> runs_;
};

/// Lines of log.
class Lines {
 public:
  Log log() {
    return Log{[this](Level, std::string_view message, std::span<const Field> fields) {
                 std::string line{message};
                 for (const Field& field : fields) line += fmt::format(" {}={}", field.name, field.value);
                 const std::lock_guard lock{mutex_};
                 lines_.push_back(std::move(line));
               },
               Level::debug};
  }
  bool has(std::string_view text) const { return count(text) > 0; }
  std::size_t count(std::string_view text) const {
    const std::lock_guard lock{mutex_};
    std::size_t found = 0;
    for (const std::string& line : lines_) found += line.find(text) != std::string::npos ? 1 : 0;
    return found;
  }
  std::string all() const {
    const std::lock_guard lock{mutex_};
    std::string text;
    for (const std::string& line : lines_) text += line + "\n";
    return text;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

class Tables : public ::testing::Test {
 protected:
  static constexpr std::int32_t type = 7;

  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static std::atomic<int> number{0};
    const std::string database = fmt::format("pq{}", ++number);
    mysql::Connection{mysql::parse_url(testing::shared_mysql().url())}.execute("CREATE DATABASE " + database);
    url = fmt::format("mysql://root@127.0.0.1:{}/{}", testing::shared_mysql().port(), database);
    db = SqlHandle::mysql(url);
    db.execute(std::string{async_job_table()});
    db.execute(std::string{shedlock_table()});
  }

  /// With leases of 4 s. The handler counts runs, and leaves what the params say.
  QueueConfig config(const std::string& service = "svc") {
    QueueConfig made;
    made.service_name = service;
    made.job_type = type;
    made.db = SqlHandle::mysql(url);
    made.table = table_options(service);
    made.worker_pool_capacity = 8;
    made.handler = [this](Job& job) {
      runs.add(job);
      act(job);
    };
    return made;
  }
  TableOptions table_options(const std::string& service = "svc") {
    TableOptions options;
    options.service_name = service;
    options.job_type = type;
    options.db = SqlHandle::mysql(url);
    options.lease_db = SqlHandle::mysql(url);
    options.lease = 4s;
    options.renew_interval = 700ms;
    options.safety_margin = 500ms;
    options.contest_interval = 100ms;
    options.poll_interval = 100ms;
    options.takeover_grace = Duration::zero();
    options.log = lines.log();
    return options;
  }
  static void act(Job& job) {
    static const std::map<std::string, Status> statuses{{"fail", Status::failed},
                                                        {"retry", Status::retry},
                                                        {"again", Status::again},
                                                        {"nothing", Status::init},
                                                        {"odd", static_cast<Status>(9)}};
    if (job.params == "throw") throw std::runtime_error{"thrown"};
    const auto found = statuses.find(job.params);
    job.status = found == statuses.end() ? Status::success : found->second;
  }
  std::unique_ptr<Queues> start(QueueConfig config) {
    std::vector<QueueConfig> configs;
    configs.push_back(std::move(config));
    return init(std::move(configs), Logger::to(lines.log()));
  }

  std::uint64_t insert(const std::string& params, std::int64_t start_time = 0, std::int32_t job_type = type) {
    return add_job(db, {job_type, params, start_time});
  }
  std::int64_t number(const std::string& text) const {
    const auto value = db.query(text).at(0).at(0);
    return value ? std::stoll(*value) : -1;
  }
  std::int64_t now() const { return number("SELECT UNIX_TIMESTAMP()"); }
  /// -1: NULL.
  std::int64_t status(std::uint64_t id) const {
    return number(fmt::format("SELECT job_status FROM async_job_tab WHERE id = {}", id));
  }
  bool ends_as(std::uint64_t id, std::int64_t expected) const {
    return eventually([&] { return status(id) == expected; });
  }
  std::string holder() const {
    const auto rows = db.query("SELECT locked_by FROM shedlock_tab WHERE lock_until > NOW()");
    return rows.empty() ? "" : rows[0][0].value_or("");
  }
  /// Somebody else's lease, for so many seconds from now.
  void give_lease(const std::string& owner, int seconds, const std::string& service = "svc") {
    db.execute(
        fmt::format("REPLACE INTO shedlock_tab (lock_name, lock_until, locked_at, locked_by) VALUES "
                    "(MD5('{}'), NOW() + INTERVAL {} SECOND, NOW() + INTERVAL {} - 30 SECOND, '{}')",
                    service, seconds, seconds, owner));
  }

  std::string url;
  SqlHandle db;
  Runs runs;
  Lines lines;
};

}  // namespace tidemill::persistent_queue
