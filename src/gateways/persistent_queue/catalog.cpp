#include "gateways/persistent_queue/catalog.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <map>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/filter.hpp"
#include "gateways/persistent_queue/identity.hpp"
#include "gateways/persistent_queue/jobs.hpp"
#include "gateways/persistent_queue/rows.hpp"
#include "gateways/persistent_queue/texts.hpp"

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

/// Rows of one look.
constexpr std::size_t chunk = 500;
/// Tasks of one state that are counted: there are no counters, and the index is read for it.
constexpr std::int64_t counted_max = 100'000;

/// The number of the task's state; its parameter is the lease's name. A job is claimed as long as the term
/// lasts that claimed it.
constexpr auto state_text = sql::join(
    "CASE WHEN j.job_status = 1 THEN 5 WHEN j.job_status = 2 THEN 6 WHEN j.job_status = 3 THEN 3 "
    "WHEN IFNULL(j.job_status, 0) <> 0 THEN 0 "
    "WHEN s.owner <> '' AND s.epoch = (SELECT t.epoch FROM tidemill_shedlock t WHERE t.lock_name = ?) THEN 3 "
    "WHEN GREATEST(IFNULL(j.start_time, 0) * 1000000, IFNULL(s.next_due, 0)) <= ",
    now_us, " THEN 2 WHEN s.retries > 0 AND s.next_due > ", now_us, " THEN 4 ELSE 1 END");
constexpr auto read_text = sql::join(
    "SELECT j.id, j.params, IFNULL(j.start_time, 0), IFNULL(j.create_time, 0), IFNULL(s.attempts, 0), "
    "IFNULL(s.retries, 0), IFNULL(s.deferrals, 0), IFNULL(s.next_due, 0), IFNULL(j.update_time, 0), "
    "s.last_error, s.owner, ",
    state_text, " FROM ", both_if_any, " WHERE j.job_type = ? AND ");
constexpr auto count_text = sql::join(
    "SELECT w.state, COUNT(*), MIN(w.since) FROM (SELECT ", state_text,
    " AS state, IF(IFNULL(j.start_time, 0) > 0, j.start_time, IFNULL(j.create_time, 0)) AS since FROM ",
    both_if_any, " WHERE j.job_type = ? AND ");

/// Each is one range of the index: in its order rows are found, and found again behind a cursor. NULLs apart,
/// as no comparison finds them.
struct Section {
  const char* condition;
  bool by_id;  ///< start_time is of no account.
  States states;
};
const States not_ended = States{State::scheduled} + State::pending + State::active + State::retry;
const std::array sections = {
    Section{"j.job_status = 0 AND j.start_time IS NULL", true, not_ended},
    Section{"j.job_status = 0 AND j.start_time IS NOT NULL", false, not_ended},
    Section{"j.job_status IS NULL", true, not_ended},
    Section{"j.job_status = 3 AND j.start_time IS NULL", true, State::active},
    Section{"j.job_status = 3 AND j.start_time IS NOT NULL", false, State::active},
    Section{"j.job_status = 1 AND j.start_time IS NULL", true, State::completed},
    Section{"j.job_status = 1 AND j.start_time IS NOT NULL", false, State::completed},
    Section{"j.job_status = 2 AND j.start_time IS NULL", true, State::archived},
    Section{"j.job_status = 2 AND j.start_time IS NOT NULL", false, State::archived},
};

/// Behind which row a page goes on: "SECTION:START_TIME:ID".
struct Place {
  std::uint64_t section = 0, start = 0, id = 0;
};
std::string text_of(const Place& place) {
  return fmt::format("{}:{}:{}", place.section, place.start, place.id);
}
Place parse_place(std::string_view cursor) {
  std::array<std::uint64_t, 3> numbers{};
  const char* at = cursor.data();
  const char* const end = at + cursor.size();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto [stop, error] = std::from_chars(at, end, numbers[i]);
    const bool last = i + 1 == numbers.size();
    if (error != std::errc{} || (last ? stop != end : stop == end || *stop != ':')) {
      throw Error{
          ErrorKind::invalid,
          fmt::format("\"{}\" is no cursor; take the one that the page before gave, as it is", cursor)};
    }
    at = last ? stop : stop + 1;
  }
  return {numbers[0], numbers[1], numbers[2]};
}

