#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

/// One suite for every store: docs/architecture.md, section 3, line by line.
///
/// A test's name begins with the rule that it proves ("Rule2_…"), or with "Port_" where the sentence stands
/// in store.hpp only. A store may skip a test when its capabilities() say that it lacks what the test needs,
/// and for no other reason.
namespace tidemill {

// So that GoogleTest prints names and not bytes.
inline void PrintTo(State state, std::ostream* out) { *out << to_string(state); }
inline void PrintTo(Put put, std::ostream* out) { *out << to_string(put); }
inline void PrintTo(Reported reported, std::ostream* out) { *out << to_string(reported); }
inline void PrintTo(Changed changed, std::ostream* out) { *out << to_string(changed); }
inline void PrintTo(Signal signal, std::ostream* out) { *out << to_string(signal); }

}  // namespace tidemill

namespace tidemill::contract {

/// What tests ask for where they don't say otherwise.
inline constexpr Duration lease_length = std::chrono::seconds{25};

/// Stands still until it is told to go on, so that a test says what time it is.
class TestClock : public Clock {
 public:
  TimePoint now() const override;
  std::chrono::steady_clock::time_point steady() const override;
  void advance(Duration by);

 private:
  mutable std::mutex mutex_;
  TimePoint now_{std::chrono::sys_days{std::chrono::year{2030} / 1 / 1} + std::chrono::hours{12}};
  std::chrono::steady_clock::time_point steady_{std::chrono::hours{1}};
};

/// A kind of store; `url` is given a new directory and names a store that is empty.
struct Backend {
  std::string name = {};
  std::function<std::string(const std::filesystem::path& directory)> url = {};
  bool durable = true;  ///< What it holds is there when it is opened again.
  /// Opens it, if not by its URL alone.
  std::function<std::unique_ptr<Store>(const std::string& url, const Clock& clock)> open = {};
};
void PrintTo(const Backend& backend, std::ostream* out);

const std::vector<Backend>& backends();
std::vector<Backend> durable_backends();
std::string name_of(const testing::TestParamInfo<Backend>& info);

/// A directory that goes with the object.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// Every test has an empty store, a clock, and verbs that say only what the test is about.
class Contract : public testing::TestWithParam<Backend> {
 protected:
  Contract();

  /// Skips the test when the store lacks one of these, by its own word.
  void need(std::initializer_list<Feature> features);
  /// Skips it also when the store has the feature with limits.
  void need_whole(Feature feature);
  void reopen();
  /// A second store object on what the first one holds; for durable ones.
  std::unique_ptr<Store> open_again();

  Store& store() { return *store_; }
  Catalog& catalog() { return *store_->catalog(); }
  /// A new one each time; to repeat a call, keep it.
  Call call() const { return Call{.now = clock.now(), .session = 1, .number = ++calls_, .deadline = {}}; }
  TimePoint now() const { return clock.now(); }
  void advance(Duration by) { clock.advance(by); }

  // ---- Producers ----
  static Task task(std::string id, std::string queue = "q", State state = State::pending);
  /// Scheduled, and due after `delay`.
  static Task delayed(std::string id, Duration delay, std::string queue = "q");
  static Task keyed(std::string id, std::string key, Unique unique = {});
  Enqueued put(const Task& task) { return store().enqueue({&task, 1}, call()).at(0); }
  std::vector<Put> put_all(const std::vector<Task>& tasks);

  // ---- Workers ----
  struct Take {
    std::vector<std::string_view> queues = {"q"};
    std::size_t most = 1;
    std::string_view worker = "w1";
    Duration lease = lease_length;
    std::size_t bytes_max = 0;
  };
  Claimed claim(const Take& take);
  /// The only task that there is to claim; fails the test when there is none.
  Lease claim_one(std::string_view worker = "w1", Duration lease = lease_length);
  /// The lease's task with counters unchanged.
  static Report outcome(const Lease& lease, State to);
  Reported end(const Report& report) { return store().report({&report, 1}, call()).at(0); }
  Reported end(const Lease& lease, State to) { return end(outcome(lease, to)); }
  static WorkerInfo worker(std::string id, std::string state = "running");
  /// One beat of one lease, of worker "w1".
  Signal beat(const Beat& beat, Duration lease = lease_length);
  Signal beat_worker(const WorkerInfo& worker) {
    return store().renew(worker, {}, lease_length, {}, call()).worker;
  }
  Swept sweep(std::size_t limit = 100, std::string_view worker = "sweeper") {
    return store().sweep(worker, lease_length, limit, call());
  }

  // ---- Operators ----
  std::optional<Task> get(const std::string& id, const std::string& queue = "q");
  /// `gone` when there is none.
  State state_of(const std::string& id);
  /// All tasks that match, page by page.
  std::vector<Task> find(const Filter& filter, std::size_t limit = 100);
  std::vector<std::string> ids(const Filter& filter = {}, std::size_t limit = 100);
  Changed change(const std::string& id, const Change& change);
  std::vector<Attempt> attempts(const std::string& id) { return catalog().attempts({"q", id}, call()); }
  std::optional<QueueInfo> queue(const std::string& name = "q");

  TestClock clock;

 private:
  mutable std::atomic<std::uint64_t> calls_ = 0;
  Directory directory_;
  std::unique_ptr<Store> store_;
};

std::vector<std::string> ids_of(const std::vector<Lease>& leases);
std::vector<std::string> ids_of(const std::vector<Task>& tasks);
/// "prefix0", "prefix1" …
std::vector<Task> numbered(std::size_t count, const std::string& prefix, const Task& like);

}  // namespace tidemill::contract
