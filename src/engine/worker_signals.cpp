#include "engine/worker_signals.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <tidemill/error.hpp>

namespace tidemill::engine {

namespace {

/// A signal adds so much, a poke adds one.
constexpr std::uint64_t signal_weight = 1U << 20U;
constexpr std::uint64_t hangup_weight = std::uint64_t{1} << 40U;

/// Where the handler writes: it can reach nothing but what is static. Never closed, since a handler may still
/// be about to write on another thread.
std::atomic<int> event{-1};
std::atomic<bool> in_use{false};

void on_signal(int number) {
  const int saved = errno;
  const std::uint64_t weight = number == SIGHUP ? hangup_weight : signal_weight;
  (void)!write(event.load(), &weight, sizeof weight);
  errno = saved;
}

}  // namespace

ProcessSignals::ProcessSignals(Hangup hangup) : with_hangup_(hangup == Hangup::caught) {
  if (in_use.exchange(true)) {
    throw Error{ErrorKind::invalid, "another worker of this process is inside run() already"};
  }
  if (event.load() < 0) event.store(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (event.load() < 0) {
    in_use = false;
    throw Error{ErrorKind::unavailable, "can't wait for signals: no file descriptor is left"};
  }
  std::uint64_t stale = 0;
  (void)!read(event.load(), &stale, sizeof stale);

  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
  if (with_hangup_) sigaction(SIGHUP, &action, &hangup_);
  // At least one thread must let them through.
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGINT);
  sigaddset(&ours, SIGTERM);
  if (with_hangup_) sigaddset(&ours, SIGHUP);
  pthread_sigmask(SIG_UNBLOCK, &ours, &mask_);
}

ProcessSignals::~ProcessSignals() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  if (with_hangup_) sigaction(SIGHUP, &hangup_, nullptr);
  pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  in_use = false;
}

int ProcessSignals::wait() {
  pollfd readable{.fd = event.load(), .events = POLLIN, .revents = 0};
  std::uint64_t count = 0;
  while (read(event.load(), &count, sizeof count) < 0) poll(&readable, 1, -1);
  if (count >= hangup_weight) hung_up_ = true;
  return static_cast<int>(count % hangup_weight / signal_weight);
}

void ProcessSignals::poke() {
  const std::uint64_t one = 1;
  (void)!write(event.load(), &one, sizeof one);
}

}  // namespace tidemill::engine
