#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <tidemill/inspector.hpp>
#include <tidemill/store.hpp>

#include "stores/server/connection.hpp"
#include "wire/json_read.hpp"

namespace tidemill::server_store {

/// The verbs are in server_store.cpp, the catalogue in catalog.cpp.
class ServerStore final : public Store, public Catalog {
 public:
  explicit ServerStore(Address address);

  std::vector<Enqueued> enqueue(std::span<const Task> tasks, const Call& call, Transaction* inside) override;
  Claimed claim(const Claim& claim, const Call& call) override;
  std::vector<Reported> report(std::span<const Report> reports, const Call& call) override;
  Renewed renew(const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                std::span<const Stat> stats, const Call& call) override;
  Swept sweep(std::string_view, Duration, std::size_t, const Call&) override { return {}; }
  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  TimePoint now() override;
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Catalog* catalog() noexcept override { return this; }

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
  std::string get_body(std::string target, const Call& call);
  std::vector<Changed> act(const Action& action, std::span<const Ref> refs, const Call& call);
  bool put_schedule(const PutSchedule& put, const Call& call);
  /// What `read(root)` makes of an answer. Throws Error{unavailable} when it isn't as it must be.
  template <class Read>
  auto read_answer(const std::string& body, Read read) const;
  [[noreturn]] void refuse_answer(const wire::BadValue& bad) const;

  Connection connection_;
  Capabilities capabilities_;
  std::atomic<std::int64_t> renewed_{0};  ///< The last renewal, in ticks of the steady clock.
};

template <class Read>
auto ServerStore::read_answer(const std::string& body, Read read) const {
  try {
    const wire::JsonDocument document{body, wire::Unknown::ignored};
    return read(document.root());
  } catch (const wire::BadValue& bad) {
    refuse_answer(bad);
  }
}

/// What `read` makes of each element of `items`.
template <class Read>
auto read_items(const wire::JsonValue& root, Read read) {
  std::vector<decltype(read(root))> found;
  for (const auto& [name, value] : root.members()) {
    if (name != "items") continue;
    for (const wire::JsonValue& each : value.elements()) found.push_back(read(each));
  }
  return found;
}

}  // namespace tidemill::server_store
