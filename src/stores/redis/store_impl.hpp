#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/groups.hpp>
#include <tidemill/store.hpp>

#include "drivers/redis/client.hpp"
#include "stores/redis/documents.hpp"
#include "stores/redis/locks.hpp"
#include "stores/redis/record.hpp"
#include "stores/redis/redis_store.hpp"
#include "stores/redis/shared.hpp"
#include "stores/redis/waiter.hpp"

namespace tidemill::redis_store {

/// How many tasks one script works on: some 0.3 ms of Redis.
inline constexpr std::size_t script_tasks = 50;
/// How often a change is tried anew, because its task has moved between look and write.
inline constexpr int tries_max = 10;
/// How often a task is written anew for another one to replace, because that one has changed meanwhile.
inline constexpr int replaces_max = 5;

/// Where a task stands in its state's own order. No id: at the beginning.
struct Spot {
  std::string id = {};
  std::string score = {};  ///< Empty in the list of pending ones.
};

/// The verbs are in files of their names, those of groups in groups.cpp, lists in find.cpp, what operators do
/// in change.cpp, edit.cpp, move.cpp and catalog.cpp.
class RedisStore final : public Store, public Catalog, public Groups {
 public:
  /// Of archived tasks the sweep keeps `archive_max` in each queue; none: all.
  RedisStore(redis::Options options, const Clock* clock, std::optional<std::int64_t> archive_max);
  /// Throws Error{unavailable} when no server answers, or one that is too old.
  void check_server();

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override;
  Claimed claim(const Claim& claim, const Call& call) override;
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override;
  Renewed renew(const tidemill::WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override;
  Swept sweep(std::string_view worker, Duration lease, std::size_t limit, const Call& call) override;
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  TimePoint now() override;
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  std::vector<Concern> concerns() override;
  std::vector<Gauge> gauges() override;
  Catalog* catalog() noexcept override { return this; }
  Locks* locks() noexcept override { return &locks_; }
  Documents* documents() noexcept override { return &documents_; }
  Groups* groups() noexcept override { return this; }

  Gathered gather(const Gather& gather, const Call& call) override;
  std::vector<Reported> settle(std::span<const Settle> ends, const Call& call) override;

  Page find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
            const Call& call) override;
  std::vector<std::optional<Task>> get(std::span<const Ref> refs, const Call& call) override;
  std::vector<Attempt> attempts(const Ref& ref, const Call& call) override;
  std::vector<Changed> change(std::span<const Ref> refs, const Change& change, const Call& call) override;
  Changed edit(const Edit& edit, const Call& call) override;
  std::vector<Changed> move(std::span<const Ref> refs, States from, std::string_view queue,
                            const Call& call) override;
  std::vector<QueueInfo> queues(const Call& call) override;
  void pause(std::string_view queue, bool paused, const Call& call) override;
  Changed erase_queue(std::string_view queue, const Call& call) override;
  std::vector<GroupInfo> groups(std::string_view queue, std::string_view after, std::size_t limit,
                                const Call& call) override;
  std::vector<tidemill::WorkerInfo> workers(const Call& call) override;
  bool signal(std::string_view worker, Signal signal, const Call& call) override;
  std::vector<StoredSchedule> schedules(std::optional<TimePoint> due_by, const Call& call) override;
  std::vector<bool> put_schedules(std::span<const PutSchedule> puts, const Call& call) override;
  std::size_t erase_schedules(std::span<const std::string> ids, const Call& call) override;
  std::vector<Stat> stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                          const Call& call) override;

 private:
  /// The scripts of one call, each with the items of the call that it is about.
  class Batch {
   public:
    Batch(redis::Client& client, const Call& call) : sending_(client, deadline_of(client, call)) {}

    struct Open {
      const redis::Script* script = nullptr;
      std::size_t at = 0;
    };
    std::deque<redis::Command> commands = {};
    std::vector<std::vector<std::size_t>> items = {};
    std::map<std::string_view, Open> open = {};  ///< The script that a queue's next item goes into.

    /// Where the item's arguments go: the queue's last script, unless that is another one or full; then that
    /// goes on its way, and `begin()` is the next.
    template <class Begin>
    redis::Command& take(std::size_t item, std::string_view queue, const redis::Script& script,
                         const Begin& begin) {
      const auto found = open.find(queue);
      if (found == open.end() || found->second.script != &script ||
          items[found->second.at].size() == script_tasks) {
        if (found != open.end()) send(found->second.at);
        open[queue] = {&script, commands.size()};
        commands.push_back(begin());
        items.emplace_back();
      }
      const std::size_t at = open.find(queue)->second.at;
      items[at].push_back(item);
      return commands[at];
    }
    /// Sends the rest, in the order of `commands`, and answers all of them.
    std::vector<redis::Reply> finish();

   private:
    void send(std::size_t at) {
      sending_.add(commands[at]);
      sent_.push_back(at);
    }

    redis::Sending sending_;
    std::vector<std::size_t> sent_ = {};  ///< In this order.
  };

  /// A script's command, with the session of the call; `part` numbers the call's scripts.
  static redis::Command script(const redis::Script& script, std::string_view queue, const Call& call,
                               std::size_t part);
  std::vector<redis::Reply> exec(const std::vector<redis::Command>& commands, const Call& call);
  /// Throws what isn't an answer.
  redis::Reply ask(const redis::Command& command, const Call& call);
  /// The store's time when the answers came.
  TimePoint time_of(const redis::Reply& time) const;
  static redis::Command time_command();
  /// Names the queues to those who list them, if this object has not done so of late.
  std::vector<redis::Command> name_queues(const std::vector<std::string_view>& queues);
  /// They may not be named after all.
  void forget_names(const std::vector<std::string_view>& queues);

