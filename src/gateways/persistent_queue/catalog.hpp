#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/persistent_queue.hpp>
#include <tidemill/store.hpp>

namespace tidemill::persistent_queue {

/// The operator's side of one queue: what its rows, and those beside them, can say. Rows with a status that
/// neither Go nor we run are not among its tasks. What the tables have no place for is an Error{unsupported},
/// where it is asked for; a list of such things is empty.
///
/// Rows are listed as they lie in the index tidemill_due: those that wait or run, those marked, the
/// succeeded, the failed, each by start_time and id.
///
/// Thread safety: all members may be called from any thread.
class JobCatalog final : public Catalog {
 public:
  /// Tells a job that runs in this process; false: it doesn't.
  using Tell = std::function<bool(std::uint64_t id, Signal signal)>;
  /// Rows have been changed, so what is known of them is old.
  using Told = std::function<void()>;

  /// The tables must be there.
  JobCatalog(const TableOptions& options, Tell tell, Told told);

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

  std::vector<WorkerInfo> workers(const Call& call) override;
  bool signal(std::string_view worker, Signal signal, const Call& call) override;

  std::vector<StoredSchedule> schedules(std::optional<TimePoint> due_by, const Call& call) override;
  std::vector<bool> put_schedules(std::span<const PutSchedule> puts, const Call& call) override;
  std::size_t erase_schedules(std::span<const std::string> ids, const Call& call) override;

  std::vector<Stat> stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                          const Call& call) override;

 private:
  std::vector<Task> read(const std::string& condition, std::span<const SqlValue> values);
  std::vector<Task> locked(std::span<const Ref> refs);
  std::optional<std::uint64_t> id_of(const Ref& ref) const;
  Changed change_one(const Task& task, const Change& change);

  const SqlHandle db_;
  const std::int32_t type_;
  const std::string queue_;
  const std::string lock_name_;
  const std::int32_t retries_max_;
  const Duration timeout_;
  const Tell tell_;
  const Told told_;
};

}  // namespace tidemill::persistent_queue
