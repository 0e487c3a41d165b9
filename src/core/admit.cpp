// How a task begins: the checks and defaults of an enqueue.

#include <string>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/digest.hpp"
#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "core/uuid.hpp"

namespace tidemill::rules {

namespace {

constexpr Duration duration_max = std::chrono::hours{24 * 366 * 100};

[[noreturn]] void refuse(std::string message) { throw Error{ErrorKind::invalid, std::move(message)}; }

/// What is wrong with a name; empty: nothing.
std::string fault_of_name(std::string_view what, std::string_view name) {
  if (name.empty()) return fmt::format("the {} is empty; give it a name such as \"mail\"", what);
  if (name.size() > name_bytes_max) {
    return fmt::format("the {} \"{}…\" has {} bytes; {} are allowed", what, name.substr(0, 40), name.size(),
                       name_bytes_max);
  }
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return fmt::format("the {} has a control character (byte {:#04x}); use printable characters", what,
                         static_cast<unsigned char>(c));
    }
  }
  if (name.front() == ' ' || name.back() == ' ')
    return fmt::format("the {} \"{}\" begins or ends with a blank", what, name);
  return {};
}

/// Collects what is wrong.
class Faults {
 public:
  void add(std::string fault) { all_.push_back(std::move(fault)); }
  void name(std::string_view what, std::string_view name) {
    if (std::string fault = fault_of_name(what, name); !fault.empty()) add(std::move(fault));
  }
  void range(std::string_view what, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      add(fmt::format("{} is {}; it must be from {} to {}", what, value, least, most));
  }
  void duration(std::string_view what, Duration value) {
    if (value < Duration::zero()) add(fmt::format("{} is negative", what));
    if (value > duration_max) add(fmt::format("{} is more than a hundred years", what));
  }
  std::vector<std::string> take() && { return std::move(all_); }

 private:
  std::vector<std::string> all_;
};

State first_state(const EnqueueOptions& options) {
  if (options.held) return State::held;
  if (!options.group.empty()) return State::aggregating;
  return options.run_at || options.delay > Duration::zero() ? State::scheduled : State::pending;
}

}  // namespace

std::size_t bytes_of(const Task& task) noexcept {
  std::size_t bytes = task.kind.size() + task.payload.size();
  for (const auto& [name, value] : task.headers) bytes += name.size() + value.size();
  return bytes;
}

std::string key_of(std::string_view kind, std::string_view payload) {
  std::string text;
  text.reserve(kind.size() + payload.size() + 1);
  text.append(kind).append(1, '\0').append(payload);
  return "sha256:" + sha256_hex(text);
}

void check_name(std::string_view what, std::string_view name) {
  if (std::string fault = fault_of_name(what, name); !fault.empty()) refuse(std::move(fault));
}

