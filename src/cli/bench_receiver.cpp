#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <ostream>
#include <thread>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/app.hpp"
#include "cli/file_limit.hpp"
#include "cli/options.hpp"
#include "drivers/http/server.hpp"
#include "engine/worker_signals.hpp"

namespace tidemill::cli {

namespace {

/// Answers every POST after a delay; GET says how many POSTs have come.
class Receiver {
 public:
  explicit Receiver(Duration delay)
      : delay_(delay),
        server_({.body_timeout = std::chrono::minutes{10}},
                [this](http::Request&& request, const http::Answer& answer) { take(request, answer); }) {
    if (delay_ > Duration::zero())
      answers_ = std::jthread{[this](const std::stop_token& stop) { loop(stop); }};
  }
  ~Receiver() {
    server_.stop({});
    answers_ = {};
    due_.clear();  // No answer outlives the server.
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  std::uint16_t port() const { return server_.port(); }

 private:
  using Steady = std::chrono::steady_clock;
  struct Due {
    Steady::time_point at;
    http::Answer answer;
  };

  void take(const http::Request& request, const http::Answer& answer) {
    if (request.method != "POST") {
      answer({.content_type = "text/plain", .body = fmt::format("{}\n", taken_)});
      return;
    }
    ++taken_;
    if (delay_ == Duration::zero()) return answer({});
    const std::lock_guard lock{mutex_};
    due_.push_back({Steady::now() + delay_, answer});
    if (due_.size() == 1) more_.notify_one();
  }

  void loop(const std::stop_token& stop) {
    std::unique_lock lock{mutex_};
    while (more_.wait(lock, stop, [this] { return !due_.empty(); })) {
      const auto at = due_.front().at;
      if (more_.wait_until(lock, stop, at, [] { return false; }) || stop.stop_requested()) return;
      while (!due_.empty() && due_.front().at <= Steady::now()) {
        due_.front().answer({});
        due_.pop_front();
      }
    }
  }

  const Duration delay_;
  std::atomic<std::size_t> taken_{0};
  std::mutex mutex_;
  std::condition_variable_any more_;
  std::deque<Due> due_;  // Guarded by mutex_.
  http::Server server_;
  std::jthread answers_;
};

}  // namespace

/// The other half of bench/rest.py; not for people.
void add_bench_receiver(Commands& commands) {
  CLI::App& command = commands.add("bench-receiver", "Receives webhooks", "");
  command.group("");
  const auto delay = std::make_shared<Duration>();
  add_duration(command, "--delay", *delay, "Until it answers (0)");
  commands.runs(command, [delay](const Io& io) {
    raise_file_limit();
    engine::ProcessSignals signals;
    const Receiver receiver{*delay};
    io.out << fmt::format("listening on http://127.0.0.1:{}\n", receiver.port()) << std::flush;
    while (signals.wait() == 0) {
    }
    return ok;
  });
}

}  // namespace tidemill::cli
