// What each script of the Redis store costs: how many commands it runs and how many keys it touches for each
// task that it is about, and that neither grows with what else is in the queue (rule 7). Redis itself is
// asked, by MONITOR.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tidemill/store.hpp>

#include "core/uuid.hpp"
#include "drivers/redis/client.hpp"
#include "process.hpp"
#include "redis_server.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/scripts.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using tidemill::testing::eventually;
using tidemill::testing::RedisServer;

/// Items of each call: what one script takes at most.
constexpr std::size_t items = 50;

/// Of one call's scripts, for each item.
struct Cost {
  double commands = 0;
  double keys = 0;
};

/// A queue with `backlog` tasks in each of its states, and nothing due.
class Costs {
 public:
  explicit Costs(std::size_t backlog)
      : store_(open(server_.url())),
        redis_(redis::Options{.addresses = {server_.address()}}),
        start_(store_->now()) {
    fill(backlog);
    const std::vector<std::string> monitor{testing::redis_program("redis-cli"), "-p",
                                           std::to_string(server_.port()), "MONITOR"};
    monitor_.emplace(monitor, testing::Process::Streams{.out = directory_ / "monitor"});
    const auto shown = [&] { return seen().find("\"mark\"") != std::string::npos || !mark("mark"); };
    if (!eventually(shown)) throw std::runtime_error{"MONITOR shows nothing"};
  }

  std::map<std::string, Cost> all() {
    std::map<std::string, Cost> costs;
    const auto add = [&](const std::string& name, std::size_t count, const std::function<void()>& act) {
      costs[name] = measure(count, act);
    };
    std::vector<Lease> leases;
    add("enqueue_plain", items, [&] { put(items, "", State::pending, false); });
    add("enqueue", items, [&] { put(items, "unique", State::scheduled, true); });
    add("fire", 1, [&] { fire(); });
    add("fire_once", 1, [&] { fire_once(); });
    add("claim", items, [&] { leases = claim(items); });
    add("beat", items, [&] { beat(leases); });
    add("report", items, [&] { report(leases, State::retry); });
    leases = claim(items);
    add("done", items, [&] { report(leases, State::gone); });
    add("change", items, [&] { change("pending"); });
    add("bury", 1, [&] { bury(); });
    // All that was active has lapsed, all that was scheduled is due, all that was kept may go.
    start_ += 48h;
    add("claim of due ones", items, [&] { leases = claim(items); });
    add("sweep", 3 * items, [&] { store_->sweep("w", 25s, items, call()); });
    return costs;
  }

 private:
  Call call() { return {.now = start_, .session = 1, .number = ++calls_, .deadline = {}}; }

  void put(std::size_t count, const std::string& prefix, State state, bool unique) {
    const TimePoint now = store_->now();  // As the ids say that are made here.
    std::vector<Task> tasks(count);
    for (std::size_t i = 0; i < count; ++i) {
      tasks[i].ref = {"q", prefix.empty() ? to_string(make_uuid()) : fmt::format("{}{}", prefix, i)};
      tasks[i].kind = "kind";
      tasks[i].timeout = 30min;
      tasks[i].created_at = now;
      tasks[i].state = state;
      tasks[i].delay = 24h;
      if (unique) tasks[i].unique = Unique{.key = tasks[i].ref.id, .window = 1h};
    }
    for (std::size_t i = 0; i < count; i += 1000) {
      const std::span part{tasks.data() + i, std::min<std::size_t>(1000, count - i)};
      for (const Enqueued& answer : store_->enqueue(part, call())) EXPECT_EQ(answer.put, Put::created);
    }
  }
  std::vector<Lease> claim(std::size_t count) {
    const Want want{"q", count};
    auto leases =
        store_->claim({.worker = "w", .wants = {&want, 1}, .count_max = count, .lease = 25s}, call()).leases;
    EXPECT_EQ(leases.size(), count);
    return leases;
  }
  void report(const std::vector<Lease>& leases, State to) {
    std::vector<Report> reports;
    for (const Lease& lease : leases) {
      Report& report = reports.emplace_back();
      report.lease = &lease;
      report.to = to;
      report.delay = 24h;
      report.keep = 24h;
      report.record = to == State::retry;
      report.tally = Tally::success;
    }
    for (const Reported answer : store_->report(reports, call())) EXPECT_EQ(answer, Reported::applied);
  }
  void beat(const std::vector<Lease>& leases) {
    std::vector<Beat> beats;
    for (const Lease& lease : leases) beats.push_back({.lease = &lease, .started = true});
    const WorkerInfo worker{.id = "w", .state = "running"};
    store_->renew(worker, beats, 25s, {}, call());
  }
  void change(const std::string& prefix) {
    std::vector<Ref> refs;
    for (std::size_t i = 0; i < items; ++i) refs.push_back({"q", fmt::format("{}{}", prefix, i)});
    const Change change{.from = States::all(), .to = State::held};
    for (const Changed answer : store_->catalog()->change(refs, change, call()))
      EXPECT_EQ(answer, Changed::changed);
  }
  void fire() {
    const PutSchedule schedule{.schedule = {.id = "s", .rule = "{}", .next = start_}};
    store_->catalog()->put_schedules({&schedule, 1}, call());
    Task task;
    task.ref = {"q", "fired"};
    task.kind = "kind";
    task.firing = Firing{.schedule = "s", .instant = start_, .next = start_ + 1h};
    EXPECT_EQ(store_->enqueue({&task, 1}, call()).at(0).put, Put::created);
  }
  /// As in a cluster.
  void fire_once() {
    const std::string message =
        redis_.exec(redis::Command{"HGET", redis_store::task_key("q", "pending0")}.add("msg")).text;
    redis::Command command{redis_store::fire_once_script(), redis_store::pending_key("q")};
    for (const char* head : {"1:0", "1", "1", "1000", "s", "7", "1", "", "once"}) command.add(head);
    command.add(message);
    for (const char* rest : {"", "", "", "pending", "0", "", "", "", "", "", "", "k", ""}) command.add(rest);
    EXPECT_EQ(redis_.exec(command).items.at(0).text, "c");
  }
  void bury() {
    redis::Command command{redis_store::bury_script(), redis_store::pending_key("q")};
    EXPECT_EQ(redis_.exec(command.add("").add("").add("1").add("active0")).integer, 1);
  }

