#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tidemill/handler.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>
#include <tidemill/worker.hpp>
#include <vector>

#include "core/rules.hpp"
#include "engine/store_clock.hpp"

namespace tidemill::engine {

/// Who runs attempts. An attempt keeps its owner alive, since a handler may return late, or never.
class AttemptOwner {
 public:
  virtual ~AttemptOwner() = default;
  /// The store's time.
  virtual TimePoint now() noexcept = 0;
  /// The attempt's outcome is settled; called once, or never if the attempt was abandoned.
  virtual void ended(const std::shared_ptr<detail::Attempt>& attempt, Outcome outcome) noexcept = 0;
  /// A deferred attempt is over, settled or abandoned; called once. Handlers that return don't bring it
  /// about.
  virtual void released(const std::shared_ptr<detail::Attempt>& attempt) noexcept = 0;
};

/// Lines and bytes that an attempt may log, and the bytes of its progress.
inline constexpr std::size_t log_lines_max = 100;
inline constexpr std::size_t log_bytes_max = 16U << 10U;
inline constexpr std::size_t progress_bytes_max = 4U << 10U;

}  // namespace tidemill::engine

namespace tidemill::detail {

/// One attempt at one task: its lease, why it should stop, what its handler said, and how it ended.
///
/// Shared by the handler (through Context and Completion) and the worker. Its outcome is settled exactly
/// once: by what the handler returns, by the completion, or by the worker that abandons it.
///
/// Thread safety: all members may be called from any thread, but for `slot`, which belongs to the pool.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  using Steady = engine::Steady;

  /// `claimed_at` is when the claim was sent.
  Attempt(Lease lease, std::shared_ptr<engine::AttemptOwner> owner, Steady claimed_at, Steady hold_until);
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  const Lease& lease() const noexcept { return lease_; }
  const Task& task() const noexcept { return lease_.task; }

  // ---- The lease ----

  Steady claimed_at() const noexcept { return claimed_at_; }
  /// Until when the lease is ours by our own count.
  Steady hold_until() const noexcept { return hold_until_.load(); }
  void extend(Steady until) noexcept { hold_until_.store(until); }
  /// What the store signalled: cancel or hold, none until then.
  Signal signal() const noexcept { return signal_.load(); }
  void set_signal(Signal signal) noexcept { signal_.store(signal); }
  /// The attempt is marked as started in the store.
  bool marked() const noexcept { return marked_.load(std::memory_order_acquire); }
  void set_marked() noexcept { marked_.store(true, std::memory_order_release); }

  // ---- Running ----

  /// The handler is about to be called.
  void begin(TimePoint now, Steady at, Steady due, StopReason due_reason) noexcept;
  bool begun() const noexcept { return begun_.load(); }
  TimePoint started_at() const noexcept { return started_at_; }
  Steady begun_at() const noexcept { return begun_at_; }
  /// How long it has run; until now, if it isn't settled.
  Duration ran() const noexcept;
  /// When time-out or deadline stop it, and which.
  Steady due() const noexcept { return due_; }
  StopReason due_reason() const noexcept { return due_reason_; }

  // ---- Stopping ----

  /// Why it should stop; the first reason stays, and the answer is whether it was this one. Fires nothing.
  bool stop(StopReason reason, Steady at) noexcept;
  /// Fires the stop token, which runs the callbacks that user code hung on it.
  void fire();
  StopReason stop_reason() const noexcept { return reason_.load(std::memory_order_acquire); }
  /// When it was told to stop.
  Steady stopped_at() const noexcept { return stopped_at_.load(std::memory_order_relaxed); }
  std::stop_token stop_token() const noexcept { return stop_.get_token(); }

  // ---- Ending ----

