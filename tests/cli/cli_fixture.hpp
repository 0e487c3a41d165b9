#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "places.hpp"
#include "process.hpp"

namespace tidemill::testing {

/// What a run of the command came to.
struct Ran {
  int code = 0;
  std::string out = {};
  std::string err = {};

  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    for (std::size_t at = 0; at < out.size();) {
      const std::size_t end = std::min(out.find('\n', at), out.size());
      all.push_back(out.substr(at, end - at));
      at = end + 1;
    }
    return all;
  }
  /// Of --json: an object a line.
  std::vector<boost::json::object> objects() const {
    std::vector<boost::json::object> all;
    for (const std::string& line : lines()) all.push_back(boost::json::parse(line).as_object());
    return all;
  }
};

inline std::string text(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains({name.data(), name.size()});
  return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

/// Drives the real program, each test on a store of its own.
class CliTest : public ::testing::Test {
 protected:
  CliTest() { setenv("TIDEMILL_STORE", url().c_str(), 1); }
  ~CliTest() override { unsetenv("TIDEMILL_STORE"); }

  std::string url() const { return "sqlite:" + (directory_ / "jobs.db").string(); }

  Process start(std::vector<std::string> arguments, const std::string& name, const std::string& input = "") {
    write_file(directory_ / (name + ".in"), input);
    arguments.insert(arguments.begin(), command());
    return Process{std::move(arguments),
                   {directory_ / (name + ".in"), directory_ / (name + ".out"), directory_ / (name + ".err")}};
  }

  Ran run_with(const std::string& input, std::vector<std::string> arguments) {
    const std::string name = fmt::format("run-{}", ++runs_);
    Process process = start(std::move(arguments), name, input);
    const int code = process.wait();
    return {code, read_file(directory_ / (name + ".out")), read_file(directory_ / (name + ".err"))};
  }
  template <class... Arguments>
  Ran run(Arguments... arguments) {
    return run_with("", {std::string{arguments}...});
  }
  /// Must go well.
  template <class... Arguments>
  Ran good(Arguments... arguments) {
    Ran ran = run(arguments...);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran;
  }
  /// Must fail with this code, and say this.
  template <class... Arguments>
  void bad(int code, const std::string& what, Arguments... arguments) {
    const Ran ran = run(arguments...);
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_NE(ran.err.find(what), std::string::npos) << ran.err;
    EXPECT_EQ(ran.err.rfind("tidemill: ", 0), 0U) << ran.err;
  }

  /// Enqueues, and answers the id.
  template <class... Arguments>
  std::string enqueue(Arguments... arguments) {
    const Ran ran = good("enqueue", arguments...);
    return ran.lines().empty() ? "" : ran.lines().front();
  }
  /// Null when there is no such task.
  boost::json::object show(const std::string& id) {
    const Ran ran = run("tasks", "show", id, "--json");
    return ran.code == 0 ? ran.objects().at(0) : boost::json::object{};
  }
  std::string state_of(const std::string& id) { return text(show(id), "state"); }

  TemporaryDirectory directory_;
  int runs_ = 0;
};

}  // namespace tidemill::testing