std::uint64_t number_of(const Task& task) { return std::stoull(task.ref.id); }
std::uint64_t start_of(const Task& task) { return std::stoull(task.headers.at("start_time")); }
TimePoint time_at(std::int64_t unix_seconds) { return TimePoint{std::chrono::seconds{unix_seconds}}; }

[[noreturn]] void lacks(const char* what) { throw Error{ErrorKind::unsupported, what}; }

}  // namespace

JobCatalog::JobCatalog(const TableOptions& options, Tell tell, Told told)
    : db_(options.db),
      type_(options.job_type),
      queue_(queue_name(options)),
      lock_name_(lock_name(options.service_name)),
      retries_max_(options.retries_max),
      timeout_(options.handler_timeout),
      tell_(std::move(tell)),
      told_(std::move(told)) {}

// ---- Reading

std::vector<Task> JobCatalog::read(const std::string& condition, std::span<const SqlValue> values) {
  std::vector<SqlValue> all{SqlValue{lock_name_}, SqlValue{std::int64_t{type_}}};
  all.insert(all.end(), values.begin(), values.end());
  std::vector<Task> tasks;
  for (const SqlRow& row : db_.query(read_text.data() + condition, all)) {
    Task task = task_of(row, type_);
    task.state = static_cast<State>(integer_of(row, 11));
    task.ref.queue = queue_;
    task.retries_max = retries_max_;
    task.timeout = timeout_;
    task.error = persistent_queue::text_of(row, 9);
    task.worker = task.state == State::active ? persistent_queue::text_of(row, 10) : "";
    const bool over = task.state == State::completed || task.state == State::archived;
    if (over) task.ended_at = time_at(integer_of(row, 8));
    if (task.state != State::scheduled && task.state != State::retry) task.run_at.reset();
    tasks.push_back(std::move(task));
  }
  return tasks;
}

Page JobCatalog::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                      const Call&) {
  Page page;
  if (!filter.queue.empty() && filter.queue != queue_) return page;
  const auto began = std::chrono::steady_clock::now();
  Place at = cursor.empty() ? Place{} : parse_place(cursor);
  for (; at.section < sections.size(); at = {.section = at.section + 1}) {
    const Section& section = sections[at.section];
    if ((filter.states.bits & section.states.bits) == 0) continue;
    for (std::size_t count = chunk; count == chunk;) {
      const auto value = [](std::uint64_t number) { return SqlValue{static_cast<std::int64_t>(number)}; };
      const std::vector<SqlValue> by_id{value(at.id), value(chunk)};
      const std::vector<SqlValue> by_start{value(at.start), value(at.id), value(at.start), value(chunk)};
      const std::string behind = section.by_id ? " AND j.id > ? ORDER BY j.id LIMIT ?"
                                               : " AND ((j.start_time = ? AND j.id > ?) OR j.start_time > ?) "
                                                 "ORDER BY j.start_time, j.id LIMIT ?";
      std::vector<Task> tasks = read(section.condition + behind, section.by_id ? by_id : by_start);
      count = tasks.size();
      for (Task& task : tasks) {
        const Place place{at.section, start_of(task), number_of(task)};
        if (matches(filter, task)) {
          if (page.tasks.size() == limit) {
            page.next = text_of(at);
            return page;
          }
          page.tasks.push_back(std::move(task));
        }
        at = place;
      }
      if (count == chunk && std::chrono::steady_clock::now() - began >= budget) {
        page.complete = false;
        page.next = text_of(at);
        return page;
      }
    }
  }
  return page;
}

/// None: it can't be a job of this queue.
std::optional<std::uint64_t> JobCatalog::id_of(const Ref& ref) const {
  std::uint64_t id = 0;
  const char* const end = ref.id.data() + ref.id.size();
  const auto [stop, error] = std::from_chars(ref.id.data(), end, id);
  if (ref.queue != queue_ || error != std::errc{} || stop != end) return {};
  return id;
}

