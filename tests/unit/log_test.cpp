// The log port: levels, sinks, and the one line a message that goes to stderr.
#include <gtest/gtest.h>

#include <regex>
#include <vector>

#include <tidemill/log.hpp>

namespace tidemill {
namespace {

struct Collected {
  std::vector<std::string> lines;
  Log log(Level least) {
    return Log{[this](Level level, std::string_view message, std::span<const Field> fields) {
                 std::string line{to_string(level)};
                 line.append(" ").append(message);
                 for (const Field& field : fields)
                   line.append(" ").append(field.name).append("=").append(field.value);
                 lines.push_back(std::move(line));
               },
               least};
  }
};

TEST(Log, AWriterHearsHisLevelAndAbove) {
  Collected collected;
  const Log log = collected.log(Level::warning);
  log.debug("d");
  log.info("i");
  log.warning("w", {{"queue", "mail"}, {"n", "3"}});
  log.error("e");
  log.write(Level::silent, "s");
  EXPECT_EQ(collected.lines, (std::vector<std::string>{"warning w queue=mail n=3", "error e"}));
  EXPECT_TRUE(log.enabled(Level::error));
  EXPECT_FALSE(log.enabled(Level::info));
}

TEST(Log, SilentSaysNothing) {
  for (const Level level : {Level::debug, Level::info, Level::warning, Level::error, Level::silent}) {
    EXPECT_FALSE(Log::silent().enabled(level));
    EXPECT_FALSE(Log{LogSink{}}.enabled(level));
  }
  Collected collected;
  EXPECT_FALSE(collected.log(Level::silent).enabled(Level::error));
}

TEST(Log, CopiesShareTheSink) {
  Collected collected;
  const Log log = collected.log(Level::info);
  Log copy = log;
  copy.info("a");
  log.info("b");
  EXPECT_EQ(collected.lines.size(), 2U);
}

TEST(Log, StderrGetsOneLineAMessage) {
  ::testing::internal::CaptureStderr();
  const Log log = Log::to_stderr(Level::info);
  log.debug("not this");
  log.warning("it happened", {{"queue", "mail"}, {"why", "two\nlines \"quoted\" \\ \r"}, {"empty", ""}});
  const std::string text = ::testing::internal::GetCapturedStderr();
  const std::regex line{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning it happened queue=mail )"
                        R"(why="two\\nlines \\"quoted\\" \\\\ \\r" empty=""\n)"};
  EXPECT_TRUE(std::regex_match(text, line)) << text;
}

TEST(Log, LevelsHaveNames) {
  for (const Level level : {Level::debug, Level::info, Level::warning, Level::error, Level::silent}) {
    EXPECT_EQ(parse_level(to_string(level)), level);
  }
  EXPECT_FALSE(parse_level("warn"));
}

}  // namespace
}  // namespace tidemill
