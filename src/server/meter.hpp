#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill::server {

/// How long things took, in Prometheus' way: counts of those that took no longer than each bound.
class Histogram {
 public:
  static constexpr std::array<double, 14> bounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                    0.1,    0.5,   1,      5,     30,   300,   3600};
  void add(Duration duration);
  /// Appends the lines of one series; `labels` is `verb="claim"`.
  void write(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  std::array<std::uint64_t, bounds.size() + 1> counts_{};
  double sum_ = 0;
};

/// Counts what goes to a store and comes back from it.
///
/// Thread safety: all members may be called from any thread.
class Meter {
 public:
  /// One call: what it was, how long it took, and whether it failed.
  void called(std::string_view verb, Duration took, bool failed);
  void enqueued(std::string_view kind);
  /// From when it was due to its claim.
  void claimed(std::string_view kind, Duration waited);
  void ended(std::string_view kind, Tally tally, Duration ran);

  /// The last claim that did not fail; the epoch: none has.
  std::chrono::steady_clock::time_point last_claim() const;
  /// In Prometheus' text format.
  std::string text() const;

 private:
  struct Verb {
    Histogram took;
    std::uint64_t failed = 0;
  };
  struct Kind {
    std::uint64_t enqueued = 0, completed = 0, failed = 0, crashed = 0;
    Histogram waited, ran;
  };
  /// REQUIRES: mutex_ is held.
  Kind& kind_of(std::string_view kind);

  mutable std::mutex mutex_;
  std::map<std::string, Verb, std::less<>> verbs_;      // Guarded by mutex_.
  std::map<std::string, Kind, std::less<>> kinds_;      // Guarded by mutex_.
  std::chrono::steady_clock::time_point last_claim_{};  // Guarded by mutex_.
};

/// A value of a label, between its quotes.
std::string label_value(std::string_view text);

}  // namespace tidemill::server
