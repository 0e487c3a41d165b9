#include "stores/postgres/janitor.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

/// So many are worth a vacuum: to step over them takes a millisecond.
constexpr std::int64_t dead_max = 20'000;
/// It takes a tenth of the time at most, as indexes are read from end to end.
constexpr int rest_share = 10;
constexpr auto rest_least = std::chrono::milliseconds{1s};
constexpr auto vacuum_time = 10min;

/// Another process may be at it, which is as good.
constexpr const char* vacuum = "VACUUM (SKIP_LOCKED, TRUNCATE off) main.tidemill_job";

}  // namespace

Janitor::~Janitor() { thread_.request_stop(); }

void Janitor::died(std::int64_t rows) {
  if (rows == 0 || server_.sessions) return;  // A VACUUM on another library's connection could not be cut.
  const std::lock_guard lock{mutex_};
  dead_ += rows;
  if (dead_ < dead_max) return;
  if (!thread_.joinable()) thread_ = std::jthread{[this](const std::stop_token& stop) { work(stop); }};
  changed_.notify_one();
}

void Janitor::work(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  while (changed_.wait(lock, stop, [this] { return dead_ >= dead_max; })) {
    dead_ = 0;
    lock.unlock();
    const auto begun = Steady::now();
    try {
      postgres::Connection db{server_, "tidemill vacuum", begun + vacuum_time};
      const postgres::Scissors scissors{db};
      const std::stop_callback on_stop{stop, [&] { scissors.cut(); }};  // Nobody waits for its end.
      db.give_up_at(begun + vacuum_time);
      db.execute(vacuum);
    } catch (const std::exception&) {
      // Autovacuum does it in the end.
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - begun);
    lock.lock();
    changed_.wait_for(lock, stop, std::max(rest_least, rest_share * took), [] { return false; });
  }
}

}  // namespace tidemill::postgres_store
