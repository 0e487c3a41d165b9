// How lines look, in both formats, and that nothing in them can end a line, break JSON or steer a terminal.
#include <gtest/gtest.h>

#include <regex>

#include <fmt/format.h>
#include <boost/json.hpp>

#include <tidemill/log_sinks.hpp>

#include "core/log_format.hpp"

namespace tidemill {
namespace {

constexpr TimePoint at{std::chrono::seconds{1'800'000'000} + std::chrono::microseconds{1234}};

std::string line_of(LogFormat format, std::string_view message, std::initializer_list<Field> fields = {},
                    Level level = Level::info) {
  std::string out;
  append_line(out, format, {at, level, message, {fields.begin(), fields.size()}});
  return out;
}
std::string text(std::string_view message, std::initializer_list<Field> fields = {}) {
  return line_of(LogFormat::text, message, fields);
}
/// Throws what Boost throws when it is no JSON.
boost::json::object json(std::string_view message, std::initializer_list<Field> fields = {}) {
  return boost::json::parse(line_of(LogFormat::json, message, fields)).as_object();
}

const std::string time_text = "2027-01-15T08:00:00.001Z";

TEST(LogFormat, TextHasTimeLevelMessageAndFields) {
  EXPECT_EQ(text("it happened", {{"queue", "mail"}, {"n", "3"}}),
            time_text + " info    it happened queue=mail n=3\n");
}

TEST(LogFormat, TextQuotesWhatIsNotOneWord) {
  EXPECT_EQ(text("m", {{"a", "two words"}, {"b", ""}, {"c", "x=\"y\""}, {"d", "back\\slash"}}),
            time_text + R"( info    m a="two words" b="" c="x=\"y\"" d="back\\slash")" + "\n");
}

TEST(LogFormat, TextEscapesControlCharactersInMessagesNamesAndValues) {
  // A new line, a terminal's escape, DEL, and C1's CSI, which some terminals take for ESC [.
  EXPECT_EQ(text("a\nb\x1b[2J\x7f\xc2\x9bz", {{"n\nm", "v\r\n\t\x1b"}}),
            time_text + R"( info    a\nb\x1b[2J\x7f\xc2\x9bz n\nm="v\r\n\t\x1b")" + "\n");
  EXPECT_EQ(text(std::string_view{"a\0b", 3}), time_text + R"( info    a\x00b)" + "\n");
}

TEST(LogFormat, TextKeepsUtf8AndEscapesWhatIsNone) {
  EXPECT_EQ(text("gr\xc3\xbc\xc3\x9f", {}), time_text + " info    gr\xc3\xbc\xc3\x9f\n");
  EXPECT_EQ(text("bad \xff\x9b \xc3", {}), time_text + R"( info    bad \xff\x9b \xc3)" + "\n");
}

TEST(LogFormat, JsonIsOneObjectALine) {
  EXPECT_EQ(line_of(LogFormat::json, "it \"happened\"\n", {{"queue", "mail"}, {"n", "3"}}, Level::warning),
            R"({"time":"2027-01-15T08:00:00.001234Z","level":"warning","message":"it \"happened\"\n",)"
            R"("queue":"mail","n":"3"})"
            "\n");
}

TEST(LogFormat, JsonKeepsItsOwnNamesApartFromFields) {
  const auto object = json("m", {{"time", "a"}, {"level", "b"}, {"message", "c"}, {"other", "d"}});
  EXPECT_EQ(object.at("message"), "m");
  EXPECT_EQ(object.at("level"), "info");
  EXPECT_EQ(object.at("_time"), "a");
  EXPECT_EQ(object.at("_level"), "b");
  EXPECT_EQ(object.at("_message"), "c");
  EXPECT_EQ(object.size(), 7U);
}

TEST(LogFormat, JsonIsValidWhateverBytesThereAre) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const auto object = json(all, {{all, all}, {"cut", "\xe2\x82"}});
  EXPECT_EQ(object.at("cut"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(line_of(LogFormat::json, all).find('\n'), line_of(LogFormat::json, all).size() - 1);
}

TEST(LogFormat, TheTimeOfALineReadsBack) {
  const TimePoint second = std::chrono::floor<std::chrono::seconds>(at);
  EXPECT_EQ(time_of_line(text("m")), second);
  EXPECT_EQ(time_of_line(line_of(LogFormat::json, "m")), second);
  for (const char* other :
       {"", "hello", "2027-13-15T08:00:00.001Z x", "2027-01-15 08:00:00.001Z x", "{\"time\":1}"}) {
    EXPECT_FALSE(time_of_line(other)) << other;
  }
}

TEST(StderrSink, WritesEitherFormat) {
  for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
    ::testing::internal::CaptureStderr();
    const Log log{stderr_sink(format)};
    log.info("hello", {{"queue", "mail"}});
    const std::string line = ::testing::internal::GetCapturedStderr();
    const std::string time = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.)";
    const std::regex wanted{format == LogFormat::text
                                ? time + R"(\d{3}Z info    hello queue=mail\n)"
                                : R"(\{"time":")" + time +
                                      R"(\d{6}Z","level":"info","message":"hello","queue":"mail"\}\n)"};
    EXPECT_TRUE(std::regex_match(line, wanted)) << line;
  }
}

// ---- The place that a line comes from.

struct Fields {
  std::vector<std::pair<std::string, std::string>> all;
  Log log() {
    return Log{[this](Level, std::string_view, std::span<const Field> fields) {
      all.clear();
      for (const Field& field : fields) all.emplace_back(field.name, field.value);
    }};
  }
};
using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(LogSource, IsAFieldWhenAskedFor) {
  Fields fields;
  const Log log = fields.log();
  log.info("m", {{"queue", "mail"}});
  EXPECT_EQ(fields.all, (Pairs{{"queue", "mail"}}));
  const auto here = [](int line) { return fmt::format("log_sinks_test.cpp:{}", line); };
  int line = __LINE__ + 1;
  log.with_source().info("m", {{"queue", "mail"}});
  EXPECT_EQ(fields.all, (Pairs{{"queue", "mail"}, {"source", here(line)}}));
  line = __LINE__ + 1;
  log.with_source().write(Level::error, "m");
  EXPECT_EQ(fields.all, (Pairs{{"source", here(line)}}));
}

TEST(LogSource, ShowsNoFolderAboveSrc) {
  Fields fields;
  const Log log = fields.log().with_source();
#line 7 "/home/ada/src/project/src/engine/worker.cpp"
  log.warning("m");
  EXPECT_EQ(fields.all, (Pairs{{"source", "engine/worker.cpp:7"}}));
#line 9 "main.cpp"
  log.debug("not this");
  log.error("m");
  EXPECT_EQ(fields.all, (Pairs{{"source", "main.cpp:10"}}));
}

TEST(LogSource, ACallersFieldOfThatNameIsKeptApart) {
  Fields fields;
  const Log log = fields.log();
  log.info("m", {{"source", "mine"}});
  EXPECT_EQ(fields.all, (Pairs{{"source", "mine"}}));
  log.with_source().info("m", {{"source", "mine"}});
  ASSERT_EQ(fields.all.size(), 2U);
  EXPECT_EQ(fields.all[0], (std::pair<std::string, std::string>{"_source", "mine"}));
  EXPECT_EQ(fields.all[1].first, "source");
}

}  // namespace
}  // namespace tidemill
