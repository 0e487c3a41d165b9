#pragma once

#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>

#include "wire/json_read.hpp"

/// Queues, workers, schedules and statistics as the API shows them. `…_members` are without the brackets.
namespace tidemill::wire {

void write_queue(json::Writer& writer, const QueueInfo& queue);
void write_queue_members(json::Writer& writer, const QueueInfo& queue);
/// The names of the members that these have.
std::vector<std::string> queue_fields();
std::vector<std::string> worker_fields();
std::vector<std::string> schedule_fields();
/// This and the other readers throw BadValue.
QueueInfo read_queue(const JsonValue& value);

void write_group(json::Writer& writer, const GroupInfo& group);
GroupInfo read_group(const JsonValue& value);

void write_worker(json::Writer& writer, const WorkerInfo& worker);
void write_worker_members(json::Writer& writer, const WorkerInfo& worker);
WorkerInfo read_worker(const JsonValue& value);

void write_schedule(json::Writer& writer, const ScheduleInfo& info);
void write_schedule_members(json::Writer& writer, const ScheduleInfo& info);
/// The members that `read_schedule` reads.
void write_schedule_rule(json::Writer& writer, const Schedule& schedule);
/// {"id":…,"spec":…,"task":{…}} and what else a `Schedule` has.
Schedule read_schedule(const JsonValue& value);
/// As it is shown: also one whose rule could not be read, and has an id only.
ScheduleInfo read_schedule_info(const JsonValue& value);

void write_stat(json::Writer& writer, const Stat& stat);
Stat read_stat(const JsonValue& value);

}  // namespace tidemill::wire
