// Log files: when they are put aside, what becomes of those, and that no line is lost or torn meanwhile,
// whatever others do to the files.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zlib.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/log_sinks.hpp>
#include <tidemill/testing.hpp>

#include "core/log_archive.hpp"
#include "process.hpp"

namespace tidemill::testing {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

std::string gunzip(const fs::path& file) {
  std::string out;
  const gzFile in = gzopen(file.c_str(), "rb");
  std::array<char, 4096> buffer{};
  int count = 0;
  while ((count = gzread(in, buffer.data(), buffer.size())) > 0) {
    out.append(buffer.data(), static_cast<std::size_t>(count));
  }
  EXPECT_EQ(gzclose(in), Z_OK) << file;
  return out;
}

/// Their messages: what stands in the second column on.
std::vector<std::string> messages(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) {
    const std::size_t prefix = std::string_view{"2027-01-15T08:00:00.001Z info    "}.size();
    out.push_back(line.size() > prefix ? line.substr(prefix) : "torn: " + line);
  }
  return out;
}

class LogFileTest : public ::testing::Test {
 protected:
  LogFileOptions options() { return {.path = path(), .bytes_max = 0, .keep = 3, .clock = &clock}; }
  std::string path(const std::string& suffix = "") const { return (directory / "a.log").string() + suffix; }
  bool there(const std::string& suffix) const { return fs::exists(path(suffix)); }
  std::vector<std::string> lines(const std::string& suffix = "") const {
    return messages(suffix.ends_with(".gz") ? gunzip(path(suffix)) : read_file(path(suffix)));
  }
  /// Of all files, whatever their names.
  std::vector<std::string> all_lines() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator{directory.path()}) {
      const std::string text =
          entry.path().extension() == ".gz" ? gunzip(entry.path()) : read_file(entry.path());
      for (std::string& line : messages(text)) out.push_back(std::move(line));
    }
    return out;
  }

  TemporaryDirectory directory;
  FakeClock clock;
};

TEST_F(LogFileTest, AppendsToWhatIsThere) {
  {
    Log{LogFile{options()}.sink()}.info("one");
  }
  const Log log{LogFile{options()}.sink()};  // The sink keeps the file.
  log.info("two", {{"queue", "mail"}});
  EXPECT_THAT(lines(), ElementsAre("one", "two queue=mail"));
}

TEST_F(LogFileTest, WritesJson) {
  LogFileOptions json = options();
  json.format = LogFormat::json;
  Log{LogFile{json}.sink()}.info("one");
  EXPECT_THAT(read_file(path()), HasSubstr(R"("level":"info","message":"one"})"));
}

TEST_F(LogFileTest, IsPutAsideBeforeItGrowsTooLarge) {
  LogFileOptions small = options();
  small.bytes_max = 90;  // Two lines of 36 to 38 bytes, and no third.
  const Log log{LogFile{small}.sink()};
  for (const char* text : {"one", "two", "three", "four", "five"}) log.info(text);
  EXPECT_THAT(lines(), ElementsAre("five"));
  EXPECT_THAT(lines(".1"), ElementsAre("three", "four"));
  EXPECT_THAT(lines(".2"), ElementsAre("one", "two"));
  log.info(std::string(200, 'x'));  // Too large for any file: it gets one alone.
  log.info("six");
  EXPECT_THAT(lines(), ElementsAre("six"));
  EXPECT_THAT(lines(".1"), ElementsAre(std::string(200, 'x')));
}

TEST_F(LogFileTest, KeepsAsManyAsItIsTold) {
  LogFileOptions small = options();
  small.bytes_max = 1;
  {
    const Log log{LogFile{small}.sink()};
    for (const char* text : {"one", "two", "three", "four", "five", "six"}) log.info(text);
  }
  EXPECT_THAT(lines(".1"), ElementsAre("five"));
  EXPECT_THAT(lines(".3"), ElementsAre("three"));
  EXPECT_FALSE(there(".4"));
  small.keep = 1;  // Fewer than before.
  Log{LogFile{small}.sink()}.info("seven");
  EXPECT_THAT(lines(".1"), ElementsAre("six"));
  EXPECT_FALSE(there(".2"));
  EXPECT_FALSE(there(".3"));
  small.keep = 0;
  Log{LogFile{small}.sink()}.info("eight");
  EXPECT_THAT(lines(), ElementsAre("eight"));
  EXPECT_FALSE(there(".1"));
}

