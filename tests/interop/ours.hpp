#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>
#include <tidemill/worker.hpp>

#include "fixture.hpp"

namespace tidemill {
inline void PrintTo(State state, std::ostream* out) { *out << to_string(state); }
inline void PrintTo(Put put, std::ostream* out) { *out << to_string(put); }
inline void PrintTo(Changed changed, std::ostream* out) { *out << to_string(changed); }
inline void PrintTo(Reported reported, std::ostream* out) { *out << to_string(reported); }
}  // namespace tidemill

namespace tidemill::testing {

/// Opens once; handlers wait at it until then.
class Gate {
 public:
  void open() {
    const std::lock_guard lock{mutex_};
    open_ = true;
    opened_.notify_all();
  }
  void wait() {
    std::unique_lock lock{mutex_};
    opened_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Go's Asynq on one side of a Redis, and the whole library on the other.
class OursAndGo : public Interop {
 protected:
  /// A task as a handler of ours saw it.
  struct Run {
    Task task = {};
    TimePoint at{};
  };

  void SetUp() override {
    Interop::SetUp();
    if (IsSkipped()) return;
    store_ = open(redis().url());
    client_.emplace(*store_);
    inspector_.emplace(*store_);
  }
  void TearDown() override {
    gate().open();
    worker_.reset();
  }

  Store& store() { return *store_; }
  Client& client() { return *client_; }
  Inspector& inspector() { return *inspector_; }
  Gate& gate() { return gate_; }

  /// Runs tasks of any kind on the queue "default", as their payloads say:
  ///
  ///     fail TEXT | archive TEXT | discard | gate | stop | result TEXT
  ///
  /// gate waits until the gate is open, and stop until the handler is told to stop. Other payloads do
  /// nothing.
  void start_worker(const WorkerOptions& options = quick()) {
    router_.handle("*", [this](Context& context) {
      {
        const std::lock_guard lock{mutex_};
        runs_.push_back({context.task(), now()});
      }
      return behave(context);
    });
    worker_.emplace(*store_, router_, options);
    worker_->start();
  }
  void stop_worker() { worker_->stop(); }
  static WorkerOptions quick() {
    WorkerOptions options;
    options.concurrency = 4;
    options.beat = std::chrono::milliseconds{100};
    options.sweep = std::chrono::milliseconds{50};
    options.poll = std::chrono::milliseconds{100};
    options.retry = RetryPolicy::linear(std::chrono::hours{1}, std::chrono::seconds{0});
    options.shutdown_timeout = std::chrono::milliseconds{100};
    options.log = Log::silent();
    return options;
  }

  /// What our worker has begun to run.
  std::vector<Run> runs() {
    const std::lock_guard lock{mutex_};
    return runs_;
  }
  /// The first run of a task by our worker; waits for it. Throws when the time is up.
  Run run_of(std::string_view id) {
    std::optional<Run> found;
    const bool ran = eventually([&] {
      for (const Run& run : runs()) {
        if (run.task.ref.id == id) found = run;
      }
      return found.has_value();
    });
    if (!ran) throw std::runtime_error{fmt::format("our worker does not run {}", id)};
    return *found;
  }

  std::string enqueue(std::string payload, const EnqueueOptions& options = {}) {
    return client().enqueue("email", std::move(payload), options).id;
  }
  /// Go enqueues the task; its id.
  static std::string go_enqueue(GoProgram& client, const json::value& task) {
    const json::object answer = client.ask(task);
    if (!answer.contains("id")) throw std::runtime_error{json::serialize(answer)};
    return std::string{answer.at("id").as_string()};
  }

  static constexpr Duration length = std::chrono::seconds{25};
  Call call() { return {.now = store().now()}; }
  /// Without a worker: all that there is on the queue "default".
  std::vector<Lease> claim() {
    const Want wants[] = {{"default", 10}};
    const Claim claim{.worker = "ours", .wants = wants, .count_max = 10, .lease = length};
    return store().claim(claim, call()).leases;
  }

  /// As our inspector sees it; `gone` when there is none.
  State our_state(const std::string& id) {
    const auto task = inspector().task({"default", id});
    return task ? task->state : State::gone;
  }
  bool ours_becomes(const std::string& id, State wanted) {
    return eventually([&] { return our_state(id) == wanted; });
  }

 private:
  Outcome behave(const Context& context) {
    const std::string_view payload = context.task().payload;
    const std::size_t blank = payload.find(' ');
    const std::string_view word = payload.substr(0, blank);
    std::string rest{blank == payload.npos ? std::string_view{} : payload.substr(blank + 1)};
    if (word == "fail") return Outcome::failure(std::move(rest));
    if (word == "archive") return Outcome::archive(std::move(rest));
    if (word == "discard") return Outcome::discard(std::move(rest));
    if (word == "gate") gate_.wait();
    if (word == "stop") {
      std::mutex mutex;
      std::condition_variable_any told;
      std::unique_lock lock{mutex};
      told.wait(lock, context.stop_token(), [] { return false; });
      return Outcome::failure("stopped");
    }
    return Outcome::success(std::move(rest));
  }

  Gate gate_;
  std::mutex mutex_;
  std::vector<Run> runs_;  // Guarded by mutex_.
  std::unique_ptr<Store> store_;
  std::optional<Client> client_;
  std::optional<Inspector> inspector_;
  Router router_;
  std::optional<Worker> worker_;
};

}  // namespace tidemill::testing
