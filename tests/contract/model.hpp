#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/documents.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/locks.hpp>

#include "contract.hpp"
#include "describe.hpp"

namespace tidemill::contract {

/// Two stores gave different answers to the same call.
class Mismatch : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Does the same random calls to two stores and compares every answer. All chance comes from the seed, so
/// that a run can be repeated.
///
/// The world is small on purpose (few ids, keys, schedules and workers), so that calls meet each other.
class Model {
 public:
  Model(std::uint64_t seed, Store& reference, Store& subject, TestClock& clock);

  /// One random call to both. Answers how many items it was about. Throws Mismatch.
  std::size_t step();
  /// Compares all that can be read. Throws Mismatch.
  void compare_everything();
  /// The last calls and the reference's answers.
  std::string tail() const;
  /// How often the reference gave each answer: a run that never met one has not compared it.
  const std::map<std::string, std::size_t>& met() const { return met_; }

 private:
  /// The same lease, as each store gave it.
  struct Pair {
    Lease reference = {};
    Lease subject = {};
  };
  struct SetPair {
    TaskSet reference = {};
    TaskSet subject = {};
  };
  enum class Side : std::uint8_t { reference, subject };
  using Ask = std::function<std::string(Store&, Side)>;

  // ---- Chance ----
  std::uint64_t draw();
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(draw() % limit); }
  bool chance(std::size_t percent) { return below(100) < percent; }
  Duration duration(Duration most) {
    return Duration{static_cast<std::int64_t>(below(static_cast<std::size_t>(most.count())))};
  }
  std::string name(const char* prefix, std::size_t count) { return prefix + std::to_string(below(count)); }
  template <class T, std::size_t N>
  T one_of(const std::array<T, N>& values) {
    return values[below(N)];
  }
  Ref ref() { return {name("q", 3), name("t", 300)}; }
  std::vector<Ref> refs();
  Task task();
  Unique unique();
  Firing firing();
  std::vector<LogLine> lines();
  States states();

  // ---- Calls ----
  Call call() { return {.now = clock_.now(), .session = 1, .number = ++calls_, .deadline = {}}; }
  void meet(const std::string& answer, Side side) {
    if (side == Side::reference) ++met_[answer];
  }
  void both(const std::string& what, const Ask& ask);
  void check(const std::string& what, const std::string& expected, const std::string& got);
  void keep_leases(const std::vector<Lease>& reference, const std::vector<Lease>& subject,
                   const std::string& what);
  const Lease& side_of(const Pair& pair, Side side) const {
    return side == Side::reference ? pair.reference : pair.subject;
  }
  Report report_of(std::size_t pair);

  std::size_t enqueue();
  std::size_t claim();
  std::size_t report();
  std::size_t renew();
  std::size_t sweep();
  std::size_t change();
  std::size_t edit();
  std::size_t move();
  std::size_t pause();
  std::size_t erase_queue();
  std::size_t signal();
  std::size_t schedules();
  std::size_t gather();
  std::size_t settle();
  std::size_t locks();
  std::size_t documents();
  std::size_t look();
  std::size_t find();
  std::size_t advance();
  void compare_list(const Filter& filter, std::size_t limit, const std::string& what);

  std::uint64_t state_;
  std::uint64_t calls_ = 0;
  Store& reference_;
  Store& subject_;
  TestClock& clock_;
  std::vector<Pair> leases_;
  std::vector<SetPair> sets_;
  std::vector<LockInfo> locks_;   ///< As they were acquired; the same in both.
  std::set<std::string> tokens_;  ///< Of both stores, ever: none may come twice.
  std::optional<TimePoint> next_due_;
  std::deque<std::string> log_;
  std::map<std::string, std::size_t> met_;
};

}  // namespace tidemill::contract
