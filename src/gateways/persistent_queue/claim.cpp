// Rows become leases, and leases end.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "core/utf8.hpp"
#include "gateways/persistent_queue/rows.hpp"
#include "gateways/persistent_queue/tables.hpp"
#include "gateways/persistent_queue/tables_store.hpp"

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

/// Rows that fall due so soon are known before: longer than the longest pause between two loads.
constexpr Duration ahead = 120s;
/// PersistentQueue's pauses. Where an index makes a load cheap there is none but `poll_interval`, and a new
/// greatest id ends each.
constexpr Duration pause_least = 5s;
constexpr Duration pause_most = 60s;
/// A load takes a tenth of the time at most.
constexpr int load_share = 9;
constexpr Duration clean_pause = 5s;
constexpr Duration reap_pause = 60s;
constexpr std::size_t nulls_named = 10;
constexpr std::size_t error_bytes_max = 8U << 10U;
/// Rows of one batch of reports that are waited for, each as long as the database waits for a lock.
constexpr std::size_t waits_max = 2;

Steady steady_now() { return std::chrono::steady_clock::now(); }

std::string token_of(std::uint64_t id, std::uint64_t epoch) { return fmt::format("{}:{}", id, epoch); }

struct Token {
  std::uint64_t id = 0, epoch = 0;
};
Token parse(const std::string& token) {
  const std::size_t colon = token.find(':');
  if (colon == std::string::npos) throw Error{ErrorKind::invalid, "no lease of this store: " + token};
  return {std::stoull(token.substr(0, colon)), std::stoull(token.substr(colon + 1))};
}

}  // namespace

// ---- Looking for rows

/// Requires looking_.
void TablesStore::look(std::size_t wanted) {
  const Steady start = steady_now();
  {
    const std::lock_guard lock{mutex_};
    // What a worker has forgotten is found by the next load; not before its handler must have ended.
    line_.forget_before(start - std::max(2 * worker_lease_.lease, options_.handler_timeout));
    if (std::exchange(changed_, false)) complete_ = false;
    if (line_.ready(estimate(), wanted, held_up_to()) >= wanted) return;
  }
  if (start < next_look_) return;
  next_look_ = start + options_.poll_interval / 2;
  const Jobs::Look seen = jobs_.look();
  {
    const std::lock_guard lock{mutex_};
    clock_offset_ = seen.now - std::chrono::duration_cast<Duration>(steady_now().time_since_epoch()).count();
  }
  const bool news = seen.id_max != id_max_ || !complete_;
  if (!news && !indexed_ && start < next_load_) return;
  if (start < next_load_ - load_pause_) return;  // The last one took long.
  id_max_ = seen.id_max;
  load();
}

/// Requires looking_.
void TablesStore::load() {
  const Steady start = steady_now();
  std::size_t limit = options_.load_limit;
  Horizon horizon;
  {
    const std::lock_guard lock{mutex_};
    const std::size_t flying = line_.in_flight();
    limit = flying < options_.queue_size_max ? std::min(limit, options_.queue_size_max - flying) : 0;
    horizon = horizon_;
    if (limit == 0) return;
    limit += flying;  // In none mode those are among the rows that the load finds.
  }
  const std::vector<Waiting> rows = jobs_.load(horizon, ahead, limit);
  complete_ = rows.size() < limit;
  const Duration took = std::chrono::duration_cast<Duration>(steady_now() - start);
  std::size_t found = 0;
  {
    const std::lock_guard lock{mutex_};
    line_.replace(rows);
    found = line_.waiting();
  }
  load_pause_ = found > 0 ? pause_least : std::clamp<Duration>(load_pause_ * 6 / 5, pause_least, pause_most);
  next_load_ = steady_now() + load_pause_ + took * load_share;
  warn_of_nulls(rows);
  if (rows.empty()) return;
  options_.log.debug("loaded jobs", {{"rows", std::to_string(rows.size())},
                                     {"milliseconds", std::to_string(took.count() / 1000)}});
}

void TablesStore::warn_of_nulls(const std::vector<Waiting>& rows) {
  std::string ids;
  std::size_t count = 0;
  for (const Waiting& row : rows) {
    if (!row.with_null || ++count > nulls_named) continue;
    ids += (ids.empty() ? "" : ", ") + std::to_string(row.id);
  }
  const std::lock_guard lock{mutex_};
  if (std::exchange(warned_of_nulls_, count > 0) || count == 0) return;
  options_.log.warning(
      "rows with NULL for job_status or start_time: taken for 0 here, but Go's nodes stop at them; "
      "repair_nulls writes the 0",
      {{"rows", std::to_string(count)}, {"ids", ids}});
}

