#include <tidemill/lock.hpp>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include <tidemill/error.hpp>
#include <tidemill/locks.hpp>

#include "core/named.hpp"
#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "engine/host.hpp"
#include "engine/store_clock.hpp"
#include "engine/worker_crew.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill {

namespace {

using engine::Steady;

/// Sums with the steady clock don't overflow.
constexpr Duration for_ever = std::chrono::hours{24 * 365 * 100};

Steady steady_now() { return std::chrono::steady_clock::now(); }

std::string make_owner() {
  return fmt::format("{}/{}/{}", engine::host_name(), ::getpid(), to_string(make_uuid()));
}

/// Whether the store may answer when it is asked again.
bool passes(const Error& error) { return error.retryable() || error.kind() == ErrorKind::unknown_outcome; }

LockOptions checked(std::string_view name, LockOptions options) {
  if (options.owner.empty()) options.owner = make_owner();
  rules::check_lock(name, options.owner, options.length);
  const auto require = [&](bool good, std::string_view what) {
    if (!good) throw Error{ErrorKind::invalid, fmt::format("lock \"{}\": {}", name, what)};
  };
  require(options.margin >= Duration::zero(), "margin must not be negative");
  require(options.margin <= options.length / 3,
          "margin must be a third of the length at most, so that a renewal can fail and be tried again");
  require(options.poll > Duration::zero(), "poll must be more than zero");
  return options;
}

}  // namespace

/// Two threads while the lock is held: one renews, and waits for the store; the other waits for the clock
/// alone.
struct NamedLock::Impl {
  Impl(Store& s, std::string n, LockOptions o)
      : name(std::move(n)),
        options(checked(name, std::move(o))),
        hold(options.length - options.margin),
        locks(*s.locks()),
        clock(s) {}

  bool try_acquire();
  bool release();
  void begin(std::uint64_t new_fence, Steady sent);
  /// Ends both threads; then the lock isn't held. The answer is whether it was until now.
  bool end();
  void renew(std::stop_token stop);
  void watch(std::stop_token stop);
  /// Takes in what a renewal that was sent then came to, unless it came too late. False: the lock is lost.
  bool renewed(bool ours, Steady sent);
  bool held() const {
    const std::lock_guard guard{mutex};
    return steady_now() < until;
  }

  const std::string name;
  const LockOptions options;
  const Duration hold;  // How long it is held without a renewal.
  Locks& locks;
  engine::StoreClock clock;

  std::mutex calling;      // One acquire or release at a time.
  bool unsettled = false;  // Lost, and perhaps still ours in the store. Guarded by calling.

  mutable std::mutex mutex;  // Guards all up to the threads.
  std::condition_variable_any changed;
  std::uint64_t fence = 0;
  Steady until{};  // The epoch: not held.
  std::stop_source lost;

  std::jthread renewer;  // Guarded by calling, as is the other.
  std::jthread watcher;
};

bool NamedLock::Impl::try_acquire() {
  const std::lock_guard guard{calling};
  if (held()) return true;
  if (renewer.joinable()) {
    end();
    unsettled = true;
  }
  // What the lost lock protected may still go on, so that fence must not come to life again.
  if (unsettled) locks.release(name, options.owner, fence, clock.call(hold));
  unsettled = false;
  const Steady sent = steady_now();
  const LockInfo lock = locks.acquire(name, options.owner, options.length, clock.call(hold));
  if (lock.owner != options.owner) return false;
  begin(lock.fence, sent);
  return held();
}

void NamedLock::Impl::begin(std::uint64_t new_fence, Steady sent) {
  {
    const std::lock_guard guard{mutex};
    fence = new_fence;
    until = sent + hold;
    lost = std::stop_source{};
  }
  try {
    renewer = std::jthread{[this](std::stop_token stop) {
      engine::name_thread("tm-lock");
      renew(std::move(stop));
    }};
    watcher = std::jthread{[this](std::stop_token stop) {
      engine::name_thread("tm-lock-watch");
      watch(std::move(stop));
    }};
  } catch (...) {  // Without both threads it can't be held.
    renewer = {};
    unsettled = true;
    const std::lock_guard guard{mutex};
    until = {};
    throw;
  }
}

bool NamedLock::Impl::end() {
  renewer.request_stop();
  renewer.join();
  watcher.request_stop();
  watcher.join();
  bool was_held = false;
  {
    const std::lock_guard guard{mutex};
    was_held = steady_now() < until;
    until = {};
  }
  if (!was_held) lost.request_stop();  // If the watcher was told to end before it could do so.
  return was_held;
}

