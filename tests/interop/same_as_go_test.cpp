// The same task from both clients leaves the same in Redis: message, fields, place, score and lock.
#include "ours.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;
using redis_store::TaskMessage;

class SameAsGo : public OursAndGo {
 protected:
  /// What a task has left, with its queue's and its own name taken out.
  struct Left {
    TaskMessage message = {};
    std::map<std::string, std::string> fields = {};  ///< Beside the message.
    std::map<std::string, std::string> scores = {};  ///< By the set's name.
    std::vector<std::string> lists = {};             ///< Those that the id is in.
    std::string lock = {};
    std::int64_t lock_seconds = 0;
  };

  Left left_by(const std::string& queue, const std::string& id) {
    Left left{.message = message(queue, id), .fields = raw().hash(task_key(queue, id))};
    left.fields.erase("msg");
    for (const std::string name : {"scheduled", "retry", "g:grp"}) {
      const auto scores = raw().scores(key(queue, name));
      if (const auto found = scores.find(id); found != scores.end()) left.scores[name] = found->second;
    }
    if (raw().list(key(queue, "pending")) == std::vector{id}) left.lists.push_back("pending");
    if (raw().exists(key(queue, "groups")))
      left.lists.push_back(raw().texts({"SMEMBERS", key(queue, "groups")})[0]);
    const auto nameless = [&](std::string& text) {
      const std::string prefix = key(queue, "");
      if (text.starts_with(prefix)) text.erase(0, prefix.size());
    };
    if (!left.message.unique_key.empty()) {
      left.lock = raw().text({"GET", left.message.unique_key}) == id ? "held" : "of another";
      left.lock_seconds = raw().integer({"TTL", left.message.unique_key});
    }
    nameless(left.message.unique_key);
    if (left.fields.contains("unique_key")) nameless(left.fields["unique_key"]);
    left.message.id = left.message.queue = "";
    return left;
  }
  static void expect_near(std::int64_t ours, std::int64_t go, std::string_view what) {
    EXPECT_LE(std::abs(ours - go), 3) << what << ": ours " << ours << ", Go's " << go;
  }

  /// Ours may have fields that Go doesn't know, and these only.
  void expect_same(json::object go, EnqueueOptions options, const std::set<std::string>& extra = {}) {
    SCOPED_TRACE(json::serialize(go));
    const std::string number = std::to_string(++count_);
    go["type"] = "email";
    go["payload"] = "p";
    go["queue"] = "go" + number;
    options.queue = "ours" + number;
    if (!go_) go_.emplace("client", redis());
    Left wanted = left_by("go" + number, go_enqueue(*go_, go));
    Left left = left_by(options.queue, client().enqueue("email", "p", options).id);

    EXPECT_EQ(left.message, wanted.message);
    EXPECT_EQ(left.lists, wanted.lists);
    EXPECT_EQ(left.lock, wanted.lock);
    expect_near(left.lock_seconds, wanted.lock_seconds, "the lock's time");
    for (const std::string& name : extra) EXPECT_EQ(left.fields.erase(name), 1U) << name;
    const auto since = [](Left& each) {
      const std::string text = std::exchange(each.fields["pending_since"], "");
      return text.empty() ? 0 : std::stoll(text) / 1'000'000'000;
    };
    expect_near(since(left), since(wanted), "pending_since");
    EXPECT_EQ(left.fields, wanted.fields);
    ASSERT_EQ(left.scores.size(), wanted.scores.size());
    for (const auto& [name, score] : wanted.scores)
      expect_near(std::stoll(left.scores[name]), std::stoll(score), name);
  }

 private:
  std::optional<GoProgram> go_;
  int count_ = 0;
};

TEST_F(SameAsGo, PlainAndWithOptions) {
  expect_same({}, {});
  expect_same({{"max_retry", 3}, {"timeout_s", 90}, {"retention_s", 3600}},
              {.retries_max = 3, .timeout = 90s, .retention = 1h});
  expect_same({{"headers", {{"a", "\u00e9"}, {"b", ""}}}}, {.headers = {{"a", "\u00e9"}, {"b", ""}}});
}

TEST_F(SameAsGo, Deadlines) {
  const TimePoint deadline{4'102'444'800s};
  expect_same({{"deadline", 4'102'444'800}, {"timeout_s", 1800}}, {.deadline = deadline});
  expect_same({{"deadline", 4'102'444'800}}, {.timeout = {}, .deadline = deadline});
}

TEST_F(SameAsGo, Delayed) { expect_same({{"delay_ms", 3'600'000}}, {.delay = 1h}, {"y"}); }

TEST_F(SameAsGo, Unique) {
  const tidemill::Unique unique{.window = 1min};
  expect_same({{"unique_ms", 60'000}}, {.unique = unique}, {"x"});
}

TEST_F(SameAsGo, Grouped) { expect_same({{"group", "grp"}}, {.group = "grp"}); }

}  // namespace
}  // namespace tidemill::testing
