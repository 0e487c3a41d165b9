// The same through the REST API: `tidemill serve`, which takes tasks in over HTTP and delivers them by
// calling a URL, is killed with kill -9 at random and started again on its port. Clients repeat what was not
// acknowledged with the same ids. The receiver writes down each delivery and which run of the server made it;
// after each kill the store says which tasks that run had in its hands.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include <tidemill/tidemill.hpp>

#include "drivers/http/server.hpp"
#include "faults/kill_fixture.hpp"
#include "http_peer.hpp"
#include "places.hpp"
#include "process.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Peer;
using testing::Process;

using Ids = std::vector<std::string>;

/// Answers each delivery with 200. A delivery carries the number of the run that made it.
class Recorder {
 public:
  std::uint16_t port() const { return server_.port(); }
  std::map<std::string, std::vector<int>> runs_by_id() const {
    const std::lock_guard lock{mutex_};
    return runs_by_id_;
  }
  int deliveries() const {
    const std::lock_guard lock{mutex_};
    return deliveries_;
  }

 private:
  void record(const http::Request& request) {
    const std::lock_guard lock{mutex_};
    ++deliveries_;
    runs_by_id_[std::string{request.header("tidemill-id")}].push_back(
        std::stoi(std::string{request.header("x-run")}));
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<int>>
      runs_by_id_;      // In the order of their deliveries. Guarded by mutex_.
  int deliveries_ = 0;  // Guarded by mutex_.
  http::Server server_{{}, [this](http::Request&& request, const http::Answer& answer) {
                         record(request);
                         answer({});
                       }};
};

/// Enqueues `batch` tasks a request, over and over. Takes an answer for an acknowledgement that has come
/// whole, and sends the same again otherwise.
class RestClient {
 public:
  RestClient(std::uint16_t port, std::string prefix, std::size_t batch)
      : port_(port), prefix_(std::move(prefix)), batch_(batch), thread_([this] { run(); }) {}
  /// What was begun is finished first, so that all ids that were ever sent are acknowledged.
  void finish() {
    over_ = true;
    thread_.join();
  }

  std::size_t acknowledged() const { return acknowledged_; }
  std::size_t repeats() const { return repeats_; }  ///< After `finish`, as the next.
  const Ids& ids() const { return ids_; }

 private:
  void run() {
    for (std::size_t next = 0; !over_; next += batch_) {
      Ids ids;
      for (std::size_t i = next; i < next + batch_; ++i) ids.push_back(fmt::format("{}-{}", prefix_, i));
      while (!send(ids)) ++repeats_;
      ids_.insert(ids_.end(), ids.begin(), ids.end());
      acknowledged_ += batch_;
    }
  }

