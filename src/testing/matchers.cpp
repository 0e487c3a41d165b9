#include <utility>

#include <fmt/format.h>

#include <tidemill/inspector.hpp>
#include <tidemill/testing.hpp>

namespace tidemill::testing {

namespace {

/// Tests are small; a store with more than this in it should not fill the message of a failed assertion.
constexpr std::size_t listed_max = 20;
constexpr std::size_t payload_shown_max = 60;

std::vector<Task> find_all(Store& store, const Filter& filter) {
  Inspector inspector{store};
  std::vector<Task> tasks;
  TaskQuery query{.filter = filter, .limit = 1000};
  do {
    Page page = inspector.tasks(query);
    for (Task& task : page.tasks) tasks.push_back(std::move(task));
    query.cursor = std::move(page.next);
  } while (!query.cursor.empty());
  return tasks;
}

std::string describe(const Task& task) {
  const bool cut = task.payload.size() > payload_shown_max;
  return fmt::format("{} in queue {}, {}, payload {}{}", task.kind, task.ref.queue, to_string(task.state),
                     task.payload.substr(0, payload_shown_max), cut ? "…" : "");
}

std::string describe(const Expected& expected) {
  std::string text = expected.kind.empty() ? "any kind" : fmt::format("kind {}", expected.kind);
  if (!expected.queue.empty()) text += fmt::format(", queue {}", expected.queue);
  if (expected.state) text += fmt::format(", state {}", to_string(*expected.state));
  if (!expected.payload_contains.empty())
    text += fmt::format(", payload with \"{}\"", expected.payload_contains);
  return text;
}

std::string list(const std::vector<Task>& tasks) {
  if (tasks.empty()) return "the store is empty";
  std::string text = "there are:";
  for (std::size_t i = 0; i < tasks.size() && i < listed_max; ++i) text += "\n  " + describe(tasks[i]);
  if (tasks.size() > listed_max) text += fmt::format("\n  and {} more", tasks.size() - listed_max);
  return text;
}

std::string wanted_count(const Expected& expected) {
  if (expected.count_most == expected.count_least) return fmt::format("{}", expected.count_least);
  if (expected.count_most == static_cast<std::size_t>(-1))
    return fmt::format("at least {}", expected.count_least);
  return fmt::format("{} to {}", expected.count_least, expected.count_most);
}

}  // namespace

std::vector<Task> tasks_of(Store& store, const Expected& expected) {
  Filter filter{.queue = expected.queue, .kind = expected.kind};
  if (expected.state) filter.states = States{*expected.state};
  std::vector<Task> tasks = find_all(store, filter);
  std::erase_if(tasks, [&](const Task& task) {
    return task.payload.find(expected.payload_contains) == std::string::npos;
  });
  return tasks;
}

Match has_task(Store& store, const Expected& expected) {
  const std::size_t found = tasks_of(store, expected).size();
  if (found >= expected.count_least && found <= expected.count_most) return {true, {}};
  return {false, fmt::format("expected {} of {}; found {}; {}", wanted_count(expected), describe(expected),
                             found, list(find_all(store, {})))};
}

Match has_no_task(Store& store, const Expected& expected) {
  const std::vector<Task> found = tasks_of(store, expected);
  if (found.empty()) return {true, {}};
  return {false, fmt::format("expected none of {}; {}", describe(expected), list(found))};
}

}  // namespace tidemill::testing