std::vector<std::optional<Task>> JobCatalog::get(std::span<const Ref> refs, const Call&) {
  std::vector<SqlValue> ids;
  for (const Ref& ref : refs)
    if (const auto id = id_of(ref)) ids.emplace_back(static_cast<std::int64_t>(*id));
  std::map<std::string, Task> found;
  if (!ids.empty()) {
    for (Task& task : read("j.id IN (" + marks(ids.size()) + ")", ids))
      found.emplace(task.ref.id, std::move(task));
  }
  std::vector<std::optional<Task>> answers;
  for (const Ref& ref : refs) {
    const auto at = ref.queue == queue_ ? found.find(ref.id) : found.end();
    const bool there = at != found.end() && at->second.state != State::gone;
    answers.push_back(there ? std::optional{at->second} : std::nullopt);
  }
  return answers;
}

std::vector<Attempt> JobCatalog::attempts(const Ref&, const Call&) { return {}; }

std::vector<QueueInfo> JobCatalog::queues(const Call& call) {
  QueueInfo info{.name = queue_};
  const std::vector<SqlValue> values{SqlValue{lock_name_}, SqlValue{std::int64_t{type_}},
                                     SqlValue{counted_max}};
  for (const char* const part : {"(j.job_status = 0 OR j.job_status IS NULL)", "j.job_status = 3",
                                 "j.job_status = 1", "j.job_status = 2"}) {
    const std::string text = count_text.data() + std::string{part} + " LIMIT ?) w GROUP BY w.state";
    for (const SqlRow& row : db_.query(text, values)) {
      const auto state = static_cast<State>(integer_of(row, 0));
      info.counts[state] += static_cast<std::uint64_t>(integer_of(row, 1));
      if (state == State::pending)
        info.oldest = std::max(call.now - time_at(integer_of(row, 2)), Duration::zero());
    }
  }
  return {info};
}

// ---- Changing

/// Those that are there, as they stay until the transaction ends.
std::vector<Task> JobCatalog::locked(std::span<const Ref> refs) {
  std::vector<SqlValue> ids;
  for (const Ref& ref : refs)
    if (const auto id = id_of(ref)) ids.emplace_back(static_cast<std::int64_t>(*id));
  if (ids.empty()) return {};
  return read("j.id IN (" + marks(ids.size()) + ") ORDER BY j.id FOR UPDATE", ids);
}

std::vector<Changed> JobCatalog::change(std::span<const Ref> refs, const Change& change, const Call&) {
  std::vector<Changed> answers;
  together(db_, [&] {
    answers.assign(refs.size(), Changed::absent);
    const std::vector<Task> tasks = locked(refs);
    for (std::size_t i = 0; i < refs.size(); ++i) {
      const auto at = std::ranges::find(tasks, refs[i], &Task::ref);
      if (at != tasks.end() && at->state != State::gone) answers[i] = change_one(*at, change);
    }
  });
  told_();
  return answers;
}