// ---- Claims

Claimed TablesStore::claim(const Claim& claim, const Call&) {
  const std::lock_guard looking{looking_};
  Claimed result;
  std::size_t count = 0;
  for (const Want& want : claim.wants) {
    if (want.queue == queue_) count = std::max(count, std::min(want.count_max, claim.count_max));
  }
  lease_->compete();
  const std::optional<LeaseKeeper::Term> term = keeper().term(worker_lease_.lease);
  if (!term) {
    result.now = now();
    return result;
  }
  if (term->epoch != epoch_) begin_epoch(*term);
  if (count > 0) {
    look(count);
    result.leases = take(*term, claim, std::min(count, capabilities_.batch_max));
  }
  const std::lock_guard lock{mutex_};
  const std::int64_t at = estimate();
  result.now = TimePoint{Duration{at}};
  if (const auto due = line_.next_due(at)) result.next_due = TimePoint{Duration{*due}};
  return result;
}

/// Requires looking_.
std::vector<Lease> TablesStore::take(const LeaseKeeper::Term& term, const Claim& claim, std::size_t count) {
  std::vector<Waiting> rows;
  {
    const std::lock_guard lock{mutex_};
    const std::size_t flying = line_.in_flight();
    if (flying >= options_.queue_size_max) return {};
    rows = line_.take(estimate(), std::min(count, options_.queue_size_max - flying), held_up_to());
  }
  if (rows.empty()) return {};
  std::vector<std::uint64_t> ids;
  for (const Waiting& row : rows) ids.push_back(row.id);
  std::vector<Task> tasks;
  try {
    tasks = jobs_.claim(ids, claimant(term.epoch));
  } catch (...) {
    next_reap_ = {};  // It may have marked them all the same.
    const std::lock_guard lock{mutex_};
    for (const Waiting& row : rows) line_.add(row);
    throw;
  }
  // Changed meanwhile, or a load overtook a report: what the row says now is for the next load to find.
  if (tasks.size() < rows.size()) complete_ = false;
  // In the order of the line.
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < rows.size(); ++i) places.emplace(std::to_string(rows[i].id), i);
  std::ranges::sort(tasks, {}, [&](const Task& task) { return places.at(task.ref.id); });

  std::vector<Lease> leases;
  const Steady at = steady_now();
  const std::lock_guard lock{mutex_};
  for (Task& task : tasks) {
    task.ref.queue = queue_;
    task.retries_max = options_.retries_max;
    task.timeout = options_.handler_timeout;
    const std::uint64_t id = std::stoull(task.ref.id);
    line_.take_off(id, term.epoch, at);
    leases.push_back({.task = std::move(task), .token = token_of(id, term.epoch), .length = claim.lease});
  }
  return leases;
}

// ---- Reports

namespace {

/// The column is text in UTF-8, of 64 KiB.
std::string error_text(std::string_view error) { return replace_bad_utf8(error.substr(0, error_bytes_max)); }

Ending ending_of(const Report& report) {
  Ending ending{.delay = report.delay.count(),
                .attempts = report.attempt,
                .retries = report.retries,
                .deferrals = report.deferrals,
                .error = error_text(report.error)};
  if (report.to == State::completed || report.to == State::gone) ending.status = 1;
  if (report.to == State::archived) ending.status = 2;
  if (ending.status != 0) ending.delay = 0;
  return ending;
}

}  // namespace

std::vector<Reported> TablesStore::report(std::span<const Report> reports, const Call&) {
  std::vector<std::optional<Jobs::Ended>> ends;
  const auto write = [&](const Report& report) {
    const Token token = parse(report.lease->token);
    return jobs_.end(token.id, claimant(token.epoch), ending_of(report));
  };
  try {
    const auto write_all = [&] {
      for (const Report& report : reports) ends.emplace_back(write(report));
    };
    if (reports.size() == 1) {
      write_all();
    } else {
      together(options_.db, write_all);
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::unknown_outcome) throw;
    options_.log.debug("what became of jobs is written anew, one by one", {{"error", error.what()}});
    ends = write_each(reports, write);
  }
  std::vector<Reported> answers;
  const std::lock_guard lock{mutex_};
  for (std::size_t i = 0; i < ends.size(); ++i)
    answers.push_back(ends[i] ? landed(reports[i], *ends[i]) : Reported::failed);
  rung_ = true;
  bell_.notify_all();
  return answers;
}

