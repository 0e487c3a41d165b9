// The archive beside Go, whose servers trim it to 10,000 tasks, and what archive_max makes of ours.
#include "ours.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

class Archive : public OursAndGo {
 protected:
  static constexpr std::int64_t gos_most = 10'000;
  static constexpr auto gos_days = 90 * 24h;

  /// Archived tasks "PREFIX1" and so on, one a second from `first` on, as a worker leaves them.
  void fill(const std::string& prefix, std::int64_t count, TimePoint first) {
    redis_store::TaskMessage task;
    task.type = "email";
    task.queue = "default";
    task.id = prefix;
    constexpr const char* script = R"lua(
      for i = 1, tonumber(ARGV[2]) do
        local id = ARGV[1] .. i
        redis.call('HSET', KEYS[1] .. 't:' .. id, 'msg', ARGV[4], 'state', 'archived')
        redis.call('ZADD', KEYS[1] .. 'archived', ARGV[3] + i, id)
      end)lua";
    raw().exec({"EVAL", script, "1", key("default", ""), prefix, std::to_string(count),
                std::to_string(seconds_of(first)), encode(task)});
    raw().exec({"SADD", "asynq:queues", "default"});
  }
  std::int64_t archived() { return raw().integer({"ZCARD", key("default", "archived")}); }
  bool there(const std::string& id) { return raw().exists(task_key("default", id)); }
  std::size_t hashes() { return raw().texts({"KEYS", task_key("default", "*")}).size(); }

  /// Sweeps until nothing is left to do; how many tasks went.
  std::size_t swept(Store& store) {
    std::size_t all = 0;
    for (bool more = true; more;) {
      const Swept answer = store.sweep("ours", length, 500, call());
      EXPECT_LE(answer.purged, 500U);
      all += answer.purged;
      more = answer.more;
    }
    return all;
  }
};

TEST_F(Archive, GosServerTrimsOurs) {
  fill("old", 5, now() - gos_days - 1h);
  fill("full", gos_most, now() - 24h);
  GoProgram server{"server", redis()};
  const std::string id = enqueue("skip_retry");
  ASSERT_TRUE(becomes("default", id, "archived"));
  EXPECT_EQ(archived(), gos_most - 1);
  EXPECT_FALSE(there("old1"));
  EXPECT_FALSE(there("full1"));
  EXPECT_TRUE(there(fmt::format("full{}", gos_most)));
  EXPECT_EQ(hashes(), static_cast<std::size_t>(gos_most) - 1);
}

TEST_F(Archive, OursIsKeptWhole) {
  fill("old", 20, now() - gos_days - 1h);
  fill("full", gos_most + 20, now() - 24h);
  start_worker();
  ASSERT_TRUE(becomes("default", enqueue("archive hopeless"), "archived"));
  EXPECT_EQ(swept(store()), 0U);
  EXPECT_EQ(archived(), gos_most + 41);
}

// Why: Go's script fails when it has more than some 8,000 tasks to trim at once, and the task that it
// archives is lost to it. How: three times as many, which ours trims in steps; then Go archives one.
TEST_F(Archive, ArchiveMaxKeepsItSmallEnoughForGo) {
  constexpr std::int64_t most = 5000;
  fill("old", 9000, now() - gos_days - 24h);
  fill("full", gos_most + 5000, now() - 24h);
  const auto trimming = open(fmt::format("{}?archive_max={}", redis().url(), most));
  EXPECT_EQ(swept(*trimming), 9000U + static_cast<std::size_t>(gos_most));
  EXPECT_EQ(archived(), most);
  EXPECT_EQ(hashes(), static_cast<std::size_t>(most)) << "their hashes went with them";
  EXPECT_FALSE(there("full10000"));
  EXPECT_TRUE(there("full10001")) << "the newest stay";
  EXPECT_EQ(swept(*trimming), 0U);

  GoProgram server{"server", redis()};
  const std::string id = enqueue("skip_retry");
  ASSERT_TRUE(becomes("default", id, "archived"));
  EXPECT_EQ(archived(), most + 1);
  EXPECT_FALSE(raw().exists(key("default", "active")));
}

TEST_F(Archive, ATrimmedTaskGivesItsKeyBack) {
  const auto trimming = open(redis().url() + "?timeout=20s&archive_max=1");
  const std::string id = enqueue("ok", {.unique = Unique{.window = 1h, .outlives_task = false}});
  GoProgram inspect{"inspect", redis()};
  inspect.inspect({"archive", "default", json::string{id}});  // Go's keeps the lock.
  const std::vector<std::string> locks = raw().texts({"KEYS", key("default", "unique:*")});
  ASSERT_EQ(locks.size(), 1U);
  fill("newer", 1, now() + 1h);
  EXPECT_EQ(swept(*trimming), 1U);
  EXPECT_FALSE(raw().exists(locks[0]));
  EXPECT_FALSE(there(id));
}

TEST_F(Archive, ArchiveMaxIsANumber) {
  for (const std::string wrong : {"archive_max=0", "archive_max=", "archive_max=many", "archive_max=5x"}) {
    try {
      open(fmt::format("{}?{}", redis().url(), wrong));
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid);
      EXPECT_NE(std::string_view{error.what()}.find("archive_max must be a number"), std::string_view::npos);
    }
  }
  EXPECT_NO_THROW(open(redis().url() + "?archive_max=5&timeout=5s"));
  EXPECT_THROW(open(redis().url() + "?xarchive_max=5"), Error);
}

}  // namespace
}  // namespace tidemill::testing
