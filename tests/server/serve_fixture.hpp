#pragma once

#include <gmock/gmock.h>

#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/cli_fixture.hpp"
#include "http_peer.hpp"

namespace tidemill::testing {

struct Reply {
  int status = 0;
  std::string head = {};
  std::string body = {};

  boost::json::value json() const { return boost::json::parse(body); }
  /// What stands at a JSON pointer. Throws when nothing does.
  boost::json::value at(const std::string& pointer) const { return json().at_pointer(pointer); }
  std::string text(const std::string& pointer) const { return std::string{at(pointer).as_string()}; }
  std::int64_t number(const std::string& pointer) const { return at(pointer).to_number<std::int64_t>(); }
  std::size_t count(const std::string& pointer) const { return at(pointer).as_array().size(); }
  bool has(const std::string& pointer) const {
    boost::json::error_code failure;
    const auto parsed = json();
    return parsed.find_pointer(pointer, failure) != nullptr;
  }
  std::string code() const { return text("/code"); }
  /// Empty when there is none.
  std::string header(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

/// The requests that succeeded in this program's run, as "POST /api/v1/tasks": for the test of the document.
inline std::set<std::string>& driven() {
  static std::set<std::string> all;
  return all;
}

inline Reply read_reply(Peer& peer) {
  const std::string all = peer.response();
  const std::size_t end = all.find("\r\n\r\n");
  if (end == std::string::npos) return {0, all, ""};
  return {std::stoi(all.substr(9, 3)), all.substr(0, end + 2), all.substr(end + 4)};
}

/// Drives `tidemill serve` over HTTP, each test with a server and a store of its own.
class ServerTest : public CliTest {
 protected:
  /// Starts the server, with a configuration if there is one, and waits until it listens.
  void serve(const std::string& yaml = "", std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"serve", "--listen", "127.0.0.1:0"};
    if (!yaml.empty()) {
      configure(yaml);
      arguments.insert(arguments.end(), {"--config", config_file()});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    name_ = fmt::format("server-{}", ++servers_);
    server_ = start(std::move(arguments), name_);
    ASSERT_TRUE(eventually([&] { return said().find('\n') != std::string::npos || server_.ended(); }));
    ASSERT_NE(said(), "") << log();
    port_ = static_cast<std::uint16_t>(std::stoi(said().substr(said().rfind(':') + 1)));
  }
  std::string config_file() const { return (directory_ / "tidemill.yaml").string(); }
  void configure(const std::string& yaml) const { write_file(config_file(), yaml); }
  std::string said() const { return read_file(directory_ / (name_ + ".out")); }
  std::string log() const { return read_file(directory_ / (name_ + ".err")); }
  bool eventually_logs(const std::string& text) const {
    return eventually([&] { return log().find(text) != std::string::npos; });
  }

  std::string request(const std::string& method, const std::string& target, const std::string& body = "",
                      const std::string& headers = "Content-Type: application/json\r\n") const {
    const std::string token = token_.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", token_);
    return fmt::format("{} {} HTTP/1.1\r\nHost: localhost:1\r\n{}{}Content-Length: {}\r\n\r\n{}", method,
                       target, token, headers, body.size(), body);
  }
  Reply send(const std::string& method, const std::string& target, const std::string& body = "",
             const std::string& headers = "Content-Type: application/json\r\n") const {
    Peer peer{port_};
    peer.send(request(method, target, body, headers));
    Reply reply = read_reply(peer);
    if (reply.status / 100 == 2)
      driven().insert(fmt::format("{} {}", method, target.substr(0, target.find('?'))));
    return reply;
  }
  Reply get(const std::string& target) const { return send("GET", "/api/v1" + target); }
  Reply post(const std::string& target, const std::string& body = "") const {
    return send("POST", "/api/v1" + target, body);
  }
  Reply put(const std::string& target, const std::string& body) const {
    return send("PUT", "/api/v1" + target, body);
  }
  Reply erase(const std::string& target) const { return send("DELETE", "/api/v1" + target); }
  /// With the token of this secret, if there is one.
  template <class Work>
  auto as(const std::string& secret, Work work) {
    const std::string before = std::exchange(token_, secret);
    auto answer = work();
    token_ = before;
    return answer;
  }

  std::string state(const std::string& id) const {
    const Reply task = get("/tasks/" + id);
    return task.status == 200 ? task.text("/state") : task.code();
  }
  bool eventually_is(const std::string& id, const std::string& wanted) const {
    return eventually([&] { return state(id) == wanted; });
  }
  static void expect_problem(int status, const std::string& code, const Reply& answer) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(answer.header("Content-Type"), "application/problem+json");
    ASSERT_FALSE(answer.body.empty());
    EXPECT_EQ(answer.code(), code) << answer.body;
    EXPECT_EQ(answer.number("/status"), status);
    EXPECT_EQ(answer.text("/type"), "/api/v1/problems/" + code);
    EXPECT_NE(answer.text("/title"), "");
  }
  /// A 400 that points to the mistake and says what would be right.
  static void expect_mistake(const std::string& pointer, const std::string& what, const Reply& answer) {
    expect_problem(400, "invalid", answer);
    ASSERT_TRUE(answer.has("/errors/0")) << answer.body;
    EXPECT_EQ(answer.text("/errors/0/pointer"), pointer);
    EXPECT_THAT(answer.text("/errors/0/detail"), ::testing::HasSubstr(what));
  }

  Process server_;
  std::string name_;
  std::uint16_t port_ = 0;
  std::string token_;
  int servers_ = 0;
};

/// With a server that has no configuration.
class ServeTest : public ServerTest {
 protected:
  void SetUp() override { serve(); }
};

}  // namespace tidemill::testing