Changed JobCatalog::change_one(const Task& task, const Change& change) {
  if (!change.from.has(task.state)) return Changed::wrong_state;
  const std::uint64_t id = number_of(task);
  const SqlValue key{static_cast<std::int64_t>(id)};
  if (task.state == State::active) {
    const bool told = change.signal != Signal::none && tell_(id, change.signal);
    return told ? Changed::signalled : Changed::wrong_state;
  }
  if (change.to == State::gone) {
    db_.execute("DELETE FROM async_job_tab WHERE id = ?", {&key, 1});
    db_.execute("DELETE FROM tidemill_async_job WHERE job_id = ?", {&key, 1});
    return Changed::changed;
  }
  if (change.to == State::archived) {
    db_.execute("UPDATE async_job_tab SET job_status = 2, update_time = UNIX_TIMESTAMP() WHERE id = ?",
                {&key, 1});
    const std::vector<SqlValue> values{key, SqlValue{std::int64_t{type_}}, SqlValue{change.reason}};
    db_.execute(
        "INSERT INTO tidemill_async_job (job_id, job_type, last_error, updated_at) VALUES (?, ?, ?, "
        "UNIX_TIMESTAMP()) ON DUPLICATE KEY UPDATE last_error = VALUES(last_error), updated_at = "
        "UNIX_TIMESTAMP()",
        values);
    return Changed::changed;
  }
  if (change.to != State::pending && change.to != State::scheduled) return Changed::failed;
  // Due now, and not 0: an old row would be behind `first_pull_days`.
  const TimePoint due = change.run_at.value_or(TimePoint{});
  const std::int64_t start = std::chrono::ceil<std::chrono::seconds>(due.time_since_epoch()).count();
  const std::vector<SqlValue> when{SqlValue{start}, key};
  db_.execute(
      "UPDATE async_job_tab SET job_status = 0, start_time = GREATEST(?, UNIX_TIMESTAMP()), "
      "update_time = UNIX_TIMESTAMP() WHERE id = ?",
      when);
  db_.execute(change.fresh ? "UPDATE tidemill_async_job SET next_due = 0, retries = 0, deferrals = 0, "
                             "updated_at = UNIX_TIMESTAMP() WHERE job_id = ?"
                           : "UPDATE tidemill_async_job SET next_due = 0 WHERE job_id = ?",
              {&key, 1});
  return Changed::changed;
}

Changed JobCatalog::edit(const Edit& edit, const Call&) {
  NewJob job{.job_type = type_, .params = edit.task.payload};
  if (const std::string fault = fault_of(job); !fault.empty()) throw Error{ErrorKind::invalid, fault};
  Changed answer = Changed::absent;
  together(db_, [&] {
    const std::vector<Task> found = locked({&edit.task.ref, 1});
    if (found.empty() || found[0].state == State::gone) return;
    answer = Changed::wrong_state;
    if (!edit.from.has(found[0].state) || found[0].state == State::active) return;
    answer = Changed::stale;
    if (etag(found[0]) != edit.seen) return;
    Task wanted = found[0];
    wanted.payload = edit.task.payload;
    Task asked = edit.task;
    asked.state = wanted.state;
    if (etag(wanted) != etag(asked))
      throw Error{ErrorKind::invalid,
                  "async_job_tab has a column for the payload alone; change nothing else"};
    const std::vector<SqlValue> values{SqlValue{job.params},
                                       SqlValue{static_cast<std::int64_t>(number_of(wanted))}};
    db_.execute("UPDATE async_job_tab SET params = ?, update_time = UNIX_TIMESTAMP() WHERE id = ?", values);
    answer = Changed::changed;
  });
  return answer;
}

// ---- What the tables have no place for

std::vector<Changed> JobCatalog::move(std::span<const Ref>, States, std::string_view, const Call&) {
  lacks("a job of PersistentQueue's tables can't be moved: its job_type says which queue it is in");
}
void JobCatalog::pause(std::string_view, bool, const Call&) {
  lacks("async_job_tab has no place for a queue's pause; stop its nodes instead");
}
Changed JobCatalog::erase_queue(std::string_view queue, const Call&) {
  if (queue != queue_) return Changed::absent;
  lacks("a queue of PersistentQueue's tables is there as long as it is configured");
}
std::vector<GroupInfo> JobCatalog::groups(std::string_view, std::string_view, std::size_t, const Call&) {
  return {};
}
std::vector<WorkerInfo> JobCatalog::workers(const Call&) { return {}; }
bool JobCatalog::signal(std::string_view, Signal, const Call&) { return false; }
std::vector<StoredSchedule> JobCatalog::schedules(std::optional<TimePoint>, const Call&) { return {}; }
std::vector<bool> JobCatalog::put_schedules(std::span<const PutSchedule>, const Call&) {
  lacks("PersistentQueue has no schedules; keep them in another store");
}
std::size_t JobCatalog::erase_schedules(std::span<const std::string>, const Call&) { return 0; }
std::vector<Stat> JobCatalog::stats(std::string_view, Span, TimePoint, TimePoint, const Call&) { return {}; }

}  // namespace tidemill::persistent_queue