  /// What left the handler, which returns as failed with that.
  void set_thrown(std::exception_ptr thrown) noexcept;
  /// Null when the outcome is not of that.
  std::exception_ptr thrown() const noexcept;
  /// The handler returned. True if the attempt is over with that; else its completion will end it.
  bool returned(Outcome outcome) noexcept;
  /// A completion for the handler; an empty one if it has one already.
  Completion defer();
  /// The completion was called.
  void complete(Outcome outcome) noexcept;
  /// Settles it without the handler's word, whose later outcome is dropped. False if it is settled already.
  bool abandon() noexcept;
  bool settled() const noexcept { return settled_.load(std::memory_order_acquire); }
  bool abandoned() const noexcept { return abandoned_.load(std::memory_order_acquire); }

  // ---- What the handler says ----

  void log(Level level, std::string_view text);
  void progress(std::string_view text);
  /// What is new since the last call, for a beat.
  void take_news(Beat& beat);
  /// The beat did not arrive: its news go with the next.
  void put_back(Beat beat);
  /// The lines that no beat has carried, and how many were left out.
  std::vector<LogLine> last_logs();

  std::size_t slot = 0;  ///< While it has one.

 private:
  /// False if it was settled before. REQUIRES: mutex_ is held.
  bool settle() noexcept;

  const Lease lease_;
  const std::shared_ptr<engine::AttemptOwner> owner_;
  const Steady claimed_at_;
  std::atomic<Steady> hold_until_;
  std::atomic<Signal> signal_{Signal::none};
  std::atomic<bool> marked_{false};

  // Written by `begin`, before begun_ is set.
  TimePoint started_at_{};
  Steady begun_at_{};
  Steady due_ = Steady::max();
  StopReason due_reason_ = StopReason::none;
  std::atomic<bool> begun_{false};
  std::atomic<Steady> settled_at_{Steady{}};

  std::atomic<Steady> stopped_at_{Steady{}};
  std::atomic<StopReason> reason_{StopReason::none};
  std::stop_source stop_;

  mutable std::mutex mutex_;
  std::atomic<bool> settled_{false};    // Written under mutex_.
  std::atomic<bool> abandoned_{false};  // Written under mutex_.
  bool deferred_ = false;               // A completion was given out. From here on guarded by mutex_.
  bool completed_ = false;              // It was called.
  bool returned_ = false;               // The handler returned.
  std::optional<Outcome> early_;        // The completion's, called before the handler returned.
  std::exception_ptr thrown_;
  std::vector<LogLine> logs_;  // Not carried by a beat yet.
  std::size_t log_lines_ = 0, log_bytes_ = 0, left_out_ = 0;
  std::string progress_;
  bool progress_is_new_ = false;
};

}  // namespace tidemill::detail

namespace tidemill::engine {

/// Calls the handler and turns what leaves it into an outcome; throws nothing.
Outcome run_handler(const Handler& handler, const std::shared_ptr<detail::Attempt>& attempt) noexcept;

/// The report of an attempt that ran, by the policy of its kind or else the worker's. Unless the handler was
/// given up, the worker's `is_failure` is asked.
Report conclude(const detail::Attempt& attempt, const Outcome& outcome, const Router& router,
                const WorkerOptions& options);
/// Whether `on_error` is to be told of what `report` ends.
bool failed(const Report& report) noexcept;
/// Tells the worker's `on_error`, if there is one.
void tell_of_error(const WorkerOptions& options, const detail::Attempt& attempt,
                   std::string_view error) noexcept;

/// An attempt that was run in the caller's own thread. `report` refers to the attempt's lease.
struct RanHere {
  std::shared_ptr<detail::Attempt> attempt;
  Outcome outcome = Outcome::deferred();  ///< Deferred: it did not start.
  Report report = {};
};

/// Runs one lease from its checks (deadline, expiry, unknown kind) to its report by the rules that `Worker`
/// has, in this thread; waits for a deferred outcome.
RanHere run_here(Lease lease, const Router& router, const WorkerOptions& options, StoreClock& clock);

}  // namespace tidemill::engine
