#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "stores/postgres/database.hpp"
#include "stores/postgres/layout.hpp"
#include "stores/sql/hub.hpp"

namespace tidemill::postgres_store {

using sql_store::Hub;
using sql_store::News;

/// Tells other processes by NOTIFY what has been committed here, and hears what they tell. It is a hint: it
/// goes its own way, some milliseconds apart, so that no write waits for it; what is lost, and what comes by
/// a pooler that keeps nobody's LISTEN, is found by looking now and then.
///
///   message := sender (16 digits, hexadecimal, or "-") { " " item }
///   item := "q" queue            a task is ready
///         | "d" queue ":" time   one is due then
///         | "w" worker           there is a signal for it, or for a holder of its leases
///         | "*"                  anything may have happened
///
/// Queues are numbers, a worker's id is in hexadecimal digits. Callers' transactions tell by themselves, as
/// `bell_message` from "-" has it.
///
/// Thread safety: all members may be called from any thread.
class Bell {
 public:
  /// All must outlive it. Nothing is begun before it is needed.
  Bell(postgres::Options server, std::string channel, Naming& naming, Hub& hub);
  /// What has not been told yet is, if the server takes it at once.
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  void tell(News news);
  /// From now on messages of others wake those who wait.
  void listen();
  /// Looks for tasks and signals, wakes those who wait for such, and returns when to look again: soon, unless
  /// messages come.
  std::chrono::microseconds look();

 private:
  using Steady = std::chrono::steady_clock;

  void send_all(const std::stop_token& stop);
  void send(postgres::Connection& db, const News& news);
  std::string message_of(postgres::Connection& db, const News& news);
  void listen_all(const std::stop_token& stop);
  /// Until the connection is lost, or it is stopped.
  void hear(const std::stop_token& stop);
  void take(std::string_view message);
  void look_around();
  bool pause(const std::stop_token& stop, std::chrono::milliseconds time);

  const postgres::Options server_;
  const std::string channel_;
  const std::string self_;
  Naming& naming_;
  Hub& hub_;
  std::atomic<bool> hears_{false};
  std::atomic<std::int64_t> pause_{0};  // Between looks, in microseconds.
  std::mutex looks_;
  std::unique_ptr<postgres::Connection> looker_;  // Guarded by looks_.
  std::optional<std::int64_t> signals_;           // How many there had been. Guarded by looks_.
  std::mutex mutex_;
  std::condition_variable_any changed_;
  News news_;                               // What has not been told. Guarded by mutex_.
  postgres::Listener* listener_ = nullptr;  // Guarded by mutex_.
  std::jthread sender_;                     // Guarded by mutex_.
  std::jthread hearer_;                     // Guarded by mutex_.
};

std::string bell_message(std::string_view sender, const std::map<std::int64_t, News::Queue>& queues,
                         std::span<const std::string> workers = {});

}  // namespace tidemill::postgres_store
