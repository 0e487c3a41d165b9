// `tidemill top`: what it shows is text made of a snapshot; one test runs it in a terminal.
#include <gmock/gmock.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <algorithm>
#include <array>

#include "cli/cli_fixture.hpp"
#include "cli/table.hpp"
#include "cli/top_view.hpp"

namespace tidemill::testing {

namespace {

using namespace std::chrono_literals;
using cli::TopLine;
using cli::TopSnapshot;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TopSnapshot large() {
  TopSnapshot snapshot{.store = "sqlite:jobs.db", .now = TimePoint{1h}};
  for (int i = 0; i < 30; ++i) {
    snapshot.queues.push_back(
        {.name = fmt::format("queue-{}", i), .counts = {{State::pending, 7}}, .oldest = 90s});
    snapshot.workers.push_back(
        {.id = fmt::format("worker-{}", i), .state = "running", .slots = 4, .busy = 1});
    snapshot.kind_rates.push_back({.name = fmt::format("kind-{}", i), .success = 12, .mean = 1500ms});
  }
  return snapshot;
}

std::string joined(const std::vector<TopLine>& lines) {
  std::string all;
  for (const TopLine& line : lines) all += line.text + "\n";
  return all;
}

TEST(TopViewTest, AllIsShownWhereThereIsRoom) {
  TopSnapshot snapshot{.store = "sqlite:jobs.db", .now = TimePoint{1h}};
  snapshot.queues = {
      {.name = "mail", .counts = {{State::pending, 5}, {State::held, 2}}, .oldest = 90s, .paused = true}};
  snapshot.workers = {{.id = "w1",
                       .host = "h",
                       .state = "running",
                       .queues = {{"mail", 3}},
                       .pid = 7,
                       .slots = 8,
                       .busy = 2}};
  snapshot.queue_rates = {{.name = "mail", .success = 120, .failure = 3}};
  snapshot.kind_rates = {{.name = "mail:send", .success = 120, .failure = 3, .mean = 1500ms}};
  EXPECT_EQ(joined(cli::render(snapshot, 0, 0, 0)),
            "tidemill top · sqlite:jobs.db · 1970-01-01T01:00:00Z · workers 1 · slots 2/8\n"
            "\n"
            "QUEUE  pending  active  scheduled  retry  held  archived  done/min  failed/min  oldest\n"
            "mail         5       0          0      0     2         0       120           3   1m30s  paused\n"
            "\n"
            "WORKER  HOST  PID  STATE    SLOTS  QUEUES\n"
            "w1      h       7  running    2/8  mail=3\n"
            "\n"
            "KIND       done/min  failed/min  mean run\n"
            "mail:send       120           3   1.500 s\n");
}

TEST(TopViewTest, EachSizeOfTerminalIsFilledAndNotMore) {
  const TopSnapshot snapshot = large();
  for (const std::size_t height : {1, 2, 9, 10, 24, 50, 200}) {
    for (const std::size_t width : {1, 20, 80, 300}) {
      const auto lines = cli::render(snapshot, 29, width, height);
      EXPECT_EQ(lines.size(), height);
      for (const TopLine& line : lines) EXPECT_LE(cli::width(line.text), width);
    }
  }
}

TEST(TopViewTest, TheChosenQueueIsInSight) {
  for (const std::size_t chosen : {0, 12, 29}) {
    const auto lines = cli::render(large(), chosen, 100, 24);
    const auto found = std::ranges::find(lines, TopLine::Style::chosen, &TopLine::style);
    ASSERT_NE(found, lines.end()) << chosen;
    EXPECT_THAT(found->text, StartsWith(fmt::format("queue-{} ", chosen)));
  }
  EXPECT_THAT(joined(cli::render(large(), 0, 100, 24)), HasSubstr("QUEUE (5 of 30)"));
}

TEST(TopViewTest, TroubleStandsInPlaceOfTheKeys) {
  TopSnapshot snapshot;
  EXPECT_THAT(joined(cli::render(snapshot, 0, 100, 24)), HasSubstr("q quit"));
  snapshot.trouble = "the store is away\x1b[2J";
  const auto lines = cli::render(snapshot, 0, 100, 24);
  EXPECT_EQ(lines.back().text, "the store is away [2J");
  EXPECT_EQ(lines.back().style, TopLine::Style::trouble);
}

TEST(TopViewTest, RatesCountTheLastMinuteInPart) {
  const TimePoint now{10min + 15s};
  const std::vector<Stat> stats = {
      {.queue = "q", .kind = "a", .at = TimePoint{8min}, .success = 1000},
      {.queue = "q", .kind = "a", .at = TimePoint{9min}, .success = 100, .failure = 4, .busy = 10s},
      {.queue = "q", .kind = "a", .at = TimePoint{10min}, .success = 20, .crash = 2, .busy = 2'400ms},
      {.queue = "q", .kind = "b", .at = TimePoint{10min}, .success = 500},
  };
  const auto kinds = cli::rates(stats, now, &Stat::kind);
  ASSERT_EQ(kinds.size(), 2U);
  EXPECT_EQ(kinds[0].name, "b");
  EXPECT_DOUBLE_EQ(kinds[1].success, 95);
  EXPECT_DOUBLE_EQ(kinds[1].failure, 5);
  EXPECT_EQ(kinds[1].mean, 100ms);
  const auto queues = cli::rates(stats, now, &Stat::queue);
  ASSERT_EQ(queues.size(), 1U);
  EXPECT_DOUBLE_EQ(queues[0].success, 595);
}

class TopTest : public CliTest {};

TEST_F(TopTest, WithoutATerminalItPrintsOneFrame) {
  enqueue("greet", "--queue", "mail");
  for (const auto& arguments : {std::vector<std::string>{"top"}, {"top", "--once"}}) {
    const Ran ran = run_with("", arguments);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, StartsWith("tidemill top · sqlite:"));
    EXPECT_THAT(ran.out, HasSubstr("mail         1       0"));
    EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
    EXPECT_THAT(ran.out, Not(HasSubstr("q quit")));
  }
  bad(2, "100ms is the least", "top", "--interval", "1ms");
  bad(1, "nowhere", "top", "--store", "sqlite:/nowhere/jobs.db");
}

/// The program on a terminal of its own, and all that it has written there.
class OnTerminal {
 public:
  explicit OnTerminal(const std::vector<std::string>& arguments) {
    winsize size{.ws_row = 24, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    std::vector<char*> argv;
    for (const std::string& each : arguments) argv.push_back(const_cast<char*>(each.c_str()));
    argv.push_back(nullptr);
    child_ = forkpty(&master_, nullptr, nullptr, &size);
    if (child_ == 0) {
      execv(argv[0], argv.data());
      _exit(127);
    }
    tcgetattr(master_, &before_);
  }
  ~OnTerminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      wait();
    }
    close(master_);
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  void type(std::string_view keys) const {
    ASSERT_EQ(write(master_, keys.data(), keys.size()), ssize_t(keys.size()));
  }
  void resize(unsigned short rows, unsigned short columns) const {
    const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(master_, TIOCSWINSZ, &size);
  }
  void signal(int number) const { kill(child_, number); }
  /// Waits for that text, and forgets all up to its end.
  bool shows(const std::string& text) {
    return eventually([&] {
      pull();
      const std::size_t at = seen_.find(text);
      if (at == std::string::npos) return false;
      seen_.erase(0, at + text.size());
      return true;
    });
  }
  int wait() {
    int status = 0;
    const bool over = eventually([&] {
      pull();
      return waitpid(child_, &status, WNOHANG) == child_;
    });
    if (!over) return -1;
    child_ = -1;
    pull();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// As it was before the program.
  bool restored() const {
    termios now{};
    tcgetattr(master_, &now);
    return now.c_lflag == before_.c_lflag && std::ranges::equal(now.c_cc, before_.c_cc);
  }
  const std::string& seen() const { return seen_; }

 private:
  void pull() {
    std::array<char, 4096> bytes{};
    pollfd source{master_, POLLIN, 0};
    while (poll(&source, 1, 0) > 0) {
      const ssize_t count = read(master_, bytes.data(), bytes.size());
      if (count <= 0) return;
      seen_.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }

  int master_ = -1;
  pid_t child_ = -1;
  termios before_{};
  std::string seen_;
};

TEST_F(TopTest, InATerminalKeysChooseAndPauseAQueueAndQuit) {
  enqueue("greet", "--queue", "first");
  enqueue("greet", "--queue", "second");
  OnTerminal top{{command(), "top", "--interval", "100ms"}};
  ASSERT_TRUE(top.shows("\x1b[?1049h")) << top.seen();
  EXPECT_TRUE(top.shows("\x1b[7mfirst"));
  EXPECT_FALSE(top.restored());
  top.type("\x1b[B");
  EXPECT_TRUE(top.shows("\x1b[7msecond"));
  top.type("p");
  EXPECT_TRUE(top.shows("paused"));
  EXPECT_TRUE(good("queues", "--json").objects().at(1).at("paused").as_bool());
  top.type("p");
  EXPECT_TRUE(eventually([&] { return !good("queues", "--json").objects().at(1).at("paused").as_bool(); }));
  top.resize(24, 20);
  EXPECT_TRUE(top.shows("tidemill top · sqli…")) << top.seen();
  enqueue("greet", "--queue", "third");
  EXPECT_TRUE(top.shows("third"));
  top.type("q");
  EXPECT_TRUE(top.shows("\x1b[?1049l"));
  EXPECT_EQ(top.wait(), 0);
  EXPECT_TRUE(top.restored());
}

TEST_F(TopTest, SignalsAndTroubleLeaveTheTerminalAsItWas) {
  enqueue("greet");
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    OnTerminal top{{command(), "top"}};
    ASSERT_TRUE(top.shows("q quit"));
    top.signal(number);
    EXPECT_TRUE(top.shows("\x1b[?1049l"));
    EXPECT_EQ(top.wait(), 0);
    EXPECT_TRUE(top.restored());
  }
  OnTerminal top{{command(), "top", "--store", "sqlite:/nowhere/jobs.db"}};
  EXPECT_TRUE(top.shows("\x1b[?1049l"));
  EXPECT_TRUE(top.shows("can't be opened"));
  EXPECT_EQ(top.wait(), 1);
  EXPECT_TRUE(top.restored());
}

}  // namespace

}  // namespace tidemill::testing
