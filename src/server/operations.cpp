#include "server/operations.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/transitions.hpp"
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
/// Of an event stream's operations.
constexpr std::size_t told_max = 100;
constexpr States open =
    States{State::scheduled} + State::pending + State::active + State::retry + State::held;

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

/// Of the tasks that it is about; none: all.
std::vector<std::string> queues_of(const Plan& plan) {
  std::vector<std::string> queues;
  if (!plan.queue.empty()) queues.push_back(plan.queue);
  for (const Ref& ref : plan.refs) queues.push_back(ref.queue);
  if (!queues.empty() || plan.q.empty()) return queues;
  if (auto of = wire::parse_filter(plan.q).queue; !of.empty()) queues.push_back(std::move(of));
  return queues;
}

void check_access(const Caller& caller, const Plan& plan) {
  const auto queues = queues_of(plan);
  if (queues.empty()) caller.check_all_queues();
  for (const std::string& queue_name : queues) caller.check_tasks_of(queue_name);
}

/// One for each queue that is meant. The server's own is not: an operation would end itself or others.
std::vector<Filter> filters_of(const Service& service, const Filter& filter) {
  if (!filter.queue.empty()) return {filter};
  std::vector<Filter> filters;
  for (QueueInfo& each : service.inspector.queues()) {
    if (each.name == own_queue) continue;
    filters.push_back(filter);
    filters.back().queue = std::move(each.name);
  }
  return filters;
}

BulkResult sum(BulkResult a, const BulkResult& b) {
  a.changed += b.changed;
  a.unchanged += b.unchanged;
  a.failed += b.failed;
  a.failures.insert(a.failures.end(), b.failures.begin(), b.failures.end());
  return a;
}

bool may_see(const Caller& caller, const Plan& plan) {
  const auto queues = queues_of(plan);
  if (queues.empty()) return caller.queues.empty();
  return std::ranges::all_of(queues, [&](const std::string& each) { return caller.may_use(each); });
}

/// The server's own work stays in its queue, so the tasks must be of another one.
void check_move(const Caller& caller, const Plan& plan, const std::string& to) {
  const auto queues = queues_of(plan);
  if (queues.empty()) throw wire::BadValue{"/q", "names no queue to move from; add queue:NAME"};
  for (const std::string& from : queues) {
    if (from == to) throw wire::BadValue{"/params/queue", "is the queue that the tasks are in"};
    caller.check_tasks_of(from);
  }
  caller.check_tasks_of(to);
}

std::vector<Ref> refs_of(const Plan& plan) {
  std::vector<Ref> refs;
  for (const std::string& id : plan.ids) refs.push_back({plan.queue, id});
  refs.insert(refs.end(), plan.refs.begin(), plan.refs.end());
  return refs;
}

}  // namespace

Operations::Operations(Service& service) : service_(service), idempotency_(service), notes_(service.store) {
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
  std::size_t noted = 0;
  // Those that have failed before are met again.
  if (!notes_.get(task.ref.id).failures.empty())
    notes_.change(task.ref.id, [](OperationNote& note) { note.failures.clear(); });
  const auto take_in = [&](const BulkResult& result) {
    counts.changed = before.changed + result.changed;
    counts.skipped = before.skipped + result.unchanged - result.failed;
    counts.failed = result.failed;
    if (result.failures.size() == std::exchange(noted, result.failures.size())) return;
    notes_.change(task.ref.id, [&](OperationNote& note) { note.failures = result.failures; });
  };
  if (const std::vector<Ref> refs = refs_of(plan); !refs.empty()) {
    const auto answers = service_.inspector.act(action_of(plan), refs);
    BulkResult result;
    for (std::size_t i = 0; i < refs.size(); ++i) result.add(refs[i], answers[i]);
    take_in(result);
    return Outcome::success(text_of(counts));
  }
  const Pace pace{notes_, task.ref.id, plan};
  std::size_t done = 0;
  BulkResult total;  // Of the queues before.
  const auto progress = [&](BulkResult& result) {
    const BulkResult so_far = sum(total, result);
    take_in(so_far);
    context.progress(text_of(counts));
    if (context.stop_requested()) return false;
    const std::size_t now = so_far.changed + so_far.unchanged;
    const bool goes_on = pace.keep(context, now - std::exchange(done, now));
    result.step = pace.step();
    return goes_on;
  };
  for (const Filter& filter : filters_of(service_, wire::parse_filter(plan.q))) {
    total = sum(std::move(total), service_.inspector.act(action_of(plan), filter, pace.step(), progress));
    if (context.stop_requested()) break;
  }
  if (context.stop_requested()) return Outcome::failure("stopped before it was through");
  return Outcome::success(text_of(counts));
}