/// One row that somebody has locked, or a deadlock, must not stop its neighbours. None for what could not be
/// written; throws if that is no fault of single rows.
std::vector<std::optional<Jobs::Ended>> TablesStore::write_each(
    std::span<const Report> reports, const std::function<Jobs::Ended(const Report&)>& write) {
  std::vector<std::optional<Jobs::Ended>> ends(reports.size());
  std::string why;
  std::size_t failed = 0;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    try {
      // One after the other is waited for; the rest of many is for the next time.
      if (failed < waits_max) ends[i] = write(reports[i]);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::unknown_outcome) throw;
      ++failed;
      why = error.what();
    }
  }
  if (failed == 0) return ends;
  check_rights(options_.db);
  options_.log.warning("what became of some jobs can't be written now; it is tried again",
                       {{"jobs", std::to_string(failed)}, {"error", why}});
  return ends;
}

/// Requires mutex_.
Reported TablesStore::landed(const Report& report, Jobs::Ended ended) {
  const Token token = parse(report.lease->token);
  line_.land(token.id);
  if (ended == Jobs::Ended::ended) return Reported::ended;
  if (ended == Jobs::Ended::lost) return Reported::lost;
  const Ending ending = ending_of(report);
  if (ending.status == 0 && token.epoch == epoch_) {
    // Known at once, and not by the next load.
    const std::int64_t at = estimate();
    const std::int64_t due = ending.delay > 0 ? at + ending.delay : 0;
    line_.add({.id = token.id, .due = due, .order = due > 0 ? due : at});
  }
  return Reported::applied;
}

void TablesStore::end_late(std::uint64_t id, bool success, const std::string& error) {
  std::uint64_t epoch = 0;
  {
    const std::lock_guard lock{mutex_};
    const Line::Flight* const flight = line_.flight(id);
    if (flight == nullptr) return;
    epoch = flight->epoch;
  }
  const Ending ending{.status = success ? 1 : 2, .error = error_text(error)};
  try {
    const Jobs::Ended ended = jobs_.end(id, claimant(epoch), ending);
    options_.log.info(
        ended == Jobs::Ended::written
            ? "the lease was in doubt while a job ran; what became of it is written, as the row "
              "was still ours"
            : "the lease was lost while a job ran, and another node has the row",
        {{"id", std::to_string(id)}});
    const std::lock_guard lock{mutex_};
    if (ended == Jobs::Ended::written) line_.land(id);
  } catch (const std::exception& failure) {
    options_.log.warning("what became of a job could not be written; it will run again",
                         {{"id", std::to_string(id)}, {"error", failure.what()}});
  }
}

// ---- Beats and sweeps

Renewed TablesStore::renew(const WorkerInfo&, std::span<const Beat> beats, Duration, std::span<const Stat>,
                           const Call&) {
  const std::uint64_t held = keeper().epoch();
  const bool sure = keeper().term(worker_lease_.lease).has_value();
  Renewed result;
  result.now = now();
  const Steady at = steady_now();
  const std::lock_guard lock{mutex_};
  for (const Beat& beat : beats) {
    const Token token = parse(beat.lease->token);
    Line::Flight* const flight = line_.flight(token.id);
    const bool ours = flight != nullptr && flight->epoch == token.epoch && token.epoch == held;
    if (ours) flight->heard = at;
    result.leases.push_back(!ours ? Signal::lost : sure ? flight->signal : Signal::unknown);
  }
  return result;
}

Swept TablesStore::sweep(std::string_view, Duration, std::size_t limit, const Call&) {
  const std::lock_guard looking{looking_};
  Swept swept;
  const Steady at = steady_now();
  const std::optional<LeaseKeeper::Term> term = keeper().term(worker_lease_.lease);
  if (!term || term->epoch != epoch_) return swept;
  if (at >= next_clean_) {
    next_clean_ = at + clean_pause;
    swept.purged = static_cast<std::size_t>(jobs_.clean(limit));
    swept.more = swept.purged >= limit;
    if (swept.more) next_clean_ = at;
  }
  std::vector<std::uint64_t> flying;
  {
    const std::lock_guard lock{mutex_};
    if (at < next_reap_ || at < held_until_) return swept;
    flying = line_.flying();
  }
  next_reap_ = at + reap_pause;
  if (const std::int64_t reaped = jobs_.reap(term->epoch, flying); reaped > 0) {
    options_.log.warning("jobs that were marked and that nobody runs wait again",
                         {{"rows", std::to_string(reaped)}});
    complete_ = false;
  }
  return swept;
}

}  // namespace tidemill::persistent_queue
