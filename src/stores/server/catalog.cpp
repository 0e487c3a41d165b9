#include <algorithm>
#include <array>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>

#include "core/rules.hpp"
#include "core/schedule_rule.hpp"
#include "stores/server/store_impl.hpp"
#include "wire/action_json.hpp"
#include "wire/admin_json.hpp"
#include "wire/json_write.hpp"
#include "wire/port_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server_store {

namespace {

using wire::JsonMember;
using wire::JsonValue;

std::string names_of(States states) {
  std::string names;
  for (unsigned i = 1; i < state_count; ++i) {
    const State state{static_cast<std::uint8_t>(i)};
    if (states.has(state)) names += fmt::format("{}{}", names.empty() ? "" : ",", to_string(state));
  }
  return names;
}

std::string refs_body(std::span<const Ref> refs, const std::optional<Action>& action = {}) {
  return wire::object([&](json::Writer& writer) {
    if (action) wire::write_action_members(writer, *action);
    writer.key("refs");
    wire::write_array(writer, refs, wire::write_ref);
  });
}

/// The act that the change is, or is a part of: the server has the same rules.
Act act_of(const Change& change) {
  for (const Act act : rules::acts()) {
    for (const Change& each : rules::changes(act)) {
      if (each.from == change.from && each.to == change.to && each.reason == change.reason &&
          each.fresh == change.fresh && each.signal == change.signal)
        return act;
    }
  }
  throw Error{ErrorKind::unsupported,
              fmt::format("a server has no act that makes tasks {}", to_string(change.to))};
}

Page read_page(const JsonValue& root) {
  static constexpr std::array members = {
      JsonMember<Page>{"items",
                       [](Page& p, const JsonValue& v) {
                         for (const JsonValue& each : v.elements())
                           p.tasks.push_back(wire::read_shown_task(each));
                       }},
      JsonMember<Page>{"next",
                       [](Page& p, const JsonValue& v) { p.next = v.is_null() ? std::string{} : v.text(); }},
      JsonMember<Page>{"complete", [](Page& p, const JsonValue& v) { p.complete = v.truth(); }},
  };
  Page page;
  wire::read_members<Page>(root, page, members);
  return page;
}

std::string path_of(const StoredSchedule& schedule) { return "/schedules/" + escaped(schedule.id); }

}  // namespace

std::string ServerStore::get_body(std::string target, const Call& call) {
  return connection_.ask({.target = std::move(target), .deadline = call.deadline});
}

// ---- Tasks

Page ServerStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration,
                       const Call& call) {
  const std::string states = names_of(filter.states);
  if (states.empty()) return {};
  // When so many are too much for one answer, fewer are asked for.
  for (;; limit /= 2) {
    const auto text_of = [](const std::optional<TimePoint>& time) {
      return time ? wire::format_time(*time) : std::string{};
    };
    const std::string target =
        "/tasks" + query({{"queue", filter.queue},
                          {"kind", filter.kind},
                          {"id", filter.id},
                          {"group", filter.group},
                          {"text", filter.text},
                          {"state", filter.states == States::all() ? std::string{} : states},
                          {"created_from", text_of(filter.created_from)},
                          {"created_before", text_of(filter.created_before)},
                          {"cursor", std::string{cursor}},
                          {"limit", std::to_string(limit)},
                          {"detail", "full"}});
    const Answer answer = connection_.send({.target = target, .deadline = call.deadline});
    if (answer.found && answer.whole) return read_answer(answer.body, read_page);
    if (!answer.found || limit <= 1)
      throw Error{ErrorKind::unavailable, fmt::format("{} can't list tasks", connection_.address().shown)};
  }
}

std::vector<std::optional<Task>> ServerStore::get(std::span<const Ref> refs, const Call& call) {
  const std::string answer = connection_.post("/tasks/get", refs_body(refs), call.deadline);
  return read_answer(answer, [&](const JsonValue& root) {
    auto tasks = read_items(root, [](const JsonValue& each) {
      return each.is_null() ? std::optional<Task>{} : std::optional{wire::read_shown_task(each)};
    });
    if (tasks.size() != refs.size()) root.refuse("has not one item for each task");
    return tasks;
  });
}

std::vector<Attempt> ServerStore::attempts(const Ref& ref, const Call& call) {
  const std::string target =
      fmt::format("/tasks/{}/attempts{}", escaped(ref.id), query({{"queue", ref.queue}}));
  const Answer answer = connection_.send({.target = target, .deadline = call.deadline});
  if (!answer.found) return {};
  return read_answer(answer.body, [](const JsonValue& root) { return read_items(root, wire::read_attempt); });
}

std::vector<Changed> ServerStore::change(std::span<const Ref> refs, const Change& change, const Call& call) {
  Action action = act_of(change);
  action.run_at = change.run_at;
  return act(action, refs, call);
}

std::vector<Changed> ServerStore::move(std::span<const Ref> refs, States, std::string_view queue,
                                       const Call& call) {
  return act(Action::move(std::string{queue}), refs, call);
}

std::vector<Changed> ServerStore::act(const Action& action, std::span<const Ref> refs, const Call& call) {
  if (refs.empty()) return {};
  const std::string answer = connection_.post("/tasks/act", refs_body(refs, action), call.deadline);
  return read_answer(answer, [&](const JsonValue& root) {
    auto answers = wire::read_changed(root);
    if (answers.size() != refs.size()) root.refuse("has not one answer for each task");
    return answers;
  });
}

