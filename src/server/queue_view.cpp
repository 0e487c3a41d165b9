#include "server/queue_view.hpp"

#include <algorithm>
#include <chrono>

#include "wire/admin_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

/// Rates are of the minute that runs and these before it.
constexpr auto rate_minutes = 4min;
constexpr std::size_t spark_points = 30;

bool wants(const Fields& fields, std::initializer_list<std::string_view> names) {
  return fields.all() || std::ranges::any_of(names, [&](std::string_view name) { return fields.has(name); });
}

}  // namespace

void Outcomes::add(const Stat& stat) {
  completed += stat.success;
  failed += stat.failure;
  crashed += stat.crash;
}

std::uint64_t backlog_of(const QueueInfo& queue) {
  return queue.count(State::pending) + queue.count(State::scheduled) + queue.count(State::retry);
}

std::vector<QueueInfo> queues_of(const Service& service, const Caller& caller) {
  std::vector<QueueInfo> queues = service.inspector.queues();
  std::erase_if(queues, [&](const QueueInfo& queue) { return !caller.may_use(queue.name); });
  return queues;
}

std::vector<WorkerInfo> workers_of(const Service& service, const Caller& caller) {
  std::vector<WorkerInfo> found = service.inspector.workers();
  std::erase_if(found, [&](const WorkerInfo& worker) {
    return !caller.queues.empty() && std::ranges::none_of(worker.queues, [&](const auto& queue) {
      return caller.may_use(queue.first);
    });
  });
  return found;
}

std::vector<Finding> not_fine(std::vector<Finding> findings) {
  std::erase_if(findings, [](const Finding& each) { return each.verdict == Verdict::fine; });
  return findings;
}

void write_attention(json::Writer& writer, const Finding& finding) {
  writer.open('{');
  writer.member("check", finding.check);
  wire::member_text(writer, "code", finding.code);
  writer.member("level", to_string(finding.verdict));
  writer.member("text", finding.what);
  wire::member_text(writer, "advice", finding.advice);
  wire::member_text(writer, "target", finding.target);
  wire::member_time(writer, "since", finding.since);
  writer.close('}');
}

QueueView::QueueView(const Service& service, const Caller& caller, bool spark, const Fields& fields)
    : snapshot_{.now = service.inspector.now(),
                .queues = queues_of(service, caller),
                .workers = wants(fields, {"workers", "slots", "warnings"}) ? workers_of(service, caller)
                                                                           : std::vector<WorkerInfo>{}},
      findings_(not_fine(examine(snapshot_))),
      spark_(spark) {
  for (const Finding& each : findings_) {
    if (each.check == "queues" || each.check == "archive") warnings_[each.target].push_back(each);
  }
  const auto minute = std::chrono::floor<std::chrono::minutes>(snapshot_.now);
  const TimePoint rates_from = minute - rate_minutes;
  first_minute_ = minute - std::chrono::minutes{spark_points - 1};
  rate_seconds_ = std::chrono::duration<double>(snapshot_.now - rates_from).count();
  if (!wants(fields, {"rates", "spark"})) return;
  for (const Stat& stat : service.inspector.stats(Span::minute, spark ? first_minute_ : rates_from,
                                                  minute + std::chrono::minutes{1})) {
    if (stat.at >= rates_from) recent_[stat.queue].add(stat);
    if (!spark) continue;
    std::vector<Outcomes>& points = minutes_[stat.queue];
    points.resize(spark_points);
    points[static_cast<std::size_t>((stat.at - first_minute_) / 1min)].add(stat);
  }
}

void QueueView::write_rates(json::Writer& writer, const Outcomes& outcomes) const {
  const auto a_second = [&](std::uint64_t count) { return static_cast<double>(count) / rate_seconds_; };
  wire::member_object(writer, "rates", [&] {
    writer.member("completed", a_second(outcomes.completed));
    writer.member("failed", a_second(outcomes.failed));
    writer.member("crashed", a_second(outcomes.crashed));
  });
}

void QueueView::write_rates(json::Writer& writer) const {
  Outcomes sum;
  for (const QueueInfo& queue : queues()) {
    const auto found = recent_.find(queue.name);
    if (found == recent_.end()) continue;
    sum.completed += found->second.completed;
    sum.failed += found->second.failed;
    sum.crashed += found->second.crashed;
  }
  write_rates(writer, sum);
}

void QueueView::write_spark(json::Writer& writer, const std::string& queue) const {
  const auto found = minutes_.find(queue);
  const std::vector<Outcomes> points =
      found == minutes_.end() ? std::vector<Outcomes>(spark_points) : found->second;
  wire::member_object(writer, "spark", [&] {
    wire::member_time(writer, "from", first_minute_);
    writer.member("step_ms", wire::milliseconds(Duration{1min}));
    writer.key("completed");
    wire::write_array(writer, points,
                      [](json::Writer& out, const Outcomes& each) { out.write(each.completed); });
    writer.key("failed");
    wire::write_array(writer, points,
                      [](json::Writer& out, const Outcomes& each) { out.write(each.failed + each.crashed); });
  });
}

void QueueView::write(json::Writer& writer, const QueueInfo& queue) const {
  writer.open('{');
  wire::write_queue_members(writer, queue);
  const auto recent = recent_.find(queue.name);
  write_rates(writer, recent == recent_.end() ? Outcomes{} : recent->second);
  std::size_t serving = 0;
  std::int64_t slots = 0;
  for (const WorkerInfo& worker : snapshot_.workers) {
    if (!serves(worker, queue.name, snapshot_.now)) continue;
    ++serving;
    slots += worker.slots;
  }
  writer.member("workers", serving);
  wire::member_object(writer, "slots", [&] {
    writer.member("busy", queue.count(State::active));
    writer.member("total", slots);
  });
  const auto warnings = warnings_.find(queue.name);
  writer.key("warnings");
  wire::write_array(writer, warnings == warnings_.end() ? std::vector<Finding>{} : warnings->second,
                    write_attention);
  if (spark_) write_spark(writer, queue.name);
  writer.close('}');
}

}  // namespace tidemill::server
