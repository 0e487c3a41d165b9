#include <algorithm>
#include <map>
#include <utility>

#include <fmt/chrono.h>

#include "core/digest.hpp"
#include "engine/inspector_impl.hpp"

namespace tidemill {

namespace {

/// How long it is known for which instants tasks have been made up.
constexpr Duration backfill_window = std::chrono::hours{24};
/// How often a schedule is read and written again when others change it at the same time.
constexpr int put_tries = 10;

ScheduleInfo info_of(const StoredSchedule& stored) {
  ScheduleInfo info{{}, stored.owner, stored.paused, stored.next, stored.last, stored.read_only};
  try {
    info.schedule = parse_rule(stored).schedule;
  } catch (const Error&) {
    // What can't be read is shown by its id, for an operator to erase or to put anew.
    info.schedule.id = stored.id;
  }
  return info;
}

const StoredSchedule* find_in(const std::vector<StoredSchedule>& all, std::string_view id) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const StoredSchedule& s) { return s.id == id; });
  return found == all.end() ? nullptr : &*found;
}

void refuse_read_only(const StoredSchedule& stored) {
  if (!stored.read_only) return;
  throw Error{ErrorKind::conflict,
              fmt::format("schedule \"{}\" belongs to the {}, which alone can change or fire it", stored.id,
                          stored.owner)};
}

/// The same for each repeat.
std::string backfill_id(std::string_view schedule, TimePoint instant) {
  constexpr std::size_t size = 32;
  return sha256_hex(fmt::format("{} {}", schedule, instant.time_since_epoch().count())).substr(0, size);
}

/// Whether a stored rule says the same, in whatever words.
bool same_rule(const StoredSchedule& stored, const Schedule& schedule) {
  if (stored.rule == to_json(schedule)) return true;
  try {
    const StoredRule rule = parse_rule(stored);
    return rule.zone_data == time_zone_database_version() && to_json(rule.schedule) == to_json(schedule);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

PutSchedule Inspector::Impl::to_put(const ScheduleRule& rule, const StoredSchedule* stored,
                                    TimePoint now) const {
  PutSchedule put;
  if (stored != nullptr) {
    put.schedule = *stored;
    put.expected_next = stored->next;
  }
  put.schedule.id = rule.schedule().id;
  put.schedule.rule = to_json(rule.schedule());
  put.schedule.next = next_of(rule, stored, now);
  return put;
}

bool Inspector::Impl::update(std::string_view id,
                             const std::function<std::optional<PutSchedule>(const StoredSchedule*)>& change) {
  for (int i = 0; i < put_tries; ++i) {
    const std::vector<StoredSchedule> all = stored_schedules();
    const StoredSchedule* const stored = find_in(all, id);
    if (stored != nullptr) refuse_read_only(*stored);
    const std::optional<PutSchedule> put = change(stored);
    if (!put) return false;
    if (catalog.put_schedules({&*put, 1}, call()).front()) return true;
  }
  throw Error{
      ErrorKind::unavailable,
      fmt::format("schedule \"{}\" changed each of the {} times that it was to be written", id, put_tries)};
}

std::vector<ScheduleInfo> Inspector::schedules() {
  std::vector<ScheduleInfo> infos;
  for (const StoredSchedule& stored : impl_->stored_schedules()) infos.push_back(info_of(stored));
  return infos;
}

std::optional<ScheduleInfo> Inspector::schedule(std::string_view id) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  return info_of(*stored);
}

void Inspector::put_schedule(const Schedule& schedule) {
  check(schedule, impl_->store.capabilities());
  const ScheduleRule rule{schedule};
  impl_->update(schedule.id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
    if (stored != nullptr && same_rule(*stored, schedule)) return {};
    return impl_->to_put(rule, stored, now());
  });
}

