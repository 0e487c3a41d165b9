#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gateways/persistent_queue/jobs.hpp"

namespace tidemill::persistent_queue {

/// What one process knows of its rows: those that wait, in the order to run them, and those in flight, which
/// are claimed by it. A row is in one of both at most.
///
/// Thread safety: none; its owner's mutex guards it.
class Line {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  struct Flight {
    std::uint64_t epoch = 0;
    Steady heard{};  ///< When its worker last said that it has it.
    int running = 0;
    Signal signal = Signal::none;  ///< What an operator asks of it.
  };

  /// All that waits, anew; what is in flight is left out.
  void replace(const std::vector<Waiting>& rows);
  void add(const Waiting& row);
  void clear() { waiting_.clear(), known_.clear(); }

  /// Takes up to `count` that are due at `now` off the line, but none whose id is `held_up_to` or less.
  std::vector<Waiting> take(std::int64_t now, std::size_t count, std::uint64_t held_up_to);
  /// How many of them there are, counted up to `most`.
  std::size_t ready(std::int64_t now, std::size_t most, std::uint64_t held_up_to) const;
  /// When the next one behind `now` is due.
  std::optional<std::int64_t> next_due(std::int64_t now) const;

  void take_off(std::uint64_t id, std::uint64_t epoch, Steady now);
  void land(std::uint64_t id) { flights_.erase(id); }
  Flight* flight(std::uint64_t id);
  /// Those whose worker has not been heard of since then, and that do not run: it has forgotten them.
  void forget_before(Steady then);

  std::size_t waiting() const noexcept { return waiting_.size(); }
  std::size_t in_flight() const noexcept { return flights_.size(); }
  std::vector<std::uint64_t> flying() const;

 private:
  using Place = std::pair<std::int64_t, std::uint64_t>;  // Order and id.
  std::map<Place, Waiting> waiting_;
  std::unordered_map<std::uint64_t, std::int64_t> known_;  // The order of each that waits.
  std::unordered_map<std::uint64_t, Flight> flights_;
};

}  // namespace tidemill::persistent_queue
