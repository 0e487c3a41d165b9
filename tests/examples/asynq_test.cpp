// examples/asynq, as it is, on a Redis of its own.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include <tidemill/inspector.hpp>

#include "places.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace tidemill {

static void PrintTo(State state, std::ostream* out) { *out << to_string(state); }

namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Process;
using testing::read_file;
using testing::RedisServer;

class AsynqExample : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    server_.emplace();
    store_ = open(server_->url());
    inspector_.emplace(*store_);
  }

  Process start(std::initializer_list<std::string> words) {
    std::vector<std::string> arguments = {"/usr/bin/env", "TIDEMILL_STORE=" + server_->url(),
                                          testing::built("example_asynq")};
    arguments.insert(arguments.end(), words);
    return {std::move(arguments), {.out = directory_ / "out", .err = directory_ / "err"}};
  }
  /// What all of them have printed.
  std::string out() const { return read_file(directory_ / "out"); }
  std::string err() const { return read_file(directory_ / "err"); }
  bool prints(const std::string& line) {
    return eventually([&] { return out().find(line + "\n") != std::string::npos; });
  }

  std::vector<Task> tasks(const std::string& kind) {
    return inspector_->tasks({.filter = {.kind = kind}}).tasks;
  }

  testing::TemporaryDirectory directory_;
  std::optional<RedisServer> server_;
  std::unique_ptr<Store> store_;
  std::optional<Inspector> inspector_;
};

TEST_F(AsynqExample, AWelcomeNowAndAReminderInADay) {
  ASSERT_EQ(start({"enqueue", "ada"}).wait(), 0) << err();
  EXPECT_NE(out().find("task:welcome is created as "), std::string::npos) << out();
  ASSERT_EQ(tasks("task:reminder").size(), 1U);
  const Task reminder = tasks("task:reminder").front();
  EXPECT_EQ(reminder.state, State::scheduled);
  EXPECT_GT(*reminder.run_at, inspector_->now() + 23h);
  EXPECT_LE(*reminder.run_at, inspector_->now() + 24h);
  EXPECT_EQ(reminder.payload, R"({"username":"ada"})");

  Process worker = start({"work"});
  EXPECT_TRUE(prints("welcome mail to ada")) << err();
  ASSERT_EQ(inspector_->act(Act::run, reminder.ref), Changed::changed);
  EXPECT_TRUE(prints("reminder mail to ada")) << err();
  EXPECT_TRUE(eventually([&] { return tasks("task:*").empty(); }));
  EXPECT_EQ(worker.end(SIGTERM), 0) << err();
  EXPECT_NE(err().find("begins kind=task:welcome"), std::string::npos) << err();
  EXPECT_NE(err().find("has ended kind=task:welcome"), std::string::npos) << err();
}

TEST_F(AsynqExample, OneHandlerForAll) {
  ASSERT_EQ(start({"enqueue", "grace"}).wait(), 0) << err();
  Process worker = start({"work-one"});
  EXPECT_TRUE(prints("welcome mail to grace")) << err();
  EXPECT_EQ(worker.end(SIGINT), 0) << err();
}

TEST_F(AsynqExample, AnErrorIsToldAndTriedAgain) {
  ASSERT_EQ(start({"enqueue", ""}).wait(), 0) << err();
  Process worker = start({"work"});
  EXPECT_TRUE(eventually([&] {
    const auto found = tasks("task:welcome");
    return found.size() == 1 && found.front().state == State::retry;
  })) << err();
  EXPECT_EQ(worker.end(SIGTERM), 0);
  EXPECT_NE(err().find("failed: there is no user without a name\n"), std::string::npos) << err();
}

TEST_F(AsynqExample, APeriodicMailFromTwoSchedulers) {
  Process worker = start({"work"});
  Process first = start({"schedule", "@every 1s"});
  Process second = start({"schedule", "@every 1s"});
  EXPECT_TRUE(prints("periodic mail to ada")) << err();
  ASSERT_TRUE(inspector_->schedule("periodic-mail"));
  EXPECT_EQ(inspector_->schedule("periodic-mail")->schedule.spec, "@every 1s");
  EXPECT_EQ(first.end(SIGTERM), 0) << err();
  EXPECT_EQ(second.end(SIGTERM), 0) << err();
  EXPECT_EQ(worker.end(SIGTERM), 0) << err();
  EXPECT_TRUE(inspector_->schedule("periodic-mail")) << "it stays";
}

TEST_F(AsynqExample, PeriodicMailsOfAFile) {
  const auto file = directory_ / "periodic.yaml";
  const auto write = [&](const std::string& spec) {
    std::ofstream{file} << "configs:\n  - {cronspec: \"" << spec
                        << "\", task_type: \"task:periodic\", payload: {username: ada}}\n";
  };
  write("@every 1s");
  Process worker = start({"work"});
  Process manager = start({"periodic", file});
  EXPECT_TRUE(prints("periodic mail to ada")) << err();
  write("@yearly");
  EXPECT_TRUE(eventually([&] {
    const auto all = inspector_->schedules();
    return all.size() == 1 && all.front().schedule.spec == "@yearly";
  })) << "it is read again";
  EXPECT_EQ(manager.end(SIGTERM), 0) << err();
  EXPECT_EQ(worker.end(SIGTERM), 0) << err();

  EXPECT_EQ(inspector_->sync_schedules("periodic", {}), 1U);
  EXPECT_EQ(start({"periodic", file.string() + ".absent"}).wait(), 1);
  EXPECT_NE(err().find("asynq: "), std::string::npos) << err();
}

TEST_F(AsynqExample, WrongUseIsSaid) {
  EXPECT_EQ(start({"enqueue"}).wait(), 2);
  EXPECT_EQ(start({"schedule", "never"}).wait(), 1);
  EXPECT_NE(err().find("asynq: "), std::string::npos) << err();
}

}  // namespace

}  // namespace tidemill
