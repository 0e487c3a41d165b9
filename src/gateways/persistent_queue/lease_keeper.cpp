#include "gateways/persistent_queue/lease_keeper.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

/// NOW() has no fractions.
constexpr Duration cut_off = 1s;

Steady steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace

LeaseKeeper::LeaseKeeper(LeaseRow row, Options options, Begin begin, Told told)
    : row_(std::move(row)), options_(std::move(options)), begin_(std::move(begin)), told_(std::move(told)) {
  thread_ = std::thread{[this] {
    pthread_setname_np(pthread_self(), "tm-lease");
    loop();
  }};
}

LeaseKeeper::~LeaseKeeper() { stop(); }

void LeaseKeeper::stop() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
  }
  wakes_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// ---- What others ask

std::optional<LeaseKeeper::Term> LeaseKeeper::term(Duration room) const {
  const std::lock_guard lock{mutex_};
  if (term_.epoch == 0 || steady_now() + room >= until_) return {};
  return term_;
}

std::uint64_t LeaseKeeper::epoch() const {
  const std::lock_guard lock{mutex_};
  return term_.epoch;
}

std::stop_token LeaseKeeper::lost() const {
  const std::lock_guard lock{mutex_};
  return lost_.get_token();
}

// ---- Taking and giving

void LeaseKeeper::compete() {
  const std::lock_guard lock{mutex_};
  if (std::exchange(competes_, true)) return;
  wakes_.notify_all();
}

bool LeaseKeeper::competes() const {
  const std::lock_guard lock{mutex_};
  return competes_;
}

bool LeaseKeeper::try_acquire() {
  const std::lock_guard acting{acting_};
  return epoch() != 0 || acquire();
}

bool LeaseKeeper::acquire() {
  const std::optional<LeaseRow::State> before = row_.read();
  const bool others = before && before->seconds_left > 0 && before->owner != row_.owner();
  if (others) {
    if (std::exchange(waits_for_, before->owner) != before->owner)
      options_.log.info("another holds the lease", {{"owner", before->owner}});
    return false;
  }
  const Steady sent = steady_now();
  if (!row_.acquire()) return false;
  if (!before || before->owner != row_.owner()) before_ = before;
  const Term term = begin_(before_);
  before_.reset();
  waits_for_.clear();
  {
    const std::lock_guard lock{mutex_};
    term_ = term;
    term_.began = sent;
    until_ = sent + options_.length - cut_off - options_.margin;
    lost_ = std::stop_source{};
  }
  options_.log.info("holds the lease", {{"owner", row_.owner()}, {"epoch", std::to_string(term.epoch)}});
  wakes_.notify_all();
  told_();
  return true;
}

bool LeaseKeeper::release() {
  const std::lock_guard acting{acting_};
  {
    const std::lock_guard lock{mutex_};
    if (term_.epoch == 0) return false;
    term_ = {};
  }
  told_();
  if (!row_.release(options_.least)) return false;
  options_.log.info("released the lease", {{"owner", row_.owner()}});
  return true;
}

void LeaseKeeper::end_term(std::string_view why) {
  std::stop_source lost;
  {
    const std::lock_guard lock{mutex_};
    if (term_.epoch == 0) return;
    term_ = {};
    lost = lost_;
  }
  options_.log.warning("lost the lease", {{"owner", row_.owner()}, {"why", why}});
  lost.request_stop();
  told_();
}

// ---- The thread

void LeaseKeeper::loop() {
  while (true) {
    {
      std::unique_lock lock{mutex_};
      const std::uint64_t epoch = term_.epoch;
      const bool competed = competes_;
      wakes_.wait_for(lock, pause(),
                      [&] { return stopping_ || term_.epoch != epoch || competes_ != competed; });
      if (stopping_) return;
      if (term_.epoch != epoch) continue;  // Then the pause is another one.
    }
    const std::lock_guard acting{acting_};
    const bool holds = epoch() != 0;
    try {
      if (holds) {
        renew();
      } else if (competes()) {
        acquire();
      }
      const std::lock_guard lock{mutex_};
      trouble_.clear();
    } catch (const std::exception& error) {
      say_failed(holds ? "the lease can't be renewed" : "the lease can't be asked for", error.what());
    }
    std::stop_source late;
    {
      const std::lock_guard lock{mutex_};
      if (term_.epoch != 0 && steady_now() >= until_) late = lost_;
    }
    late.request_stop();
  }
}

/// Requires mutex_.
Duration LeaseKeeper::pause() const {
  if (term_.epoch == 0) return competes_ ? options_.contest : std::chrono::hours{1};
  return trouble_.empty() ? options_.renew : std::min<Duration>(options_.renew / 4, 1s);
}

void LeaseKeeper::renew() {
  const Steady sent = steady_now();
  if (row_.renew() == LeaseRow::Renewal::lost) {
    const std::optional<LeaseRow::State> now = row_.read();
    end_term(now ? fmt::format("it is held by {}", now->owner) : "its row is gone");
    return;
  }
  const std::lock_guard lock{mutex_};
  until_ = sent + options_.length - cut_off - options_.margin;
}

void LeaseKeeper::say_failed(const std::string& what, const std::string& why) {
  bool again = false;
  {
    const std::lock_guard lock{mutex_};
    again = trouble_ == why;
    trouble_ = why;
  }
  options_.log.write(again ? Level::debug : Level::warning, what, {{"error", why}});
}

}  // namespace tidemill::persistent_queue
