// What a console shows first.
#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <optional>

#include "server/notices.hpp"
#include "server/queue_view.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

constexpr std::size_t queues_shown = 20;
constexpr Duration marks_shown = std::chrono::hours{24};

/// When the next of them is due, and how many are overdue.
void write_schedules(json::Writer& writer, const Snapshot& snapshot, const std::vector<Finding>& findings) {
  std::optional<TimePoint> next;
  for (const ScheduleInfo& info : snapshot.schedules) {
    if (info.paused || info.read_only) continue;
    next = std::min(next.value_or(info.next), info.next);
  }
  wire::member_object(writer, "schedules", [&] {
    wire::member_time(writer, "next_at", next);
    writer.member("missed", std::ranges::count(findings, "schedule_overdue", &Finding::code));
  });
}

void write_workers(json::Writer& writer, const Snapshot& snapshot) {
  std::int64_t busy = 0;
  std::int64_t slots = 0;
  std::size_t running = 0;
  std::size_t lost = 0;
  for (const WorkerInfo& worker : snapshot.workers) {
    const bool silent = is_silent(worker, snapshot.now);
    lost += silent ? 1 : 0;
    if (silent) continue;
    running += worker.state == "running" ? 1 : 0;
    busy += worker.busy;
    slots += worker.slots;
  }
  wire::member_object(writer, "slots", [&] {
    writer.member("busy", busy);
    writer.member("total", slots);
  });
  wire::member_object(writer, "workers", [&] {
    writer.member("running", running);
    writer.member("lost", lost);
  });
}

void write_backlog(json::Writer& writer, const std::vector<QueueInfo>& queues) {
  std::uint64_t backlog = 0;
  for (const QueueInfo& queue : queues) backlog += backlog_of(queue);
  writer.member("backlog", backlog);
  const auto oldest = std::ranges::max_element(queues, {}, &QueueInfo::oldest);
  if (oldest == queues.end() || oldest->oldest <= Duration::zero()) return;
  wire::member_object(writer, "oldest", [&] {
    writer.member("queue", oldest->name);
    writer.member("ms", wire::milliseconds(oldest->oldest));
  });
}

http::Response overview(const Service& service, Notices& notices, const Ask& ask) {
  const QueueView view{service, ask.caller, false};
  Snapshot rest{.now = view.snapshot().now};
  const auto sent = std::chrono::steady_clock::now();
  if (service.store.capabilities().has(Feature::schedules)) rest.schedules = service.inspector.schedules();
  rest.answer = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - sent);
  std::erase_if(rest.schedules,
                [&](const ScheduleInfo& each) { return !ask.caller.may_use(each.schedule.options.queue); });
  std::vector<Finding> attention = store_findings(service.store);
  for (const auto& more : {not_fine(examine(rest)), view.findings()})
    attention.insert(attention.end(), more.begin(), more.end());
  const std::size_t muted = notices.take_muted(attention);
  std::ranges::stable_sort(attention, std::greater{}, &Finding::verdict);
  const auto marks = notices.marks(rest.now - marks_shown, rest.now + Duration{1});
  std::vector<QueueInfo> queues = view.queues();
  std::ranges::stable_sort(queues, std::greater{}, backlog_of);
  queues.resize(std::min(queues.size(), queues_shown));
  return json_answer(
      200, wire::object([&](json::Writer& writer) {
        view.write_rates(writer);
        write_backlog(writer, view.queues());
        write_workers(writer, view.snapshot());
        write_schedules(writer, rest, attention);
        writer.key("attention");
        wire::write_array(writer, attention, write_attention);
        writer.member("muted", muted);
        writer.key("marks");
        wire::write_array(writer, marks, write_mark);
        writer.key("queues");
        wire::write_array(writer, queues,
                          [&](json::Writer& out, const QueueInfo& queue) { view.write(out, queue); });
        writer.key("stores");
        wire::write_array(writer, std::array{rest.answer}, [](json::Writer& out, Duration answer) {
          out.open('{');
          out.member("reachable", true);
          out.member("answer_ms", wire::milliseconds(answer));
          out.close('}');
        });
      }));
}

}  // namespace

void add_overview_route(Routes& routes, Service& service, Notices& notices) {
  routes.add(
      {.method = "GET",
       .pattern = "/api/v1/overview",
       .summary = "Rates, backlog, workers, schedules, what wants attention, and the fullest 20 queues",
       .roles = viewers,
       .handle = [&service, &notices](const Ask& ask) { return overview(service, notices, ask); }});
}

}  // namespace tidemill::server
