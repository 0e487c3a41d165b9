#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <tidemill/tidemill.hpp>

#include "process.hpp"

namespace tidemill::testing {

inline std::uint64_t seed_of_run() {
  const char* given = std::getenv("TIDEMILL_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  fmt::print("TIDEMILL_SEED={}\n", seed);
  return seed;
}

/// A store in a file, whose users are killed at random. TIDEMILL_SEED repeats the choices of a run that
/// failed (but not the machine's).
class KillFixture : public ::testing::Test {
 protected:
  /// Leases of the killed end after 25 s, and their tasks then run one at a time: on a machine busy with
  /// other things that takes a while.
  static constexpr auto long_enough = std::chrono::minutes{4};

  KillFixture() : random_(seed_of_run()) {}

  std::string url() const { return "sqlite:" + (directory_ / "jobs.db").string(); }
  std::string log() const { return read_file(directory_ / "log"); }

  std::size_t chance(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
  }
  /// So that a kill falls on any instruction, and not always on the one after a progress was seen.
  void wait_a_bit() { poll(nullptr, 0, static_cast<int>(chance(20))); }

  static bool all_ended(Inspector& inspector) {
    for (const QueueInfo& queue : inspector.queues()) {
      for (const auto& [state, count] : queue.counts) {
        if (count > 0 && state != State::completed && state != State::archived) return false;
      }
    }
    return true;
  }

  static std::map<std::string, Task> tasks(Inspector& inspector, Filter filter = {}) {
    std::map<std::string, Task> out;
    TaskQuery query{.filter = std::move(filter), .limit = 1000};
    do {
      Page page = inspector.tasks(query);
      for (Task& task : page.tasks) {
        const std::string id = task.ref.id;
        EXPECT_TRUE(out.emplace(id, std::move(task)).second) << id << " is there twice";
      }
      query.cursor = page.next;
    } while (!query.cursor.empty());
    return out;
  }

  static void expect_one_success(Inspector& inspector, const Task& task) {
    ASSERT_EQ(task.state, State::completed) << task.ref.id << ": " << task.reason << " " << task.error;
    const std::vector<Attempt> attempts = inspector.attempts(task.ref);
    EXPECT_EQ(std::ranges::count_if(attempts, [](const Attempt& a) { return a.error.empty(); }), 1)
        << task.ref.id << " has succeeded other than once";
  }

  void expect_whole_file() {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ / "jobs.db").c_str(), &db), SQLITE_OK);
    std::string answer;
    sqlite3_exec(
        db, "PRAGMA integrity_check",
        [](void* out, int, char** values, char**) {
          *static_cast<std::string*>(out) += values[0];
          return 0;
        },
        &answer, nullptr);
    sqlite3_close(db);
    EXPECT_EQ(answer, "ok");
  }

  TemporaryDirectory directory_;

 private:
  std::mt19937_64 random_;
};

}  // namespace tidemill::testing
