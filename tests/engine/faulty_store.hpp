#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/locks.hpp>
#include <tidemill/store.hpp>

namespace tidemill::tests {

enum class Verb : unsigned char { enqueue, claim, report, renew, sweep, wait, now, lock, gather, settle };

enum class Fault : unsigned char {
  none,
  before,  ///< The call never arrives.
  after,   ///< It is done, and the answer gets lost; a repeat of the call gets it.
  hang,    ///< It is done when the store is healed.
};

/// A store in front of another, whose calls fail as a test says.
///
/// Thread safety: all members may be called from any thread.
class FaultyStore : public Store {
 public:
  /// `inner` must outlive it.
  explicit FaultyStore(Store& inner) : inner_(inner) {}

  /// The next `times` calls of this verb fail; all of them, if it is negative.
  void fail(Verb verb, Fault fault, int times = -1) {
    const std::lock_guard lock{mutex_};
    faults_.at(index(verb)) = {fault, times};
  }
  void heal() {
    {
      const std::lock_guard lock{mutex_};
      faults_ = {};
    }
    changed_.notify_all();
  }
  void heal(Verb verb) {
    {
      const std::lock_guard lock{mutex_};
      faults_.at(index(verb)) = {};
    }
    changed_.notify_all();
  }
  /// From now on nobody reaches the leases of this queue; none: all are reached again.
  void lose_queue(std::string queue) {
    const std::lock_guard lock{mutex_};
    lost_queue_ = std::move(queue);
  }
  int calls(Verb verb) const {
    const std::lock_guard lock{mutex_};
    return calls_.at(index(verb));
  }
  /// Every wish of every claim, in the order of the claims.
  std::vector<std::vector<std::string>> claimed_queues() const {
    const std::lock_guard lock{mutex_};
    return claimed_queues_;
  }
  std::size_t largest_claim() const {
    const std::lock_guard lock{mutex_};
    return largest_claim_;
  }

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override {
    return through(Verb::enqueue, [&] { return inner_.enqueue(tasks, call, inside); });
  }
  Claimed claim(const Claim& claim, const Call& call) override {
    {
      const std::lock_guard lock{mutex_};
      std::vector<std::string> names;
      for (const Want& want : claim.wants) names.emplace_back(want.queue);
      claimed_queues_.push_back(std::move(names));
      largest_claim_ = std::max(largest_claim_, claim.count_max);
    }
    return once(Verb::claim, call, lost_claims_, [&] { return inner_.claim(claim, call); });
  }
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override {
    return once(Verb::report, call, lost_reports_, [&] { return inner_.report(reports, call); });
  }
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override {
    const auto is_lost = [lost = lost_queue()](const Beat& beat) {
      return beat.lease->task.ref.queue == lost;
    };
    std::vector<Beat> reached;
    std::ranges::remove_copy_if(beats, std::back_inserter(reached), is_lost);
    Renewed answer = through(Verb::renew, [&] { return inner_.renew(worker, reached, lease, stats, call); });
    for (std::size_t i = 0; i < beats.size(); ++i) {
      if (is_lost(beats[i]))
        answer.leases.insert(answer.leases.begin() + static_cast<std::ptrdiff_t>(i), Signal::unknown);
    }
    return answer;
  }
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override {
    return through(Verb::sweep, [&] { return inner_.sweep(worker, lease, limit, call); });
  }
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override {
    return through(Verb::wait, [&] { return inner_.wait(worker, queues, timeout, std::move(stop)); });
  }
  TimePoint now() override {
    return through(Verb::now, [&] { return inner_.now(); });
  }
  const Capabilities& capabilities() const noexcept override { return inner_.capabilities(); }
  Catalog* catalog() noexcept override { return inner_.catalog(); }
  Locks* locks() noexcept override { return &locks_; }
  Documents* documents() noexcept override { return inner_.documents(); }
  Groups* groups() noexcept override { return has_groups ? &groups_ : nullptr; }

  bool has_groups = true;

