#pragma once

#include <cstddef>
#include <memory>

#include <tidemill/handler.hpp>

#include "deliver/options.hpp"

namespace tidemill::deliver {

/// A handler that runs the command in its own thread, until it has ended.
///
/// The payload is the command's input, its output the result, and each line on stderr a line of the attempt's
/// log. It finds TIDEMILL_ID, TIDEMILL_QUEUE, TIDEMILL_KIND, TIDEMILL_ATTEMPT, TIDEMILL_HEADER_<NAME> and, if
/// the task has a header `traceparent`, TRACEPARENT in its environment. Exit code 0 is a success, 65 an
/// archive, 69 a snooze, all else a failure.
///
/// Throws Error{invalid} when `delivery` names no command, or both ways.
Handler command_handler(const CommandDelivery& delivery);

/// Threads that run commands for a worker that has more slots than there shall be processes: its handlers
/// defer, and wait for one of these threads. One that is stopped while it waits ends at once and starts
/// nothing.
///
/// Thread safety: all members may be called from any thread.
class CommandPool {
 public:
  /// At most so many commands run at once; at least one.
  explicit CommandPool(std::size_t threads);
  /// Stops what runs, and fails what waits. So the worker is to be stopped first; a handler that is called
  /// later fails.
  ~CommandPool();
  CommandPool(const CommandPool&) = delete;
  CommandPool& operator=(const CommandPool&) = delete;

  /// As `command_handler`, on a thread of the pool. May outlive the pool.
  Handler handler(CommandDelivery delivery);

 private:
  class Queue;
  std::shared_ptr<Queue> queue_;
  struct Threads;
  std::unique_ptr<Threads> threads_;
};

}  // namespace tidemill::deliver