TEST_F(LogFileTest, IsPutAsideByAgeFromItsFirstLineOn) {
  LogFileOptions daily = options();
  daily.age_max = hours{24};
  const Log log{LogFile{daily}.sink()};
  clock.advance(hours{30});  // An empty file has no age.
  log.info("one");
  clock.advance(hours{23});
  log.info("two");
  EXPECT_FALSE(there(".1"));
  clock.advance(hours{1});
  log.info("three");
  EXPECT_THAT(lines(), ElementsAre("three"));
  EXPECT_THAT(lines(".1"), ElementsAre("one", "two"));
}

TEST_F(LogFileTest, ARestartDoesNotMakeAFileYounger) {
  for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
    LogFileOptions daily = options();
    daily.age_max = hours{24};
    daily.format = format;
    daily.path = path(format == LogFormat::text ? "text" : "json");
    Log{LogFile{daily}.sink()}.info("one");
    for (int hour = 0; hour < 25; hour += 5) {
      EXPECT_FALSE(fs::exists(daily.path + ".1"));
      clock.advance(hours{5});
      Log{LogFile{daily}.sink()}.info("more");
    }
    EXPECT_TRUE(fs::exists(daily.path + ".1"));
  }
}

TEST_F(LogFileTest, TheAgeOfSomebodyElsesFileCountsFromItsLastChange) {
  write_file(path(), "not ours\n");
  LogFileOptions daily = options();
  daily.age_max = hours{24};
  daily.clock = nullptr;
  Log{LogFile{daily}.sink()}.info("one");
  EXPECT_FALSE(there(".1"));
  fs::last_write_time(path(), fs::last_write_time(path()) - hours{25});
  Log{LogFile{daily}.sink()}.info("two");
  EXPECT_TRUE(there(".1"));
}

TEST_F(LogFileTest, CompressesWhatWasPutAside) {
  LogFileOptions packed = options();
  packed.bytes_max = 1;
  packed.gzip = true;
  const Log log{LogFile{packed}.sink()};
  const std::string large(1U << 20U, 'x');
  for (const std::string& text : {std::string{"one"}, std::string{"two"}, large, std::string{"four"}})
    log.info(text);
  ASSERT_TRUE(eventually([&] {
    return there(".1.gz") && there(".2.gz") && there(".3.gz") && !there(".1") && !there(".2") && !there(".3");
  }));
  EXPECT_THAT(lines(), ElementsAre("four"));
  EXPECT_THAT(lines(".1.gz"), ElementsAre(large));
  EXPECT_THAT(lines(".2.gz"), ElementsAre("two"));
  EXPECT_THAT(lines(".3.gz"), ElementsAre("one"));
  EXPECT_LT(fs::file_size(path(".1.gz")), large.size() / 10);
  log.info("five");
  ASSERT_TRUE(eventually([&] { return there(".1.gz") && !there(".1"); }));
  EXPECT_THAT(lines(".1.gz"), ElementsAre("four"));
  EXPECT_THAT(lines(".3.gz"), ElementsAre("two"));
  EXPECT_FALSE(there(".4.gz"));
  EXPECT_TRUE(eventually([&] { return !there(".gz.tmp"); }));
}

TEST_F(LogFileTest, CompressesWhatAProcessBeforeHasLeft) {
  write_file(path(".2"), "left\n");
  write_file(path(".gz.tmp"), "half of somet");
  LogFileOptions packed = options();
  packed.gzip = true;
  const LogFile file{packed};
  ASSERT_TRUE(eventually([&] { return there(".2.gz") && !there(".2") && !there(".gz.tmp"); }));
  EXPECT_EQ(gunzip(path(".2.gz")), "left\n");
}