 private:
  using CallName = std::pair<std::uint64_t, std::uint64_t>;
  /// All verbs of the inner store's locks are Verb::lock.
  class FaultyLocks : public Locks {
   public:
    explicit FaultyLocks(FaultyStore& owner) : owner_(owner) {}
    LockInfo acquire(std::string_view name, std::string_view owner, Duration length,
                     const Call& call) override {
      return owner_.through(Verb::lock, [&] { return inner().acquire(name, owner, length, call); });
    }
    bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                const Call& call) override {
      return owner_.through(Verb::lock, [&] { return inner().extend(name, owner, fence, length, call); });
    }
    bool release(std::string_view name, std::string_view owner, std::uint64_t fence,
                 const Call& call) override {
      return owner_.through(Verb::lock, [&] { return inner().release(name, owner, fence, call); });
    }
    std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override {
      return owner_.through(Verb::lock, [&] { return inner().list(after, limit, call); });
    }

   private:
    Locks& inner() { return *owner_.inner_.locks(); }
    FaultyStore& owner_;
  };
  class FaultyGroups : public Groups {
   public:
    explicit FaultyGroups(FaultyStore& owner) : owner_(owner) {}
    Gathered gather(const Gather& gather, const Call& call) override {
      return owner_.once(Verb::gather, call, owner_.lost_gathers_,
                         [&] { return inner().gather(gather, call); });
    }
    std::vector<Reported> settle(std::span<const Settle> ends, const Call& call) override {
      return owner_.once(Verb::settle, call, owner_.lost_reports_,
                         [&] { return inner().settle(ends, call); });
    }

   private:
    Groups& inner() { return *owner_.inner_.groups(); }
    FaultyStore& owner_;
  };
  struct Plan {
    Fault fault = Fault::none;
    int times = 0;
  };

  std::string lost_queue() const {
    const std::lock_guard lock{mutex_};
    return lost_queue_;
  }
  static std::size_t index(Verb verb) { return static_cast<std::size_t>(verb); }

  Fault next(Verb verb) {
    std::unique_lock lock{mutex_};
    ++calls_.at(index(verb));
    Plan& plan = faults_.at(index(verb));
    if (plan.fault == Fault::none || plan.times == 0) return Fault::none;
    if (plan.fault == Fault::hang) {
      changed_.wait(lock, [&] { return plan.fault != Fault::hang; });
      return Fault::none;
    }
    if (plan.times > 0) --plan.times;
    return plan.fault;
  }

  template <class F>
  std::invoke_result_t<F> through(Verb verb, F&& call) {
    const Fault fault = next(verb);
    if (fault == Fault::before) throw Error{ErrorKind::unavailable, "the test says that the store is away"};
    auto answer = call();
    if (fault == Fault::after) throw Error{ErrorKind::unavailable, "the test says that the answer is lost"};
    return answer;
  }

  /// As a store does that keeps the last answer of each session.
  template <class Answer, class F>
  Answer once(Verb verb, const Call& name, std::map<CallName, Answer>& lost, F&& call) {
    const Fault fault = next(verb);
    if (fault == Fault::before) throw Error{ErrorKind::unavailable, "the test says that the store is away"};
    {
      const std::lock_guard lock{mutex_};
      if (const auto found = lost.find({name.session, name.number}); found != lost.end())
        return found->second;
    }
    Answer answer = call();
    if (fault != Fault::after) return answer;
    const std::lock_guard lock{mutex_};
    lost[{name.session, name.number}] = std::move(answer);
    throw Error{ErrorKind::unknown_outcome, "the test says that the answer is lost"};
  }

  Store& inner_;
  FaultyLocks locks_{*this};
  FaultyGroups groups_{*this};
  mutable std::mutex mutex_;  // Guards all below.
  std::condition_variable changed_;
  std::array<Plan, 10> faults_{};
  std::array<int, 10> calls_{};
  std::map<CallName, Claimed> lost_claims_;
  std::map<CallName, Gathered> lost_gathers_;
  std::map<CallName, std::vector<Reported>> lost_reports_;
  std::vector<std::vector<std::string>> claimed_queues_;
  std::size_t largest_claim_ = 0;
  std::string lost_queue_;
};

}  // namespace tidemill::tests