/// As it stands in answers.
void Operations::write(json::Writer& writer, const Task& task, const OperationNote& note) const {
  Plan plan = plan_of(task);
  plan.rate = note.rate.value_or(plan.rate);
  const Counts counts = read_counts(task.state == State::completed ? task.result : task.progress);
  writer.open('{');
  writer.member("id", task.ref.id);
  write_plan(writer, plan);
  writer.member("state", state_of(task));
  wire::member_time(writer, "created_at", task.created_at);
  if (task.state == State::scheduled) wire::member_time(writer, "start_after", task.run_at);
  wire::member_time(writer, "started_at", task.started_at);
  wire::member_time(writer, "finished_at", task.ended_at);
  writer.member("changed", counts.changed);
  writer.member("skipped", counts.skipped);
  writer.member("failed", counts.failed);
  wire::member_text(writer, "error", task.error);
  writer.close('}');
}

std::string Operations::describe(const Task& task) const {
  std::string text;
  json::Writer writer{text};
  write(writer, task, notes_.get(task.ref.id));
  return text;
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
  if (plan.ids.empty() != plan.queue.empty()) {
    throw wire::BadValue{"/queue", plan.ids.empty() ? "goes with ids; write queue:NAME in q"
                                                    : "is missing; ids are unique within their queue only"};
  }
  const bool listed = !plan.ids.empty() || !plan.refs.empty();
  if (listed && !plan.q.empty()) throw wire::BadValue{"/q", "give either q or ids"};
  if (!plan.ids.empty() && !plan.refs.empty()) throw wire::BadValue{"/refs", "give either refs or ids"};
  if (listed && plan.created_before)
    throw wire::BadValue{"/created_before", "goes with q; what is listed is meant whenever it was made"};
  Filter filter;
  try {
    filter = wire::parse_filter(plan.q, service_.inspector.now());
  } catch (const wire::FilterError& error) {
    throw Problem{400, "bad_filter", error.what(), {{"/q", error.what()}}, {}, error.column()};
  }
  plan.q = wire::format_filter(filter);
  if (!listed && !plan.everything && plan.q.empty())
    throw wire::BadValue{"/q", "is empty; send \"everything\":true if all tasks are meant"};
  check_access(ask.caller, plan);
  const Action action = wire::to_action(*plan.act, plan.params, service_.inspector.now(), "/params");
  plan.params = {.run_at = action.run_at, .queue = action.queue};
  if (action.act == Act::move) check_move(ask.caller, plan, action.queue);
  if (!listed) {
    // Tasks that come later are left alone, however long it takes.
    for (const TimePoint end : {service_.inspector.now(), plan.created_before.value_or(TimePoint::max())})
      filter.created_before = std::min(filter.created_before.value_or(end), end);
    plan.q = wire::format_filter(filter);
  }
  if (plan.dry_run) {
    Page page;
    if (!listed) {
      page = service_.inspector.tasks({.filter = filter, .limit = 1000});
      std::erase_if(page.tasks, [](const Task& task) { return task.ref.queue == own_queue; });
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
  return enqueue(ask, plan);
}

http::Response Operations::enqueue(const Ask& ask, const Plan& plan) {
  const std::string text = wire::object([&](json::Writer& writer) { write_plan(writer, plan); });
  return idempotency_.run(ask, [&](const std::string& seed) {
    const EnqueueOptions options{.queue = std::string{queue},
                                 .id = seed.empty() ? "" : id_of(seed, 0),
                                 .delay = plan.start_after,
                                 .crashes_max = 1000,  // To stop a server is no fault of the operation.
                                 .timeout = Duration::zero(),
                                 .retention = kept};
    const Enqueued made = service_.client.enqueue(kind, text, options);
    http::Response response = json_answer(202, describe(get_task(service_, {std::string{queue}, made.id})));
    response.headers.emplace_back("Location", fmt::format("{}/operations/{}", prefix, made.id));
    return response;
  });
}

Task Operations::find(const Ask& ask) const {
  auto task = service_.inspector.task({std::string{queue}, ask.path[0]});
  if (!task || task->kind != kind)
    throw Problem{404, "not_found", fmt::format("there is no operation {}", ask.path[0])};
  check_access(ask.caller, plan_of(*task));
  return std::move(*task);
}

http::Response Operations::list(const Ask& ask) {
  Page page = get_page(service_, {.filter = {.queue = std::string{queue}, .kind = std::string{kind}},
                                  .cursor = std::string{ask.parameter("cursor")},
                                  .limit = static_cast<std::size_t>(ask.number("limit", 50, 1, 1000))});
  std::erase_if(page.tasks, [&](const Task& task) { return !may_see(ask.caller, plan_of(task)); });
  std::vector<std::string> ids;
  for (const Task& task : page.tasks) ids.push_back(task.ref.id);
  const auto notes = notes_.get(ids);
  const auto fill = [&, next = notes.begin()](json::Writer& writer, const Task& task) mutable {
    write(writer, task, *next++);
  };
  return json_answer(200, list_of(page.tasks, fill, [&](json::Writer& writer) {
                       writer.member("next", page.next.empty() ? std::optional<std::string>{} : page.next);
                     }));
}

Operations::UnderWay Operations::under_way(const std::set<std::string>& also) const {
  std::vector<Task> tasks =
      service_.inspector
          .tasks({.filter = {.queue = std::string{queue}, .kind = std::string{kind}, .states = open},
                  .limit = told_max})
          .tasks;
  std::set<std::string> missing = also;
  UnderWay all;
  for (const Task& task : tasks) {
    missing.erase(task.ref.id);
    all.ids.insert(task.ref.id);
  }
  std::vector<Ref> refs;
  for (const std::string& id : missing) refs.push_back({std::string{queue}, id});
  for (auto& task : service_.inspector.tasks(refs)) {
    if (task) tasks.push_back(std::move(*task));
  }
  for (const Task& task : tasks) all.texts.emplace(task.ref.id, describe(task));
  return all;
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

http::Response Operations::set_rate(const Ask& ask) {
  struct Body {
    std::optional<std::int64_t> rate = {};
  };
  static constexpr std::array members = {wire::JsonMember<Body>{
      "rate_per_s",
      [](Body& b, const wire::JsonValue& v) { b.rate = v.is_null() ? 0 : v.integer(1, rate_max); }}};
  const auto document = ask.body();
  Body body;
  wire::read_members<Body>(document.root(), body, members);
  if (!body.rate) throw wire::BadValue{"/rate_per_s", "is missing; null: as fast as it goes"};
  const Task task = find(ask);
  if (is_over(task.state))
    throw Problem{409, "wrong_state", fmt::format("the operation is {}", state_of(task))};
  notes_.change(task.ref.id, [&](OperationNote& note) { note.rate = body.rate; });
  return json_answer(200, describe(task));
}

http::Response Operations::list_failures(const Ask& ask) {
  const Task task = find(ask);
  const Plan plan = plan_of(task);
  const auto failures = notes_.get(task.ref.id).failures;
  const auto fill = [&](json::Writer& writer, const BulkResult::Failure& each) {
    const Problem why = refusal_of(service_, "", each.ref, each.why, plan.params.queue);
    writer.open('{');
    writer.member("queue", each.ref.queue);
    writer.member("id", each.ref.id);
    writer.member("code", why.code);
    writer.member("detail", why.detail);
    writer.close('}');
  };
  return json_answer(200, list_of(failures, fill));
}

/// A new operation: what has been done since to those that were changed is not done again.
http::Response Operations::retry_failed(const Ask& ask) {
  const Task task = find(ask);
  if (!is_over(task.state)) {
    throw Problem{409, "wrong_state",
                  fmt::format("the operation is {}; it must have ended, or be cancelled", state_of(task))};
  }
  Plan plan = plan_of(task);
  const OperationNote note = notes_.get(task.ref.id);
  if (note.failures.empty())
    throw Problem{409, "wrong_state", "no task is known that the operation failed with"};
  plan.q.clear();
  plan.ids.clear();
  plan.queue.clear();
  plan.refs.clear();
  plan.everything = false;
  for (const BulkResult::Failure& each : note.failures) plan.refs.push_back(each.ref);
  plan.by = ask.caller.name;
  return enqueue(ask, plan);
}

void Operations::add_routes(Routes& routes) {
  const std::vector<std::string> fields = {
      "id",          "action",     "params",      "schedule", "from",       "to",     "q",     "ids",
      "queue",       "refs",       "rate_per_s",  "reason",   "everything", "by",     "state", "created_at",
      "start_after", "started_at", "finished_at", "changed",  "skipped",    "failed", "error"};
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
              .fields = fields,
              .handle = [this](const Ask& ask) { return list(ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/operations/{id}",
              .summary = "An operation, and how far it is",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = fields,
              .handle = [this](const Ask& ask) { return show(ask); }});
  routes.add({.method = "PATCH",
              .pattern = "/api/v1/operations/{id}",
              .summary = "Change the rate of an operation, also of one that runs; null: as fast as it goes",
              .roles = operators,
              .body = R"({"rate_per_s":100})",
              .handle = [this](const Ask& ask) { return set_rate(ask); }});
  routes.add({.method = "GET",
              .pattern = "/api/v1/operations/{id}/failures",
              .summary =
                  "The tasks that an operation could not change though it applies to them, and why: the "
                  "first 1000",
              .roles = viewers,
              .parameters = {"fields"},
              .fields = {"queue", "id", "code", "detail"},
              .handle = [this](const Ask& ask) { return list_failures(ask); }});
  routes.add({.method = "POST",
              .pattern = "/api/v1/operations/{id}/retry_failed",
              .summary = "The same once more, as a new operation on the tasks that failed",
              .roles = operators,
              .handle = [this](const Ask& ask) { return retry_failed(ask); }});
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
