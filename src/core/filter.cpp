#include "core/filter.hpp"

namespace tidemill {

namespace {

bool matches_kind(const std::string& pattern, const std::string& kind) {
  if (pattern.empty()) return true;
  if (pattern.back() != '*') return kind == pattern;
  return kind.starts_with(std::string_view{pattern}.substr(0, pattern.size() - 1));
}

}  // namespace

bool matches(const Filter& filter, const Task& task) {
  const auto contains = [&](const std::string& field) {
    return field.find(filter.text) != std::string::npos;
  };
  return (filter.queue.empty() || task.ref.queue == filter.queue) && matches_kind(filter.kind, task.kind) &&
         task.ref.id.starts_with(filter.id) && (filter.group.empty() || task.group == filter.group) &&
         filter.states.has(task.state) &&
         (filter.text.empty() || contains(task.ref.id) || contains(task.payload) || contains(task.error)) &&
         (!filter.created_from || (task.created_at && *task.created_at >= *filter.created_from)) &&
         (!filter.created_before || (task.created_at && *task.created_at < *filter.created_before));
}

}  // namespace tidemill