TEST_F(LogFileTest, IsMadeAnewWhenItWasMovedOrDeleted) {
  const Log log{LogFile{options()}.sink()};
  log.info("one");
  fs::rename(path(), path(".moved"));
  log.info("two");
  EXPECT_THAT(lines(".moved"), ElementsAre("one"));
  EXPECT_THAT(lines(), ElementsAre("two"));
  fs::remove(path());
  log.info("three");
  EXPECT_THAT(lines(), ElementsAre("three"));
  fs::rename(path(), path(".moved"));
  write_file(path(), "");  // Somebody has made it anew already.
  log.info("four");
  EXPECT_THAT(lines(), ElementsAre("four"));
}

TEST_F(LogFileTest, ReopenMakesTheFileWithoutALine) {
  LogFile file{options()};
  Log{file.sink()}.info("one");
  fs::rename(path(), path(".moved"));
  file.reopen();
  EXPECT_TRUE(there(""));
  Log{file.sink()}.info("two");
  EXPECT_THAT(lines(), ElementsAre("two"));
}

TEST_F(LogFileTest, SaysAtOnceThatAFileCannotBeOpened) {
  LogFileOptions bad = options();
  bad.path = (directory / "missing" / "a.log").string();
  try {
    const LogFile file{bad};
    FAIL() << "it opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    EXPECT_THAT(error.what(), HasSubstr(bad.path));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
  EXPECT_THROW(LogFile{LogFileOptions{}}, Error);
}

TEST_F(LogFileTest, WhatCannotBeWrittenGoesToStderrAndIsCounted) {
  // By a folder that is gone, since permissions don't hold root.
  fs::create_directory(directory / "sub");
  LogFileOptions in_sub = options();
  in_sub.path = (directory / "sub" / "a.log").string();
  LogFile file{in_sub};
  const Log log{file.sink()};
  fs::remove_all(directory / "sub");
  ::testing::internal::CaptureStderr();
  log.info("one");
  file.reopen();
  log.info("two");
  const std::vector<std::string> told = messages(::testing::internal::GetCapturedStderr());
  ASSERT_EQ(told.size(), 3U);
  EXPECT_THAT(told[0], HasSubstr("takes no lines"));
  EXPECT_THAT(told[0], HasSubstr("No such file"));
  EXPECT_EQ(told[1], "one");
  EXPECT_EQ(told[2], "two");
  fs::create_directory(directory / "sub");
  log.info("three");
  log.info("four");
  const std::vector<std::string> written = messages(read_file(in_sub.path));
  ASSERT_EQ(written.size(), 3U);
  EXPECT_THAT(written[0], HasSubstr("lines are missing here"));
  EXPECT_THAT(written[0], HasSubstr("lines=2"));
  EXPECT_EQ(written[1], "three");
  EXPECT_EQ(written[2], "four");
}

TEST_F(LogFileTest, AFullDiskLosesNoLine) {
  fs::create_symlink("/dev/full", path());
  LogFileOptions aging = options();
  aging.age_max = minutes{1};  // A device is never put aside.
  const Log log{LogFile{aging}.sink()};
  ::testing::internal::CaptureStderr();
  log.info("one");
  clock.advance(hours{1});
  log.info("two");
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(told, HasSubstr("No space left on device"));
  EXPECT_EQ(messages(told).size(), 3U);
  fs::remove(path());
  log.info("three");
  EXPECT_THAT(lines(), ElementsAre(HasSubstr("lines=2"), "three"));
  EXPECT_FALSE(there(".1"));
}

TEST_F(LogFileTest, ALineThatWasCutOffIsEndedBeforeTheNext) {
  // A file size limit cuts a write short, as a disk does that gets full. In a process of its own, for the
  // limit would hold this one's other files too.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    close(STDERR_FILENO);
    const Log log{LogFile{options()}.sink()};
    const rlimit before{.rlim_cur = 50, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &before);
    log.info(std::string(100, 'x'));
    const rlimit after{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &after);
    log.info("next");
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  EXPECT_THAT(lines(), ElementsAre(std::string(17, 'x'), HasSubstr("lines=1"), "next"));
}

TEST_F(LogFileTest, WhatCannotBePutAsideGrowsOn) {
  LogFileOptions small = options();
  small.bytes_max = 1;
  const Log log{LogFile{small}.sink()};
  log.info("one");
  fs::create_directory(path(".1"));
  fs::create_directory(path(".1") + "/full");
  fs::create_directory(path(".2"));
  fs::create_directory(path(".3"));
  ::testing::internal::CaptureStderr();
  log.info("two");
  log.info("three");
  clock.advance(minutes{1});
  log.info("four");
  EXPECT_EQ(messages(::testing::internal::GetCapturedStderr()).size(), 1U);
  EXPECT_THAT(lines(), ElementsAre("one", "two", "three", "four"));
  fs::remove_all(path(".3"));
  clock.advance(minutes{1});
  log.info("five");
  EXPECT_THAT(lines(), ElementsAre("five"));
  EXPECT_THAT(lines(".1"), ElementsAre("one", "two", "three", "four"));
}

TEST_F(LogFileTest, IsNotPutAsideWhileAnotherProcessWritesToIt) {
  LogFileOptions small = options();
  small.bytes_max = 1;
  const Log log{LogFile{small}.sink()};
  log.info("one");
  const FileHandle other{path(), O_RDONLY};
  FileLock lock = FileLock::shared(other);
  log.info("two");
  EXPECT_THAT(lines(), ElementsAre("one", "two"));
  lock.release();
  clock.advance(minutes{1});
  log.info("three");
  EXPECT_THAT(lines(), ElementsAre("three"));
  EXPECT_THAT(lines(".1"), ElementsAre("one", "two"));
}

TEST_F(LogFileTest, NobodyWritesToAFileThatAnotherProcessHasPutAside) {
  const Log log{LogFile{options()}.sink()};
  log.info("first");
  for (int round = 0; round < 50; ++round) {
    const FileHandle other{path(), O_RDONLY};
    FileLock lock = FileLock::try_exclusive(other);
    ASSERT_TRUE(lock.held());
    std::atomic<bool> started{false};
    std::jthread writer{[&] {
      started = true;
      started.notify_one();
      log.info("late");
    }};
    started.wait(false);
    fs::rename(path(), path(".1"));
    const auto before = fs::file_size(path(".1"));
    lock.release();
    writer.join();
    ASSERT_EQ(fs::file_size(path(".1")), before);
    ASSERT_THAT(lines(), ElementsAre("late"));
  }
}

/// Lines "N I" of writers N, each in order, each once.
void expect_complete(const std::vector<std::string>& lines, std::size_t writers, std::size_t count) {
  std::set<std::string> seen;
  for (const std::string& line : lines) EXPECT_TRUE(seen.insert(line).second) << "twice: " << line;
  EXPECT_EQ(lines.size(), writers * count);
  for (std::size_t writer = 0; writer < writers; ++writer) {
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(seen.contains(fmt::format("{} {}", writer, i))) << writer << ' ' << i;
    }
  }
}