std::size_t Inspector::sync_schedules(std::string_view owner, std::span<const Schedule> schedules) {
  rules::check_name("owner of schedules", owner);
  // All is checked before anything is changed.
  std::map<std::string, ScheduleRule, std::less<>> wanted;
  for (const Schedule& schedule : schedules) {
    check(schedule, impl_->store.capabilities());
    if (!wanted.emplace(schedule.id, ScheduleRule{schedule}).second) {
      throw Error{ErrorKind::invalid, fmt::format("schedule \"{}\" is given twice", schedule.id)};
    }
  }
  const std::vector<StoredSchedule> before = impl_->stored_schedules();
  std::vector<std::string> gone;
  for (const StoredSchedule& stored : before) {
    const bool ours = stored.owner == owner && !stored.read_only;
    if (ours && !wanted.contains(stored.id)) gone.push_back(stored.id);
    if (!ours && wanted.contains(stored.id)) {
      throw Error{
          ErrorKind::conflict,
          stored.owner.empty()
              ? fmt::format("schedule \"{}\" was made by hand; erase it or choose another id", stored.id)
              : fmt::format("schedule \"{}\" belongs to \"{}\"; choose another id", stored.id, stored.owner)};
    }
  }
  std::size_t changed = 0;
  for (const auto& [id, rule] : wanted) {
    changed += impl_->update(id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
      if (stored != nullptr && same_rule(*stored, rule.schedule())) return {};
      PutSchedule put = impl_->to_put(rule, stored, now());
      put.schedule.owner = owner;
      return put;
    });
  }
  if (!gone.empty()) {
    changed += impl_->catalog.erase_schedules(gone, impl_->call());
    impl_->firings.erase(gone);
  }
  return changed;
}

bool Inspector::pause_schedule(std::string_view id, bool paused) {
  bool found = false;
  impl_->update(id, [&](const StoredSchedule* stored) -> std::optional<PutSchedule> {
    found = stored != nullptr;
    if (stored == nullptr || stored->paused == paused) return {};
    PutSchedule put{*stored, stored->next};
    put.schedule.paused = paused;
    return put;
  });
  return found;
}

bool Inspector::erase_schedule(std::string_view id) {
  impl_->require(Feature::schedules);
  const std::string name{id};
  if (impl_->catalog.erase_schedules({&name, 1}, impl_->call()) > 0) {
    impl_->firings.erase({&name, 1});
    return true;
  }
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  if (const StoredSchedule* const stored = find_in(all, id)) refuse_read_only(*stored);
  return false;
}

std::optional<Enqueued> Inspector::fire_schedule(std::string_view id) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  refuse_read_only(*stored);
  const ScheduleRule rule{parse_rule(*stored).schedule};
  const Task task = rule.task({}, impl_->store.capabilities());
  Enqueued answer = std::move(impl_->store.enqueue({&task, 1}, impl_->call()).front());
  if (answer.put == Put::exists) {
    answer.why = fmt::format("the last task of schedule \"{}\", {}, has not ended", id, answer.id);
  }
  return answer;
}

std::vector<std::vector<FiringInfo>> Inspector::schedule_firings(std::span<const std::string> ids) {
  impl_->require(Feature::documents);
  return impl_->firings.read(ids);
}

std::vector<TimePoint> Inspector::schedule_instants(const Schedule& schedule, TimePoint from, TimePoint to,
                                                    std::size_t count_max) {
  const ScheduleRule rule{schedule};
  if (rule.is_interval()) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("schedule \"{}\": \"{}\" has no instants but those to come, so none can be made up for",
                    schedule.id, schedule.spec)};
  }
  std::vector<TimePoint> instants;
  for (TimePoint t = rule.after(from - Duration{1}); t < to && instants.size() < count_max; t = rule.after(t))
    instants.push_back(t);
  return instants;
}

std::optional<std::vector<Enqueued>> Inspector::backfill_schedule(std::string_view id,
                                                                  std::span<const TimePoint> instants) {
  const std::vector<StoredSchedule> all = impl_->stored_schedules();
  const StoredSchedule* const stored = find_in(all, id);
  if (stored == nullptr) return {};
  const Schedule schedule = parse_rule(*stored).schedule;
  const Capabilities& can = impl_->store.capabilities();
  const bool has_keys = can.has(Feature::unique);
  std::vector<Task> tasks;
  for (const TimePoint instant : instants) {
    EnqueueOptions options = schedule.options;
    options.id = backfill_id(id, instant);
    options.headers.insert_or_assign(
        "schedule-instant", fmt::format("{:%FT%TZ}", std::chrono::floor<std::chrono::seconds>(instant)));
    // The id is free again as soon as the task has ended and is purged.
    if (!options.unique && has_keys)
      options.unique = Unique{.key = options.id, .window = backfill_window, .outlives_task = true};
    tasks.push_back(rules::admit(schedule.kind, schedule.payload, options, can));
  }
  std::vector<Enqueued> answers;
  const std::size_t step = std::max<std::size_t>(can.batch_max, 1);
  for (std::span<const Task> rest{tasks}; !rest.empty(); rest = rest.subspan(std::min(step, rest.size()))) {
    auto some = impl_->store.enqueue(rest.first(std::min(step, rest.size())), impl_->call());
    std::ranges::move(some, std::back_inserter(answers));
  }
  return answers;
}

}  // namespace tidemill