std::vector<std::string> faults_of(std::string_view kind, const EnqueueOptions& options) {
  Faults faults;
  faults.name("kind", kind);
  faults.name("queue", options.queue);
  if (!options.id.empty()) faults.name("id", options.id);
  if (!options.group.empty()) faults.name("group", options.group);
  faults.duration("delay", options.delay);
  faults.duration("timeout", options.timeout);
  faults.duration("retention", options.retention);
  if (options.run_at && options.delay != Duration::zero())
    faults.add("delay and run_at are both given; give one of them");
  faults.range("priority", options.priority, -100, 100);
  faults.range("retries_max", options.retries_max, 0, 10'000);
  faults.range("crashes_max", options.crashes_max, 0, 1'000);
  if (!options.group.empty() && (options.run_at || options.delay != Duration::zero() || options.held)) {
    faults.add("a task of a group can't have a delay or start as held");
  }
  if (options.unique) {
    faults.duration("the unique window", options.unique->window);
    if (options.unique->outlives_task && options.unique->window == Duration::zero())
      faults.add("a unique key that outlives its task needs a window");
    if (options.unique->key.size() > 1024) faults.add("the unique key has more than 1024 bytes");
  }
  for (const auto& [name, value] : options.headers) faults.name("header's name", name);
  return std::move(faults).take();
}

void require(const Capabilities& capabilities, Feature feature) {
  if (capabilities.has(feature)) return;
  throw Error{ErrorKind::unsupported, fmt::format("this store has no {}: {}", to_string(feature),
                                                  capabilities.limits.at(feature).text)};
}

void check_queue_name(std::string_view queue) { check_name("queue", queue); }

Task admit(std::string_view kind, std::string payload, const EnqueueOptions& options,
           const Capabilities& capabilities) {
  if (auto faults = faults_of(kind, options); !faults.empty()) refuse(std::move(faults.front()));
  if (options.unique) require(capabilities, Feature::unique);
  if (options.run_at || options.delay > Duration::zero()) require(capabilities, Feature::delay);
  if (options.held) require(capabilities, Feature::hold);
  if (!options.group.empty()) require(capabilities, Feature::groups);
  std::size_t size = kind.size() + payload.size();
  for (const auto& [name, value] : options.headers) size += name.size() + value.size();
  if (size > capabilities.task_bytes_max) {
    refuse(
        fmt::format("payload and headers have {} bytes; this store takes {} a task: put the data elsewhere "
                    "and a reference into the task",
                    size, capabilities.task_bytes_max));
  }

  Task task;
  task.ref.queue = options.queue;
  task.ref.id = options.id.empty() ? to_string(make_uuid()) : options.id;
  task.state = first_state(options);
  task.kind = kind;
  task.payload = std::move(payload);
  task.group = options.group;
  task.headers = options.headers;
  task.priority = options.priority;
  task.retries_max = options.retries_max;
  task.crashes_max = options.crashes_max;
  task.delay = options.delay;
  task.timeout = options.timeout;
  task.retention = options.retention;
  task.run_at = options.run_at;
  task.deadline = options.deadline;
  task.expires_at = options.expires_at;
  task.unique = options.unique;
  if (task.unique && task.unique->key.empty()) task.unique->key = key_of(task.kind, task.payload);
  return task;
}

std::string fault_of(const Task& task, std::size_t bytes_max) {
  if (!allowed(State::gone, task.state)) {
    return fmt::format("a task can't begin as {}; it begins as scheduled, pending, aggregating or held",
                       to_string(task.state));
  }
  if (const std::size_t bytes = bytes_of(task); bytes > bytes_max) {
    return fmt::format(
        "payload, headers and kind have {} bytes, and this store takes {}: put the data elsewhere and a "
        "reference into the task",
        bytes, bytes_max);
  }
  return {};
}

void overwrite(Task& task, const Task& wanted) {
  task.kind = wanted.kind;
  task.payload = wanted.payload;
  task.headers = wanted.headers;
  task.priority = wanted.priority;
  task.retries_max = wanted.retries_max;
  task.crashes_max = wanted.crashes_max;
  task.timeout = wanted.timeout;
  task.retention = wanted.retention;
  task.deadline = wanted.deadline;
  task.expires_at = wanted.expires_at;
}

NewTask draft_of(const Task& task) {
  return {.kind = task.kind,
          .payload = task.payload,
          .options = {.queue = task.ref.queue,
                      .priority = task.priority,
                      .retries_max = task.retries_max,
                      .crashes_max = task.crashes_max,
                      .timeout = task.timeout,
                      .deadline = task.deadline,
                      .expires_at = task.expires_at,
                      .retention = task.retention,
                      .headers = task.headers}};
}

Task edited(const Task& seen, NewTask wanted, const Capabilities& capabilities) {
  // What an edit doesn't touch is not there to be refused.
  wanted.options.queue = seen.ref.queue;
  wanted.options.id = {};
  wanted.options.delay = {};
  wanted.options.run_at = {};
  wanted.options.held = false;
  wanted.options.group = {};
  wanted.options.unique = {};
  Task task = admit(wanted.kind, std::move(wanted.payload), wanted.options, capabilities);
  task.ref = seen.ref;
  task.unique = seen.unique;
  const bool derived = seen.unique && seen.unique->key == key_of(seen.kind, seen.payload);
  if (derived) task.unique->key = key_of(task.kind, task.payload);
  return task;
}

}  // namespace tidemill::rules
