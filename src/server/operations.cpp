#include "server/operations.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "server/plan.hpp"
#include "wire/action_json.hpp"
#include "wire/task_filter.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view queue = own_queue;
constexpr std::string_view kind = "tidemill:operation";
constexpr Duration kept = std::chrono::hours{24 * 7};
constexpr std::size_t samples = 5;

constexpr std::string_view example =
    R"({"action":"run","q":"state:archived queue:mail","rate_per_s":500,"reason":"the relay is back"})";
constexpr std::string_view backfill_example =
    R"({"from":"2024-11-01T00:00:00Z","to":"2024-11-08T00:00:00Z","max":1000,"dry_run":true})";

std::string_view state_of(const Task& task) {
  switch (task.state) {
    case State::active:
      return "running";
    case State::held:
      return "paused";
    case State::completed:
      return "done";
    case State::archived:
      return task.reason == "cancelled" ? "cancelled" : "failed";
    default:
      return "waiting";
  }
}

/// Of the tasks that it is about; empty: of all queues.
std::string queue_of(const Plan& plan) {
  return plan.ids.empty() && !plan.backfill ? wire::parse_filter(plan.q).queue : plan.queue;
}

void check_access(const Caller& caller, const std::string& queue_name) {
  queue_name.empty() ? caller.check_all_queues() : caller.check_queue(queue_name);
}

/// The server's own work stays in its queue, so the tasks must be of another one.
void check_move(const Caller& caller, const std::string& from, const std::string& to) {
  if (from.empty()) throw wire::BadValue{"/q", "names no queue to move from; add queue:NAME"};
  if (from == to) throw wire::BadValue{"/params/queue", "is the queue that the tasks are in"};
  caller.check_tasks_of(from);
  caller.check_tasks_of(to);
}

void write_operation(json::Writer& writer, const Task& task) {
  const Plan plan = plan_of(task);
  const Counts counts = read_counts(task.state == State::completed ? task.result : task.progress);
  writer.open('{');
  writer.member("id", task.ref.id);
  write_plan(writer, plan);
  writer.member("state", state_of(task));
  wire::member_time(writer, "created_at", task.created_at);
  wire::member_time(writer, "started_at", task.started_at);
  wire::member_time(writer, "finished_at", task.ended_at);
  writer.member("changed", counts.changed);
  writer.member("skipped", counts.skipped);
  wire::member_text(writer, "error", task.error);
  writer.close('}');
}

std::string describe(const Task& task) {
  std::string text;
  json::Writer writer{text};
  write_operation(writer, task);
  return text;
}

std::vector<Ref> refs_of(const Plan& plan) {
  std::vector<Ref> refs;
  for (const std::string& id : plan.ids) refs.push_back({plan.queue, id});
  return refs;
}

}  // namespace

Operations::Operations(Service& service) : service_(service), idempotency_(service) {
  router_.handle(kind, [this](Context& context) { return carry_out(context); });
  worker_ = std::make_unique<Worker>(service.store, router_,
                                     WorkerOptions{.queues = {{.name = std::string{queue}}},
                                                   .concurrency = 2,
                                                   .shutdown_timeout = Duration::zero(),
                                                   .log = service.log});
}

Operations::~Operations() { close(); }

void Operations::close() { worker_->stop(); }

/// Starting over is harmless: what has been changed is in a state that the act leaves alone, or as it would
/// make it.
Outcome Operations::carry_out(Context& context) const {
  const Task& task = context.task();
  const Plan plan = plan_of(task);
  if (plan.backfill) return carry_out_backfill(context);
  const Counts before = read_counts(task.progress);
  Counts counts = before;
  if (!plan.ids.empty()) {
    const std::vector<Ref> refs = refs_of(plan);
    for (const Changed answer : service_.inspector.act(action_of(plan), refs)) {
      ++(answer == Changed::changed || answer == Changed::signalled ? counts.changed : counts.skipped);
    }
    return Outcome::success(text_of(counts));
  }
  const Filter filter = wire::parse_filter(plan.q);
  std::size_t done = 0;
  service_.inspector.act(action_of(plan), filter, step_of(plan), [&](const BulkResult& result) {
    counts = {before.changed + result.changed, before.skipped + result.unchanged};
    context.progress(text_of(counts));
    if (context.stop_requested()) return false;
    const std::size_t now = result.changed + result.unchanged;
    return keep_rate(context, plan, now - std::exchange(done, now));
  });
  if (context.stop_requested()) return Outcome::failure("stopped before it was through");
  return Outcome::success(text_of(counts));
}