  void fill(std::size_t backlog) {
    put(backlog, "active", State::pending, false);
    for (std::size_t i = 0; i < backlog; i += 1000) claim(std::min<std::size_t>(1000, backlog - i));
    for (const State end : {State::completed, State::archived, State::retry}) {
      put(backlog, fmt::format("{}", to_string(end)), State::pending, false);
      for (std::size_t i = 0; i < backlog; i += 1000)
        report(claim(std::min<std::size_t>(1000, backlog - i)), end);
    }
    put(backlog, "scheduled", State::scheduled, true);
    put(backlog, "held", State::held, false);
    put(backlog, "pending", State::pending, false);
  }

  std::string seen() const { return testing::read_file(directory_ / "monitor"); }
  bool mark(const std::string& text) { return redis_.exec(redis::Command{"ECHO"}.add(text)).ok(); }

  /// What scripts have run between two marks.
  Cost measure(std::size_t count, const std::function<void()>& act) {
    const std::string begin = fmt::format("\"begin {}\"", ++marks_), end = fmt::format("\"end {}\"", marks_);
    mark(begin.substr(1, begin.size() - 2));
    act();
    mark(end.substr(1, end.size() - 2));
    std::string text;
    EXPECT_TRUE(eventually([&] {
      text = seen();
      return text.find(end) != std::string::npos;
    }));
    const std::size_t from = text.find(begin), to = text.find(end);
    if (from > to || to == std::string::npos) throw std::runtime_error{"MONITOR lost its place"};
    std::istringstream lines{text.substr(from, to - from)};
    std::size_t commands = 0;
    std::set<std::string> keys;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(" lua] ") == std::string::npos) continue;
      ++commands;
      for (std::size_t at = line.find("\"asynq:"); at != std::string::npos;
           at = line.find("\"asynq:", at + 1))
        keys.insert(line.substr(at, line.find('"', at + 1) - at));
    }
    const auto each = static_cast<double>(count);
    return {static_cast<double>(commands) / each, static_cast<double>(keys.size()) / each};
  }

  RedisServer server_;
  testing::TemporaryDirectory directory_;
  std::unique_ptr<Store> store_;
  redis::Client redis_;
  TimePoint start_;
  std::uint64_t calls_ = 0;
  int marks_ = 0;
  std::optional<testing::Process> monitor_;
};

/// For one item, where there are fifty; what a script does once is in it, too. Of a claim of due tasks a
/// hundred become pending, and of a sweep an item is a lease, a due task or an ended one.
const std::map<std::string, Cost>& bounds() {
  static const std::map<std::string, Cost> all = {
      {"enqueue_plain", {2.2, 1.2}}, {"enqueue", {13.5, 2.2}}, {"fire", {18, 6}},
      {"fire_once", {13, 4}},        {"claim", {2.5, 1.3}},    {"claim of due ones", {17, 3.4}},
      {"beat", {3.3, 1.2}},          {"report", {12, 1.3}},    {"done", {1.4, 1.2}},
      {"change", {8.5, 1.2}},        {"bury", {8, 4}},         {"sweep", {7, 2}},
  };
  return all;
}

// Why: rule 7. How: each verb, in a queue with next to nothing and in one with tens of thousands in each
// state.
TEST(RedisCostTest, ScriptsCostTheSameWhateverTheBacklog) {
  TIDEMILL_NEEDS_REDIS();
  const auto least = Costs{1'000}.all();
  const auto most = Costs{20'000}.all();
  for (const auto& [name, cost] : most) {
    fmt::print("{:20} {:6.2f} commands, {:5.2f} keys an item; in a small queue {:.2f} and {:.2f}\n", name,
               cost.commands, cost.keys, least.at(name).commands, least.at(name).keys);
    // What is taken out of a list may be near its end, or not: some commands more or less for a script.
    EXPECT_LE(cost.commands, least.at(name).commands + 0.1) << name;
    EXPECT_LE(cost.keys, least.at(name).keys) << name;
    ASSERT_TRUE(bounds().contains(name)) << name;
    EXPECT_LE(cost.commands, bounds().at(name).commands) << name;
    EXPECT_LE(cost.keys, bounds().at(name).keys) << name;
  }
}

}  // namespace

}  // namespace tidemill
