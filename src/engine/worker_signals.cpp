#include "engine/worker_signals.hpp"

#include <atomic>
#include <cerrno>

#include <semaphore.h>

#include <tidemill/error.hpp>

namespace tidemill::engine {

namespace {

/// Never destroyed, since a handler may still be about to post on another thread.
struct Event {
  Event() { sem_init(&semaphore, 0, 0); }
  sem_t semaphore{};
};

/// What the handler counts, and whom it wakes: it can reach nothing but what is static.
Event event;
std::atomic<int> ends{0};
std::atomic<bool> hangup{false};
std::atomic<bool> poked{false};
std::atomic<bool> in_use{false};

void on_signal(int number) {
  const int saved = errno;
  if (number == SIGHUP) {
    hangup = true;
  } else {
    ++ends;
  }
  sem_post(&event.semaphore);
  errno = saved;
}

}  // namespace

ProcessSignals::ProcessSignals(Hangup choice) : with_hangup_(choice == Hangup::caught) {
  if (in_use.exchange(true)) {
    throw Error{ErrorKind::invalid, "another worker of this process is inside run() already"};
  }
  ends = 0;
  hangup = false;
  poked = false;

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
  for (;;) {
    while (sem_wait(&event.semaphore) != 0) {
    }
    // What came together was counted together: a post may be left that stands for nothing.
    const int count = ends.exchange(0);
    if (poked.exchange(false) || hangup || count > 0) return count;
  }
}

bool ProcessSignals::take_hangup() { return hangup.exchange(false); }

void ProcessSignals::poke() {
  poked = true;
  sem_post(&event.semaphore);
}

}  // namespace tidemill::engine