  // enqueue.cpp
  /// Why the task can't be taken; empty when it can.
  std::string refusal(const Task& task) const;
  static std::string refusal_of_queue(std::string_view queue);
  /// As it will be stored: what the caller left open is filled in.
  static Task filled(const Task& given, TimePoint now);
  /// What a script's verdict on the task means.
  static Enqueued to_answer(const std::string& verdict, const Task& task);
  void add_task(redis::Command& command, const Task& task, TimePoint now, std::string_view over) const;
  struct Incoming {
    const Task* task = nullptr;  ///< As it will be stored; if plain, as it came.
    bool plain = false;          ///< Known to need Asynq's three fields only.
  };
  std::vector<Enqueued> put_tasks(const std::vector<Incoming>& tasks, const Call& call, std::size_t& part);

  // schedules.cpp
  Enqueued fire(const Task& task, const Call& call, std::size_t& part);
  Enqueued fire_one(const Task& task, const Call& call, std::size_t& part);
  /// Enqueues by a script of firings; `begin_script` makes its command, up to the task.
  redis::Reply put_fired(const Task& task, const Call& call,
                         const std::function<redis::Command()>& begin_script);
  /// The firing as it is stored now; empty when it may not begin.
  std::string begin_firing(const Task& task, std::string_view seen, std::string_view after, const Call& call);
  /// Ends the firing that another has begun, if there is one.
  void settle_firing(const std::string& schedule, const Call& call);
  /// The commands' answers, each about the schedule with this id. Settles what is firing.
  std::vector<std::int64_t> write_schedules(const std::vector<redis::Command>& commands,
                                            const std::vector<std::string_view>& ids, const Call& call);

  // schedules.cpp
  /// The entries of Go's schedulers that are alive.
  std::vector<StoredSchedule> go_schedules(const Call& call);
  /// Tells Go's tools of them, now and then.
  void show_schedules(std::span<const StoredSchedule> all, const Call& call);

  // claim.cpp
  Call share_of(const Call& call, std::size_t queues) const;
  std::vector<redis::Command> claim_commands(const Claim& claim, const Want& want, const Claimed& so_far,
                                             const Call& call, std::size_t& part) const;
  /// Takes over what a script has leased.
  void add_leases(Claimed& answer, const redis::Reply& reply, const Claim& claim, std::string_view queue,
                  const Call& call);
  /// Moves a task whose message doesn't decode to the archive, where it harms nobody.
  void bury(std::string_view queue, const std::string& id, const Call& call);

  // report.cpp
  void add_report(redis::Command& command, const Report& report, const Call& call) const;
  /// How many tasks follow in the same write, and these.
  void add_following(redis::Command& command, const Report& report, const Call& call, std::size_t& part);
  bool holds(const Lease& lease, const Call& call);

  // sweep.cpp
  /// As far as the nodes tell that have the lists, and what was known before.
  std::set<std::string> queues_to_sweep(const Call& call, std::optional<redis::Reply>& trouble);
  redis::Command sweep_command(std::string_view queue, std::string_view worker, Duration length,
                               std::size_t most, const Call& call, std::size_t part) const;
  /// Whether the queue may have more.
  bool take_swept(const redis::Reply& reply, std::string_view queue, Duration length, std::size_t most,
                  const Call& call, Swept& into);

  // groups.cpp
  /// Where a look through the groups of a queue goes on in the next call, and what it has found so far.
  struct Round {
    std::string cursor = "0";
    std::optional<TimePoint> next_due = {};
  };
  using RoundName = std::pair<std::string, std::string>;  ///< Worker and queue.
  struct FoundSet {
    std::string queue = {}, group = {}, id = {};
  };
  /// True when all of the queue's groups have been looked at.
  bool gather_from(std::string_view queue, const Gather& gather, const Call& call, std::size_t& part,
                   Round& round, std::vector<FoundSet>& found);
  std::vector<TaskSet> read_sets(std::span<const FoundSet> found, Duration length, const Call& call);
  Reported settle_one(const Settle& end, const Call& call, std::size_t& part);

  // renew.cpp
  bool cancelled_by_go(const Lease& lease, TimePoint now);

  // change.cpp
  struct Seen {
    Fields fields = {};
    std::optional<Task> task = {};
  };
  static std::optional<Changed> refuse_change(const std::optional<Task>& task, const Change& change);
  void add_change(redis::Command& command, const Seen& seen, const Change& change, const Call& call) const;

  // edit.cpp
  static redis::Command edit_command(const Seen& seen, const Edit& edit, const Call& call, std::size_t part);

  // move.cpp
  class Moves;

  // find.cpp
  std::vector<Seen> look(std::span<const Ref> refs, const Call& call);
  static redis::Command queues_command();
  std::vector<std::string> queue_names(const Call& call);
  /// At most so many, from that one on.
  std::vector<Spot> spots(std::string_view queue, State state, std::string_view group, const Spot& from,
                          std::size_t count, const Call& call);
  std::vector<std::string> group_names(std::string_view queue, const Call& call);

  const Clock* clock_;
  const std::int64_t archive_max_;  // 0: all.
  Capabilities capabilities_;
  redis::Client client_;
  RedisLocks locks_;
  RedisDocuments documents_;
  Waiter waiter_;
  std::mutex mutex_;
  std::map<std::string, std::chrono::steady_clock::time_point, std::less<>> named_;  ///< Guarded by mutex_.
  std::chrono::steady_clock::time_point show_again_{};                               ///< Guarded by mutex_.
  std::set<std::string> swept_;        ///< The queues as they were last listed. Guarded by mutex_.
  std::map<RoundName, Round> rounds_;  ///< Those under way. Guarded by mutex_.
};

}  // namespace tidemill::redis_store
