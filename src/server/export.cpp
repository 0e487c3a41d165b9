#include "server/export.hpp"

#include <fmt/format.h>

#include "server/fields.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

constexpr std::int64_t tasks_max = 100'000;
constexpr std::size_t page_tasks = 200;
constexpr std::size_t chunk_bytes = 256U << 10U;
/// Each holds a thread, and other requests need some too.
constexpr std::size_t running_max = 2;

std::string line_of(const Task& task, const Fields& fields) {
  std::string line;
  json::Writer writer{line};
  wire::write_task(writer, task, wire::Detail::full);
  return (fields.all() ? line : fields.narrow(line)) + '\n';
}

}  // namespace

/// One that is under way: among those that `close` cuts, and an end to its stream whatever happens.
class Exports::Running {
 public:
  explicit Running(Exports& exports) : exports_(exports) {
    const std::lock_guard lock{exports_.mutex_};
    if (exports_.closed_) throw Problem{503, "shutting_down", "the server is stopping"};
    if (exports_.running_.size() >= running_max) {
      throw Problem{429,
                    "too_many_streams",
                    fmt::format("{} exports run already; try again when one has ended", running_max),
                    {},
                    {{"Retry-After", "10"}}};
    }
    exports_.running_.insert(stream);
  }
  ~Running() {
    stream->end();
    const std::lock_guard lock{exports_.mutex_};
    exports_.running_.erase(stream);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  const std::shared_ptr<http::Stream> stream = std::make_shared<http::Stream>();

 private:
  Exports& exports_;
};

void Exports::add_routes(Routes& routes) {
  routes.add(
      {.method = "GET",
       .pattern = "/api/v1/tasks/export",
       .summary = "All tasks that match, up to 100,000, one a line; the last line, _end, says how many",
       .roles = operators,
       .parameters = with_filter({"limit", "fields"}),
       .fields = wire::task_fields(),
       .begin = [this](Ask&& ask, const http::Answer& answer) {
         later_([this, ask = std::move(ask), answer] { return run(ask, answer); }, answer);
       }});
}

void Exports::close() {
  const std::lock_guard lock{mutex_};
  closed_ = true;
  for (const auto& stream : running_) stream->end();
}

/// What is wrong with the request is found with the first page, before the answer begins.
http::Response Exports::run(const Ask& ask, const http::Answer& answer) {
  TaskQuery query{.filter = filter_of(service_, ask), .limit = page_tasks};
  (void)ask.number("limit", tasks_max, 1, tasks_max);
  const Running running{*this};
  Page page = get_page(service_, query);
  answer({200, "application/x-ndjson", {}, "", running.stream});
  try {
    send(ask, std::move(query), std::move(page), *running.stream);
  } catch (const Error& error) {
    // The reader misses the last line, and knows that it is cut.
    service_.log.warning("an export was cut", {{"why", error.what()}});
  }
  return {};  // It has been answered.
}

void Exports::send(const Ask& ask, TaskQuery query, Page page, http::Stream& stream) const {
  const Fields fields{ask.parameter("fields")};
  const auto most = static_cast<std::size_t>(ask.number("limit", tasks_max, 1, tasks_max));
  std::size_t count = 0;
  bool complete = true;
  std::string lines;
  for (;;) {
    for (const Task& task : page.tasks) {
      if (!ask.caller.may_use(task.ref.queue)) continue;
      complete = count < most;
      if (!complete) break;
      ++count;
      lines += line_of(task, fields);
      if (lines.size() < chunk_bytes) continue;
      if (!stream.write_or_wait(lines)) return;
      lines.clear();
    }
    const bool stuck = page.tasks.empty() && page.next == query.cursor;
    complete = complete && !(stuck && !page.next.empty());
    if (!complete || page.next.empty()) break;
    query.cursor = std::move(page.next);
    page = service_.inspector.tasks(query);
  }
  lines += wire::object([&](json::Writer& writer) {
    wire::member_object(writer, "_end", [&] {
      writer.member("n", count);
      writer.member("complete", complete);
    });
  });
  stream.write_or_wait(lines + '\n');
}

}  // namespace tidemill::server
