#include "stores/sql/task.hpp"

#include <fmt/format.h>

#include "core/rules.hpp"
#include "stores/sql/layout.hpp"

namespace tidemill::sql_store {

std::string fault_of(const Task& task, std::size_t bytes_max) {
  if (task.priority < -priority_most || task.priority > priority_most) {
    return fmt::format("the priority is {}; it must be from {} to {}", task.priority, -priority_most,
                       priority_most);
  }
  if (task.ref.queue.empty() || task.ref.id.empty() || task.kind.empty())
    return "queue, id and kind must not be empty";
  return rules::fault_of(task, bytes_max);
}

std::size_t bytes_of(std::span<const Task> tasks) {
  std::size_t bytes = 0;
  for (const Task& task : tasks) bytes += rules::bytes_of(task);
  return bytes;
}

bool usual(const Task& task) {
  return task.priority == 0 && task.retries_max == usual_retries_max &&
         task.crashes_max == usual_crashes_max && task.timeout.count() == usual_timeout &&
         task.retention == Duration::zero() && !task.deadline && !task.expires_at && !task.unique &&
         task.group.empty() && task.headers.empty();
}

TimePoint at_of(const Task& task, TimePoint now) {
  return task.state == State::scheduled ? task.run_at.value_or(now + task.delay) : now;
}

}  // namespace tidemill::sql_store
