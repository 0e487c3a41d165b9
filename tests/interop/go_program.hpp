#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "go_tools.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace tidemill::testing {

namespace json = boost::json;

/// The program of tests/interop/asynq, which reads and prints lines of JSON. Killed when the object goes.
///
///     GoProgram client{"client", redis};
///     client.ask({{"type", "email"}, {"payload", "ok"}}).at("id");
///     GoProgram server{"server", redis, {"-queues", "default=1"}};
///     server.event("end", id);
///
/// Waits have an end that no healthy run comes to; then they throw std::runtime_error with what the program
/// has logged.
class GoProgram {
 public:
  /// `flags` as Go has them: {"-concurrency", "3", "-strict"}.
  GoProgram(const std::string& command, const RedisServer& redis,
            const std::vector<std::string>& flags = {}) {
    const std::filesystem::path in = directory_ / "in";
    const std::filesystem::path out = directory_ / "out";
    if (mkfifo(in.c_str(), 0600) != 0 || mkfifo(out.c_str(), 0600) != 0) throw std::runtime_error{"no pipes"};
    in_ = ::open(in.c_str(), O_RDWR | O_CLOEXEC);
    out_ = ::open(out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    std::vector<std::string> arguments = {asynq_peer().program.string(), command, "-redis",
                                          fmt::format("127.0.0.1:{}", redis.port())};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    process_ = Process{std::move(arguments), {.in = in, .out = out, .err = directory_ / "log"}};
  }
  ~GoProgram() {
    finish_input();
    close(out_);
  }
  GoProgram(const GoProgram&) = delete;
  GoProgram& operator=(const GoProgram&) = delete;

  /// Writes a line.
  void send(const json::value& request) {
    const std::string line = json::serialize(request) + "\n";
    for (std::string_view rest = line; !rest.empty();) {
      const ssize_t count = write(in_, rest.data(), rest.size());
      if (count <= 0) fail("it reads nothing");
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  /// The next line that it prints.
  json::object line() {
    if (backlog_.empty()) backlog_.push_back(read_line());
    json::object first = std::move(backlog_.front());
    backlog_.pop_front();
    return first;
  }
  /// Sends a request, and takes the next line for its answer: of a program that prints nothing else.
  json::object ask(const json::value& request) {
    send(request);
    return line();
  }
  /// Of `inspect`: the value of the answer to these words; throws for a refusal.
  json::value inspect(const json::array& words) {
    json::object answer = ask(words);
    if (answer.contains("error")) fail(json::serialize(answer));
    return answer.at("value");
  }
  /// The first line with this event, and if it is given of this task. Other lines stay for later calls.
  json::object event(std::string_view name, std::string_view id = {}) {
    const auto has = [](const json::object& each, std::string_view field, std::string_view wanted) {
      const json::value* const value = each.if_contains(field);
      return value != nullptr && value->is_string() && value->get_string() == wanted;
    };
    const auto fits = [&](const json::object& each) {
      return has(each, "event", name) && (id.empty() || has(each, "id", id));
    };
    auto found = std::find_if(backlog_.begin(), backlog_.end(), fits);
    while (found == backlog_.end()) {
      backlog_.push_back(read_line());
      found = std::prev(backlog_.end());
      if (!fits(*found)) found = backlog_.end();
    }
    json::object one = std::move(*found);
    backlog_.erase(found);
    return one;
  }

  /// Its standard input ends: client, inspect and scheduler end with it.
  void finish_input() {
    if (in_ >= 0) close(std::exchange(in_, -1));
  }
  /// Asks it to end, and gives its exit code; 128 and the number when a signal ended it.
  int stop(int signal = SIGTERM) { return process_.end(signal); }
  pid_t pid() const { return process_.pid(); }
  /// What it has written to its standard error output.
  std::string log() const { return read_file(directory_ / "log"); }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error{fmt::format("Go's program: {}\n{}", what, log())};
  }

  json::object read_line() {
    constexpr int patience_ms = 30'000;
    while (input_.find('\n') == std::string::npos) {
      pollfd ready{.fd = out_, .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, patience_ms) <= 0) fail("it says nothing");
      char buffer[16384];
      const ssize_t count = read(out_, buffer, sizeof buffer);
      if (count == 0) fail("it has ended");
      if (count > 0) input_.append(buffer, static_cast<std::size_t>(count));
    }
    const std::size_t end = input_.find('\n');
    json::object line = json::parse(input_.substr(0, end)).as_object();
    input_.erase(0, end + 1);
    return line;
  }

  TemporaryDirectory directory_;
  int in_ = -1;
  int out_ = -1;
  std::string input_;
  std::deque<json::object> backlog_;
  Process process_;
};

}  // namespace tidemill::testing