  bool send(const Ids& ids) {
    if (!peer_ || !peer_->connected()) peer_.emplace(port_);
    std::string body;
    for (const std::string& id : ids) {
      body += fmt::format(R"({}{{"kind":"hook","id":"{}","crashes_max":1000,"retention":"1h"}})",
                          body.empty() ? "" : ",", id);
    }
    if (batch_ > 1) body = "[" + body + "]";
    const bool sent = peer_->send(
        fmt::format("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    body.size(), body));
    if (sent && takes(peer_->response(), ids)) return true;
    peer_.reset();
    poll(nullptr, 0, 5);
    return false;
  }

  bool takes(const std::string& response, const Ids& ids) const {
    const std::size_t head = response.find("\r\n\r\n");
    if (head == std::string::npos || !response.starts_with("HTTP/1.1 2")) return false;
    boost::system::error_code cut;
    const auto body = boost::json::parse(response.substr(head + 4), cut);
    if (cut) return false;
    if (batch_ == 1) return body.at("id").as_string() == ids.front();
    return body.at("failed") == 0 && body.at("results").as_array().size() == ids.size();
  }

  const std::uint16_t port_;
  const std::string prefix_;
  const std::size_t batch_;
  std::atomic<bool> over_{false};
  std::atomic<std::size_t> acknowledged_{0};
  std::size_t repeats_ = 0;
  Ids ids_;
  std::optional<Peer> peer_;
  std::thread thread_;
};

/// One below those that connections are given: a client that knocks at such a port while nobody listens may
/// be given that very port, and then speaks with itself.
std::uint16_t free_port(std::size_t first) {
  for (std::size_t i = 0; i < 10'000; ++i) {
    const auto port = static_cast<std::uint16_t>(20'000 + (first + i) % 10'000);
    try {
      const http::Server probe{{.port = port}, [](http::Request&&, const http::Answer&) {}};
      return port;
    } catch (const std::runtime_error&) {
      continue;
    }
  }
  throw std::runtime_error{"no free port"};
}

class RestKillTest : public testing::KillFixture {
 protected:
  RestKillTest() : port_(free_port(chance(10'000))) {}

  Process start_server() {
    const auto file = directory_ / "tidemill.yaml";
    testing::write_file(file, fmt::format(R"(
listen: 127.0.0.1:{}
concurrency: 64
outgoing:
  allow_networks: [127.0.0.0/8]
deliveries:
  - kinds: [hook]
    retry: [100ms]
    http:
      url: http://127.0.0.1:{}/
      headers: {{X-Run: "{}"}}
log: {{level: warning}}
)",
                                          port_, recorder_.port(), ++run_));
    return Process{{testing::command(), "serve", "--config", file, "--store", url()},
                   {.err = directory_ / "log"}};
  }

  /// Some kills fall while it starts, most while it takes tasks in and delivers.
  void await_random_moment(const std::vector<std::unique_ptr<RestClient>>& clients) {
    if (chance(5) > 0) {
      const auto acknowledged = [&] {
        std::size_t sum = 0;
        for (const auto& client : clients) sum += client->acknowledged();
        return sum;
      };
      const std::size_t in = acknowledged() + chance(200);
      const int out = recorder_.deliveries() + static_cast<int>(chance(100));
      ASSERT_TRUE(eventually([&] { return acknowledged() > in && recorder_.deliveries() > out; })) << log();
    }
    wait_a_bit();
  }

  /// And remembers what it had in its hands: what is active now is its own, or an earlier victim's.
  void kill_server(Process& server, Inspector& inspector) {
    server.end(SIGKILL);
    for (const auto& [id, task] : tasks(inspector, {.states = {State::active}})) held_[run_].insert(id);
  }

  /// A run delivers a task once. It is delivered again only if that run was killed with the task in its
  /// hands.
  void expect_no_needless_delivery() {
    std::size_t in_flight = 0;
    std::size_t repeats = 0;
    for (const auto& [id, runs] : recorder_.runs_by_id()) {
      EXPECT_EQ(std::set<int>(runs.begin(), runs.end()).size(), runs.size()) << id << " twice by one run";
      for (std::size_t i = 0; i < runs.size(); ++i) {
        const auto killed = held_.find(runs[i]);
        const bool held = killed != held_.end() && killed->second.contains(id);
        in_flight += held ? 1U : 0U;
        if (i + 1 == runs.size()) continue;
        ++repeats;
        EXPECT_TRUE(held) << id << " was delivered by run " << runs[i] << ", reported, and delivered again";
      }
    }
    fmt::print("{} deliveries in flight at {} kills, {} repeated\n", in_flight, held_.size(), repeats);
    EXPECT_LE(repeats, in_flight);
    EXPECT_GT(in_flight, 0U) << "no kill has hit anything";
  }

  Recorder recorder_;
  const std::uint16_t port_;
  int run_ = 0;
  std::map<int, std::set<std::string>> held_;  ///< By the run that was killed.
};

TEST_F(RestKillTest, NothingAcknowledgedIsLostWhenTheServerIsKilled) {
  constexpr int kills = 20;
  const auto store = open(url());
  Inspector inspector{*store};
  Process server = start_server();
  std::vector<std::unique_ptr<RestClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RestClient>(port_, fmt::format("one{}", i), 1));
    clients.push_back(std::make_unique<RestClient>(port_, fmt::format("many{}", i), 5));
  }
  bool alive = true;
  for (int kill = 0; kill < kills && alive; ++kill) {
    await_random_moment(clients);
    alive = !HasFatalFailure() && !server.ended();
    EXPECT_TRUE(alive) << log();
    kill_server(server, inspector);
    server = start_server();
  }
  std::set<std::string> sent;
  std::size_t repeats = 0;
  for (const auto& client : clients) {
    client->finish();
    sent.insert(client->ids().begin(), client->ids().end());
    repeats += client->repeats();
  }
  ASSERT_TRUE(alive);
  EXPECT_TRUE(eventually([&] { return all_ended(inspector); }, long_enough)) << log();
  EXPECT_EQ(server.end(SIGTERM), 0) << log();

  const auto stored = tasks(inspector);
  fmt::print("{} tasks acknowledged, {} requests repeated, {} in the store\n", sent.size(), repeats,
             stored.size());
  const auto delivered = recorder_.runs_by_id();
  for (const std::string& id : sent) {
    EXPECT_TRUE(stored.contains(id)) << id << " was acknowledged and is lost";
    EXPECT_TRUE(delivered.contains(id)) << id << " was acknowledged and never delivered";
  }
  EXPECT_EQ(stored.size(), sent.size());
  for (const auto& [id, task] : stored) {
    expect_one_success(inspector, task);
    const auto found = delivered.find(id);
    const std::size_t deliveries = found == delivered.end() ? 0 : found->second.size();
    EXPECT_GE(static_cast<std::size_t>(task.crashes) + 1, deliveries) << id;
  }
  expect_no_needless_delivery();
  expect_whole_file();
}

}  // namespace
}  // namespace tidemill