Changed ServerStore::edit(const Edit& edit, const Call& call) {
  const Ref& ref = edit.task.ref;
  std::string body;
  json::Writer writer{body};
  wire::write_edit(writer, edit.task);
  const Answer answer =
      connection_.send({.method = "PATCH",
                        .target = fmt::format("/tasks/{}{}", escaped(ref.id), query({{"queue", ref.queue}})),
                        .body = std::move(body),
                        .if_match = edit.seen,
                        .deadline = call.deadline});
  if (!answer.found) return Changed::absent;
  if (answer.code.empty()) return Changed::changed;
  if (answer.code == "changed") return Changed::stale;
  return answer.code == "unique_conflict" ? Changed::conflict : Changed::wrong_state;
}

// ---- Queues, workers, statistics

std::vector<QueueInfo> ServerStore::queues(const Call& call) {
  return read_answer(get_body("/queues", call),
                     [](const JsonValue& root) { return read_items(root, wire::read_queue); });
}

void ServerStore::pause(std::string_view queue, bool paused, const Call& call) {
  (void)connection_.post(fmt::format("/queues/{}/{}", escaped(queue), paused ? "pause" : "resume"), "",
                         call.deadline);
}

Changed ServerStore::erase_queue(std::string_view queue, const Call& call) {
  const Answer answer = connection_.send({.method = "DELETE",
                                          .target = "/queues/" + escaped(queue),
                                          .may_refuse = true,
                                          .deadline = call.deadline});
  if (!answer.found) return Changed::absent;
  return answer.code.empty() ? Changed::changed : Changed::wrong_state;
}

std::vector<GroupInfo> ServerStore::groups(std::string_view queue, std::string_view after, std::size_t limit,
                                           const Call& call) {
  const std::string target =
      fmt::format("/queues/{}/groups{}", escaped(queue),
                  query({{"after", std::string{after}}, {"limit", std::to_string(limit)}}));
  return read_answer(get_body(target, call),
                     [](const JsonValue& root) { return read_items(root, wire::read_group); });
}

std::vector<WorkerInfo> ServerStore::workers(const Call& call) {
  return read_answer(get_body("/workers", call),
                     [](const JsonValue& root) { return read_items(root, wire::read_worker); });
}

bool ServerStore::signal(std::string_view worker, Signal signal, const Call& call) {
  return connection_
      .send({.method = "POST",
             .target = fmt::format("/workers/{}/{}", escaped(worker), to_string(signal)),
             .deadline = call.deadline})
      .found;
}

std::vector<Stat> ServerStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                     const Call& call) {
  const std::string target = fmt::format(
      "/stats/{}{}", span == Span::day ? "daily" : "minutes",
      query(
          {{"queue", std::string{queue}}, {"from", wire::format_time(from)}, {"to", wire::format_time(to)}}));
  return read_answer(get_body(target, call),
                     [](const JsonValue& root) { return read_items(root, wire::read_stat); });
}

// ---- Schedules

std::vector<StoredSchedule> ServerStore::schedules(std::optional<TimePoint> due_by, const Call& call) {
  if (due_by) return {};
  return read_answer(get_body("/schedules", call), [](const JsonValue& root) {
    return read_items(root, [](const JsonValue& each) {
      const ScheduleInfo info = wire::read_schedule_info(each);
      return StoredSchedule{.id = info.schedule.id,
                            .owner = info.owner,
                            .rule = to_json(info.schedule),
                            .paused = info.paused,
                            .next = info.next,
                            .last = info.last,
                            .read_only = info.read_only};
    });
  });
}

std::vector<bool> ServerStore::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  std::vector<bool> answers;
  for (const PutSchedule& put : puts) answers.push_back(put_schedule(put, call));
  return answers;
}

/// The rule and the pause are written apart, as the API has them, and each only if it differs: who pauses
/// sets no rule back. The server computes the next instant itself.
bool ServerStore::put_schedule(const PutSchedule& put, const Call& call) {
  const StoredSchedule& wanted = put.schedule;
  const auto all = schedules({}, call);
  const auto found = std::ranges::find(all, wanted.id, &StoredSchedule::id);
  const bool there = found != all.end();
  if (there != put.expected_next.has_value() || (there && found->next != *put.expected_next)) return false;
  if (wanted.owner != (there ? found->owner : std::string{})) {
    throw Error{
        ErrorKind::unsupported,
        "schedules of an owner can't be synced over a server's URL; do so with PUT /api/v1/schedules"};
  }
  if (!there || found->rule != wanted.rule) {
    const Schedule schedule = parse_rule(wanted).schedule;
    const std::string body =
        wire::object([&](json::Writer& writer) { wire::write_schedule_rule(writer, schedule); });
    (void)connection_.ask(
        {.method = "PUT", .target = path_of(wanted), .body = body, .deadline = call.deadline});
  }
  if (wanted.paused != (there && found->paused))
    (void)connection_.post(path_of(wanted) + (wanted.paused ? "/pause" : "/resume"), "", call.deadline);
  return true;
}

std::size_t ServerStore::erase_schedules(std::span<const std::string> ids, const Call& call) {
  std::size_t erased = 0;
  for (const std::string& id : ids) {
    const Answer answer = connection_.send(
        {.method = "DELETE", .target = "/schedules/" + escaped(id), .deadline = call.deadline});
    erased += answer.found ? 1 : 0;
  }
  return erased;
}

}  // namespace tidemill::server_store