bool NamedLock::Impl::release() {
  const std::lock_guard guard{calling};
  if (!renewer.joinable()) return false;
  const bool was_held = end();
  unsettled = true;  // Until the store has said otherwise.
  const bool released = locks.release(name, options.owner, fence, clock.call(hold));
  unsettled = false;
  return was_held && released;
}

bool NamedLock::Impl::renewed(bool ours, Steady sent) {
  {
    const std::lock_guard guard{mutex};
    // Who has been told that it is lost must not find it held again.
    ours = ours && steady_now() < until;
    until = ours ? sent + hold : Steady{};
  }
  changed.notify_all();
  return ours;
}

void NamedLock::Impl::renew(std::stop_token stop) {
  engine::Trouble trouble{options.log, fmt::format("renew lock \"{}\"", name), options.length / 10};
  Steady next = steady_now() + options.length / 3;
  for (;;) {
    Steady end_of_hold;
    {
      std::unique_lock guard{mutex};
      changed.wait_until(guard, stop, next, [] { return false; });
      end_of_hold = until;
    }
    const Steady sent = steady_now();
    if (stop.stop_requested() || sent >= end_of_hold) return;
    std::string why;
    try {
      const Duration left = std::chrono::duration_cast<Duration>(end_of_hold - sent);
      const Call call = clock.call(left);
      if (!renewed(locks.extend(name, options.owner, fence, options.length, call), sent)) return;
      trouble.over();
      next = sent + options.length / 3;
      continue;
    } catch (const std::exception& error) {
      why = error.what();
    } catch (...) {
      why = "unknown exception";
    }
    next = steady_now() + trouble.failed(why);
  }
}

void NamedLock::Impl::watch(std::stop_token stop) {
  std::stop_source source;
  {
    std::unique_lock guard{mutex};
    while (!stop.stop_requested() && steady_now() < until) {
      const Steady seen = until;
      changed.wait_until(guard, stop, seen, [&] { return until != seen; });
    }
    if (stop.stop_requested()) return;
    until = {};
    source = lost;
  }
  options.log.error("a lock is lost", {{"lock", name}});
  source.request_stop();
}

NamedLock::NamedLock(Store& store, std::string name, LockOptions options) {
  rules::require(store.capabilities(), Feature::locks);
  if (store.locks() == nullptr) throw Error{ErrorKind::unsupported, "this store can't keep locks"};
  impl_ = std::make_unique<Impl>(store, std::move(name), std::move(options));
}

NamedLock::~NamedLock() {
  try {
    impl_->release();
  } catch (const std::exception& error) {
    impl_->options.log.warning("a lock could not be released, and will run out",
                               {{"lock", impl_->name}, {"why", error.what()}});
  }
}

bool NamedLock::try_acquire() { return impl_->try_acquire(); }

bool NamedLock::acquire(std::stop_token stop, std::optional<Duration> timeout) {
  const Steady deadline = timeout ? steady_now() + std::min(*timeout, for_ever) : Steady::max();
  engine::Trouble trouble{impl_->options.log, fmt::format("acquire lock \"{}\"", impl_->name),
                          impl_->options.poll};
  constexpr Duration pause_least = std::chrono::milliseconds{10};
  Duration pause = std::min(pause_least, impl_->options.poll);
  std::mutex sleeping;
  std::condition_variable_any never;
  for (;;) {
    if (stop.stop_requested()) return false;
    Duration next{};
    try {
      if (impl_->try_acquire()) return true;
      trouble.over();
      if (steady_now() >= deadline) return false;
      // A part by chance, so that those who wait don't all come at once.
      next = Duration{
          static_cast<Duration::rep>(static_cast<double>(pause.count()) * (0.5 + random_unit() / 2))};
      pause = std::min(pause * 2, impl_->options.poll);
    } catch (const Error& error) {
      if (!passes(error) || steady_now() >= deadline) throw;
      next = trouble.failed(error.what());
    }
    std::unique_lock guard{sleeping};
    never.wait_until(guard, stop, std::min(deadline, steady_now() + next), [] { return false; });
  }
}

bool NamedLock::release() { return impl_->release(); }

bool NamedLock::held() const { return impl_->held(); }

std::uint64_t NamedLock::fence() const {
  const std::lock_guard guard{impl_->mutex};
  return impl_->fence;
}

std::stop_token NamedLock::stop_token() const {
  const std::lock_guard guard{impl_->mutex};
  return impl_->lost.get_token();
}

}  // namespace tidemill