void write_lines(const Log& log, std::size_t writer, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) log.info(fmt::format("{} {}", writer, i));
}

TEST_F(LogFileTest, ManyThreadsLoseAndMixNoLine) {
  LogFileOptions busy = options();
  busy.bytes_max = 2000;
  busy.gzip = true;
  busy.keep = 1000;
  ::testing::internal::CaptureStderr();
  {
    LogFile file{busy};
    std::vector<std::jthread> threads;
    for (std::size_t writer = 0; writer < 4; ++writer) {
      threads.emplace_back([&file, writer] { write_lines(Log{file.sink()}, writer, 2000); });
    }
    threads.emplace_back([&file] {
      for (int i = 0; i < 200; ++i) file.reopen();
    });
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_TRUE(there(".50") || there(".50.gz"));
  expect_complete(all_lines(), 4, 2000);
}

TEST_F(LogFileTest, ManyProcessesLoseAndMixNoLine) {
  LogFileOptions busy = options();
  busy.bytes_max = 2000;
  busy.keep = 1000;
  busy.gzip = true;
  busy.clock = nullptr;
  std::vector<pid_t> children;
  for (std::size_t writer = 0; writer < 3; ++writer) {
    children.push_back(fork());
    if (children.back() == 0) {
      {
        write_lines(Log{LogFile{busy}.sink()}, writer, 1000);
      }
      _exit(0);
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(there(".1") || there(".1.gz"));
  expect_complete(all_lines(), 3, 1000);
}

}  // namespace
}  // namespace tidemill::testing