http::Response Operations::create(const Ask& ask) {
  const auto document = ask.body();
  Plan plan = read_plan(document.root());
  if (plan.backfill || !plan.schedule.empty() || plan.from != TimePoint{} || plan.to != TimePoint{}) {
    throw wire::BadValue{"/action",
                         fmt::format("is made by POST {}/schedules/{{id}}/backfill, and not here", prefix)};
  }
  if (!plan.by.empty()) throw wire::BadValue{"/by", "is said by the token; leave it out"};
  plan.by = ask.caller.name;
  if (!plan.ids.empty() && plan.queue.empty())
    throw wire::BadValue{"/queue", "is missing; ids are unique within their queue only"};
  if (!plan.ids.empty() && !plan.q.empty()) throw wire::BadValue{"/q", "give either q or ids"};
  Filter filter;
  try {
    filter = wire::parse_filter(plan.q, service_.inspector.now());
  } catch (const wire::FilterError& error) {
    throw Problem{400, "bad_filter", error.what(), {{"/q", error.what()}}, {}, error.column()};
  }
  if (plan.ids.empty() && !plan.everything && wire::format_filter(filter).empty())
    throw wire::BadValue{"/q", "is empty; send \"everything\":true if all tasks are meant"};
  const std::string& source = plan.ids.empty() ? filter.queue : plan.queue;
  check_access(ask.caller, source);
  const Action action = wire::to_action(*plan.act, plan.params, service_.inspector.now(), "/params");
  plan.params = {.run_at = action.run_at, .queue = action.queue};
  if (action.act == Act::move) check_move(ask.caller, source, action.queue);
  if (plan.ids.empty()) {
    // Tasks that come later are left alone, however long it takes.
    const TimePoint now = service_.inspector.now();
    filter.created_before = std::min(filter.created_before.value_or(now), now);
    plan.q = wire::format_filter(filter);
  }
  if (plan.dry_run) {
    Page page;
    if (plan.ids.empty()) {
      page = service_.inspector.tasks({.filter = filter, .limit = 1000});
    } else {
      for (auto& task : service_.inspector.tasks(refs_of(plan))) {
        if (task) page.tasks.push_back(std::move(*task));
      }
    }
    return json_answer(200, list_of(
                                std::span{page.tasks}.first(std::min(page.tasks.size(), samples)),
                                [](json::Writer& writer, const Task& task) {
                                  wire::write_task(writer, task, wire::Detail::brief);
                                },
                                [&](json::Writer& writer) {
                                  wire::member_object(writer, "estimate", [&] {
                                    writer.member("n", page.tasks.size());
                                    writer.member("exact", page.next.empty());
                                  });
                                }));
  }
  const std::string text = wire::object([&](json::Writer& writer) { write_plan(writer, plan); });
  return idempotency_.run(ask, [&](const std::string& seed) { return enqueue(text, seed); });
}

http::Response Operations::enqueue(const std::string& plan, const std::string& seed) {
  const EnqueueOptions options{.queue = std::string{queue},
                               .id = seed.empty() ? "" : id_of(seed, 0),
                               .crashes_max = 1000,  // To stop a server is no fault of the operation.
                               .timeout = Duration::zero(),
                               .retention = kept};
  const Enqueued made = service_.client.enqueue(kind, plan, options);
  http::Response response = json_answer(202, describe(get_task(service_, {std::string{queue}, made.id})));
  response.headers.emplace_back("Location", fmt::format("{}/operations/{}", prefix, made.id));
  return response;
}

Task Operations::find(const Ask& ask) const {
  auto task = service_.inspector.task({std::string{queue}, ask.path[0]});
  if (!task || task->kind != kind)
    throw Problem{404, "not_found", fmt::format("there is no operation {}", ask.path[0])};
  check_access(ask.caller, queue_of(plan_of(*task)));
  return std::move(*task);
}

http::Response Operations::list(const Ask& ask) {
  Page page = get_page(service_, {.filter = {.queue = std::string{queue}, .kind = std::string{kind}},
                                  .cursor = std::string{ask.parameter("cursor")},
                                  .limit = static_cast<std::size_t>(ask.number("limit", 50, 1, 1000))});
  std::erase_if(page.tasks, [&](const Task& task) {
    const std::string of = queue_of(plan_of(task));
    return of.empty() ? !ask.caller.queues.empty() : !ask.caller.may_use(of);
  });
  return json_answer(200, list_of(page.tasks, write_operation, [&](json::Writer& writer) {
                       writer.member("next", page.next.empty() ? std::optional<std::string>{} : page.next);
                     }));
}

http::Response Operations::show(const Ask& ask) { return json_answer(200, describe(find(ask))); }

http::Response Operations::control(const Ask& ask, Act act) {
  const Task task = find(ask);
  const Changed answer = service_.inspector.act(act, task.ref);
  if (answer == Changed::wrong_state)
    throw Problem{409, "wrong_state", fmt::format("the operation is {}", state_of(task))};
  if (answer == Changed::absent)
    throw Problem{404, "not_found", fmt::format("there is no operation {}", task.ref.id)};
  if (answer == Changed::failed) throw Problem{503, "store_unavailable", "nothing was changed; try again"};
  return json_answer(answer == Changed::signalled ? 202 : 200, describe(find(ask)));
}

void Operations::add_routes(Routes& routes) {
  routes.add({.method = "POST",
              .pattern = "/api/v1/operations",
              .summary = fmt::format("Act on all tasks that match and exist now: {}",
                                     fmt::join(action_names(), ", ")),
              .roles = operators,
              .body = std::string{example},
              .handle = [this](const Ask& ask) { return create(ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/operations",
              .summary = "Operations; those that have ended are kept for seven days",
              .roles = viewers,
              .parameters = {"limit", "cursor", "fields"},
              .handle = [this](const Ask& ask) { return list(ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/operations/{id}",
              .summary = "An operation, and how far it is",
              .roles = viewers,
              .parameters = {"fields"},
              .handle = [this](const Ask& ask) { return show(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/schedules/{id}/backfill",
              .summary = "Enqueue the schedule's task for each of its instants in a time that is past",
              .roles = operators,
              .body = std::string{backfill_example},
              .handle = [this](const Ask& ask) { return backfill(ask); }});
  struct Verb {
    const char* name;
    Act act;
    const char* summary;
  };
  static constexpr std::array verbs = {
      Verb{"pause", Act::hold, "Stop an operation until it is resumed"},
      Verb{"resume", Act::resume, "Go on with an operation"},
      Verb{"cancel", Act::cancel, "End an operation; what it has done stays done"}};
  for (const auto& [name, act, summary] : verbs) {
    routes.add({.method = "POST",
                .pattern = fmt::format("/api/v1/operations/{{id}}/{}", name),
                .summary = summary,
                .roles = operators,
                .handle = [this, asked = act](const Ask& ask) { return control(ask, asked); }});
  }
}

}  // namespace tidemill::server
