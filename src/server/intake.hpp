#pragma once

#include <functional>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include <tidemill/client.hpp>

#include "engine/batcher.hpp"
#include "server/idempotency.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// Takes tasks in: single ones share their commit with whatever else has come meanwhile, so that many
/// connections have the store's bulk speed.
///
/// Thread safety: `begin` may be called from any thread.
class Intake {
 public:
  /// All must outlive it. `tasks_max`: in one request.
  Intake(Service& service, std::size_t tasks_max, Later later);

  void add_routes(Routes& routes);
  /// Sends what it has taken. May be called twice.
  void close() { singles_.close(); }

 private:
  /// A request for a single task, on its way to a commit that it shares.
  struct Single {
    NewTask task;
    http::Answer answer;
  };
  using TaskOrProblem = std::variant<NewTask, Problem>;

  void begin(const Ask& ask, const http::Answer& answer);
  void flush(std::span<Single> batch);
  http::Response enqueue_once(const Ask& ask, NewTask task);
  http::Response enqueue_many(std::vector<TaskOrProblem>&& tasks, const std::string& seed);
  std::vector<TaskOrProblem> read_lines(const Ask& ask) const;
  std::vector<TaskOrProblem> read_array(const Ask& ask, const wire::JsonValue& array) const;
  void check_count(std::size_t count) const;

  Service& service_;
  Idempotency idempotency_;
  const std::size_t tasks_max_;
  const Later later_;
  engine::Batcher<Single> singles_;
};

}  // namespace tidemill::server
