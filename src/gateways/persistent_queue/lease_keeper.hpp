#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include <tidemill/log.hpp>

#include "gateways/persistent_queue/lease_row.hpp"

namespace tidemill::persistent_queue {

using Steady = std::chrono::steady_clock::time_point;

/// Holds a lease: a thread renews it, and competes for it once told to. Whether it is held is a matter of the
/// steady clock: from when the last call that succeeded was sent, the length, less a second as the database
/// cuts those off, less the margin.
///
/// A release by one of Go's nodes, which doesn't look whose the lease is, sets its end to 25 s after
/// locked_at: so each renewal writes that too, and comes often enough to be there before.
///
/// Thread safety: all members may be called from any thread.
class LeaseKeeper {
 public:
  struct Options {
    std::chrono::seconds length{30};
    Duration renew = std::chrono::seconds{8};
    Duration margin = std::chrono::seconds{5};
    Duration contest = std::chrono::seconds{1};  ///< Between two attempts, once it competes.
    std::chrono::seconds least{0};
    Log log = {};
  };
  /// How it came to be held.
  struct Term {
    std::uint64_t epoch = 0;  ///< One more with each time that anybody of ours takes it; 0: not held.
    bool after_loss = false;  ///< From somebody who had not released it.
    Steady began{};
  };
  /// Called by the keeper's thread, once it has the row, for the term: may ask the database, may throw.
  using Begin = std::function<Term(const std::optional<LeaseRow::State>& before)>;
  /// Called when a term begins or ends, by whatever thread; must not block.
  using Told = std::function<void()>;

  LeaseKeeper(LeaseRow row, Options options, Begin begin, Told told);
  /// Stops renewing; releases nothing.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// From now on the thread takes it whenever it is free.
  void compete();
  /// One attempt, or true if it is held. Throws Error.
  bool try_acquire();
  /// Ends the term and gives the row free if it is ours. False if it was not. Throws Error.
  bool release();
  /// Ends the thread.
  void stop();

  /// None if the lease is not held at this moment, or for less than `room` more.
  std::optional<Term> term(Duration room = {}) const;
  /// The epoch of the term that has not been lost, also when its time is in doubt; 0: there is none.
  std::uint64_t epoch() const;
  /// Fires when the term is lost, or its time has run out.
  std::stop_token lost() const;
  const LeaseRow& row() const noexcept { return row_; }

 private:
  void loop();
  void renew();
  bool acquire();
  void end_term(std::string_view why);
  void say_failed(const std::string& what, const std::string& why);
  Duration pause() const;
  bool competes() const;

  LeaseRow row_;
  const Options options_;
  const Begin begin_;
  const Told told_;

  std::mutex acting_;  ///< One at a time takes, renews or releases.
  /// The row as it was before it became ours, until the term has begun. Guarded by acting_.
  std::optional<LeaseRow::State> before_ = {};
  std::string waits_for_ = {};  ///< Who holds it, once that is logged. Guarded by acting_.
  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  // Guarded by mutex_:
  Term term_ = {};
  Steady until_{};
  std::stop_source lost_;
  bool competes_ = false;
  bool stopping_ = false;
  std::string trouble_ = {};

  std::thread thread_;
};

}  // namespace tidemill::persistent_queue
