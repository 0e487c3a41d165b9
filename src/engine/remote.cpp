#include "engine/remote.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/uuid.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

/// How often a worker that only claims is shown as alive.
constexpr Duration announce_every = 8s;
constexpr auto forget_after = 2min;
/// A suspect beyond the one that its worker has comes again after this.
constexpr Duration suspect_pause = 1s;
/// From telling a handler that its time is over to ending the attempt over its head.
constexpr Duration stop_grace = 10s;
/// Reports that are known to have been applied.
constexpr std::size_t applied_max = 65'536;
constexpr std::size_t deferrals_max = 1000;

std::chrono::steady_clock::time_point steady_now() { return std::chrono::steady_clock::now(); }

/// When an attempt's time is over: by timeout or deadline.
TimePoint end_of(const Task& task, TimePoint started) {
  TimePoint end = TimePoint::max();
  if (task.timeout > Duration::zero()) end = started + task.timeout;
  if (task.deadline) end = std::min(end, *task.deadline);
  return end;
}

/// In the order to try: by chance, each with its weight, unless the order is strict.
std::vector<Want> arranged(const RemoteWorker& worker, std::size_t count) {
  std::vector<std::pair<double, Want>> drawn;
  for (std::size_t i = 0; i < worker.queues.size(); ++i) {
    const auto& [name, weight] = worker.queues[i];
    const double at = worker.strict ? static_cast<double>(i) : -std::log1p(-random_unit()) / weight;
    drawn.emplace_back(at, Want{name, count});
  }
  std::ranges::sort(drawn, {}, [](const auto& each) { return each.first; });
  std::vector<Want> wants;
  for (const auto& [at, want] : drawn) wants.push_back(want);
  return wants;
}

}  // namespace

std::string_view to_string(RemoteSignal signal) noexcept {
  static constexpr std::array<std::string_view, 5> names = {"none", "cancel", "hold", "stop", "lost"};
  return names[static_cast<std::size_t>(signal)];
}

// ---- Tickets

/// What a token says: "END.LENGTH.LENGTH.TOKEN QUEUE ID", the end in microseconds, without the blanks.
struct RemoteLeases::Ticket {
  TimePoint end{};
  Ref ref = {};
  std::string token = {};

  static std::string make(const Lease& lease, TimePoint end) {
    const Ref& ref = lease.task.ref;
    return fmt::format("{}.{}.{}.{}{}{}", end.time_since_epoch().count(), lease.token.size(),
                       ref.queue.size(), lease.token, ref.queue, ref.id);
  }

  /// None when it is none of ours.
  static std::optional<Ticket> parse(std::string_view text) {
    std::array<std::int64_t, 3> numbers{};
    for (std::int64_t& number : numbers) {
      const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (failure != std::errc{} || end == text.data() + text.size() || *end != '.' || number < 0) return {};
      text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
    }
    const auto token = static_cast<std::size_t>(numbers[1]);
    const auto queue = static_cast<std::size_t>(numbers[2]);
    if (token > text.size() || queue > text.size() - token) return {};
    return Ticket{.end = TimePoint{Duration{numbers[0]}},
                  .ref = {std::string{text.substr(token, queue)}, std::string{text.substr(token + queue)}},
                  .token = std::string{text.substr(0, token)}};
  }

  Lease lease() const {
    Lease lease;
    lease.task.ref = ref;
    lease.token = token;
    return lease;
  }
};

// ---- Claims

RemoteLeases::RemoteLeases(Store& store, RetryPolicy retry, Log log)
    : store_(store), retry_(std::move(retry)), log_(std::move(log)), clock_(store) {}

Call RemoteLeases::call() { return clock_.call(); }

WorkerInfo RemoteLeases::info_of(const RemoteWorker& worker, std::optional<std::size_t> busy) {
  const TimePoint now = clock_.now();
  const std::lock_guard lock{mutex_};
  std::erase_if(known_, [](const auto& each) { return steady_now() - each.second.told > forget_after; });
  auto& [info, told] = known_[worker.id];
  if (info.id.empty()) {
    info.id = worker.id;
    info.state = "running";
    info.started_at = now;
  }
  if (!worker.host.empty()) info.host = worker.host;
  if (worker.slots > 0) info.slots = worker.slots;
  if (!worker.queues.empty()) info.queues = {worker.queues.begin(), worker.queues.end()};
  if (busy) info.busy = static_cast<std::int32_t>(*busy);
  told = steady_now();
  return info;
}

void RemoteLeases::announce(const RemoteWorker& worker) {
  {
    const std::lock_guard lock{mutex_};
    const auto known = known_.find(worker.id);
    if (known != known_.end() && steady_now() - known->second.told < announce_every) return;
  }
  (void)store_.renew(info_of(worker, {}), {}, announce_every, {}, call());
}

RemoteClaimed RemoteLeases::claim(const RemoteWorker& worker, std::size_t limit, Duration lease) {
  announce(worker);
  const std::size_t count = std::min(limit, store_.capabilities().batch_max);
  const std::vector<Want> wants = arranged(worker, count);
  const Claim wanted{.worker = worker.id, .wants = wants, .count_max = count, .lease = lease};
  Claimed claimed = store_.claim(wanted, call());
  RemoteClaimed answer{.now = claimed.now, .next_due = claimed.next_due};
  if (!claimed.leases.empty()) answer.leases = sort_out(worker, std::move(claimed.leases), lease);
  return answer;
}

/// Ends what must not start, puts suspects beyond the first one off, and marks what must be marked.
std::vector<RemoteLease> RemoteLeases::sort_out(const RemoteWorker& worker, std::vector<Lease>&& leases,
                                                Duration lease) {
  const TimePoint now = clock_.now();
  std::vector<Report> refused;
  std::vector<Lease> to_mark;
  std::vector<RemoteLease> good;
  for (const Lease& each : leases) {
    if (auto report = rules::refuse(each, now)) {
      refused.push_back(std::move(*report));
      continue;
    }
    std::string token = Ticket::make(each, end_of(each.task, now));
    if (rules::suspect(each.task) && !take_suspect(worker.id, token, now + lease)) {
      Report later = rules::give_back(each);
      later.to = State::scheduled;
      later.front = false;
      later.delay = suspect_pause;
      refused.push_back(std::move(later));
      continue;
    }
    if (rules::must_mark(each.task)) to_mark.push_back(each);
    good.push_back({std::move(token), now + lease, each.task});
  }
  mark(worker, to_mark, lease);
  send(refused);
  return good;
}

void RemoteLeases::mark(const RemoteWorker& worker, std::span<const Lease> leases, Duration lease) {
  if (leases.empty()) return;
  std::vector<Beat> beats;
  for (const Lease& each : leases) beats.push_back({.lease = &each, .started = true});
  (void)store_.renew(info_of(worker, leases.size()), beats, lease, {}, call());
}

bool RemoteLeases::take_suspect(const std::string& worker, const std::string& token, TimePoint until) {
  const TimePoint now = clock_.now();
  const std::lock_guard lock{mutex_};
  Suspect& held = suspects_[worker];
  if (!held.token.empty() && now < held.until) return false;
  held = {token, until};
  std::erase_if(suspects_, [&](const auto& each) { return now >= each.second.until; });
  return true;
}

void RemoteLeases::send(std::span<const Report> reports) {
  if (reports.empty()) return;
  const auto answers = store_.report(reports, call());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i] == Reported::applied)
      stats_.add(reports[i].lease->task, reports[i].tally, clock_.now(), Duration::zero());
  }
}

void RemoteLeases::give_back(std::span<const RemoteLease> leases) {
  std::vector<Lease> all;
  for (const RemoteLease& each : leases) {
    if (const auto ticket = Ticket::parse(each.token)) {
      all.push_back(ticket->lease());
      all.back().task = each.task;
    }
  }
  std::vector<Report> reports;
  for (const Lease& each : all) reports.push_back(rules::give_back(each));
  send(reports);
}

// ---- Renewals

RemoteRenewed RemoteLeases::renew(const RemoteWorker& worker, std::span<const RemoteBeat> beats,
                                  Duration lease) {
  std::vector<Ticket> tickets;
  std::vector<std::optional<std::size_t>> places;
  for (const RemoteBeat& each : beats) {
    auto ticket = Ticket::parse(each.token);
    places.push_back(ticket ? std::optional{tickets.size()} : std::nullopt);
    if (ticket) tickets.push_back(std::move(*ticket));
  }
  std::vector<Lease> leases;
  for (const Ticket& each : tickets) leases.push_back(each.lease());
  std::vector<Beat> sent;
  for (std::size_t i = 0; i < beats.size(); ++i) {
    if (places[i])
      sent.push_back({.lease = &leases[*places[i]], .progress = beats[i].progress, .logs = beats[i].logs});
  }
  const Renewed renewed = store_.renew(info_of(worker, sent.size()), sent, lease, stats_.take(), call());
  if (std::ranges::find(renewed.leases, Signal::unknown) != renewed.leases.end())
    throw Error{ErrorKind::unknown_outcome, "some of the leases may not have been renewed"};
  const TimePoint now = clock_.now();
  RemoteRenewed answer{.worker = renewed.worker, .until = now + lease};
  {
    const std::lock_guard lock{mutex_};
    const auto suspect = suspects_.find(worker.id);
    if (suspect != suspects_.end() &&
        std::ranges::find(beats, suspect->second.token, &RemoteBeat::token) != beats.end())
      suspect->second.until = answer.until;
  }
  std::vector<Ticket> overdue;
  for (std::size_t i = 0; i < beats.size(); ++i) {
    if (!places[i] || *places[i] >= renewed.leases.size()) {
      answer.leases.push_back(RemoteSignal::lost);
      continue;
    }
    const Ticket& ticket = tickets[*places[i]];
    const Signal signal = renewed.leases[*places[i]];
    const bool over = signal != Signal::lost && now >= ticket.end;
    if (over && now - ticket.end >= stop_grace) overdue.push_back(ticket);
    answer.leases.push_back(signal == Signal::lost     ? RemoteSignal::lost
                            : signal == Signal::cancel ? RemoteSignal::cancel
                            : signal == Signal::hold   ? RemoteSignal::hold
                            : over                     ? RemoteSignal::stop
                                                       : RemoteSignal::none);
  }
  end_overdue(overdue);
  return answer;
}

/// Its worker was told to stop and goes on: the attempt ends without it.
void RemoteLeases::end_overdue(std::span<const Ticket> tickets) {
  if (tickets.empty()) return;
  const Outcome failure = Outcome::failure("its worker went on after it was told to stop");
  std::vector<RemoteReport> reports;
  for (const Ticket& each : tickets) {
    reports.push_back({.token = Ticket::make(each.lease(), each.end), .outcome = failure});
  }
  (void)report(reports);
}

// ---- Reports

Report RemoteLeases::report_of(const RemoteReport& wanted, const Lease& lease, TimePoint now) const {
  if (wanted.held) return rules::withdraw(lease, Signal::hold);
  if (!wanted.outcome) return rules::give_back(lease);
  const Task& task = lease.task;
  const TimePoint started = task.started_at.value_or(now);
  StopReason stopped = StopReason::none;
  if (task.deadline && *task.deadline <= now) {
    stopped = StopReason::deadline;
  } else if (now >= end_of(task, started)) {
    stopped = StopReason::timeout;
  }
  return rules::conclude({.lease = lease,
                          .outcome = *wanted.outcome,
                          .stopped = stopped,
                          .started_at = started,
                          .random = random_unit()},
                         {.retry = retry_, .deferrals_max = deferrals_max});
}

std::vector<Reported> RemoteLeases::report(std::span<const RemoteReport> wanted) {
  std::vector<Reported> answers(wanted.size(), Reported::lost);
  std::vector<std::size_t> places;
  std::vector<Ref> refs;
  std::vector<Ticket> tickets;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto ticket = Ticket::parse(wanted[i].token);
    if (!ticket) continue;
    if (was_applied(wanted[i].token)) {
      answers[i] = Reported::applied;
      continue;
    }
    places.push_back(i);
    refs.push_back(ticket->ref);
    tickets.push_back(std::move(*ticket));
  }
  if (refs.empty()) return answers;
  auto tasks = store_.catalog()->get(refs, call());
  const TimePoint now = clock_.now();
  std::vector<Lease> leases(refs.size());
  std::vector<Report> reports;
  std::vector<std::size_t> sent;
  for (std::size_t k = 0; k < refs.size(); ++k) {
    if (!tasks[k]) answers[places[k]] = Reported::ended;
    if (!tasks[k] || tasks[k]->state != State::active) continue;
    leases[k] = {.task = std::move(*tasks[k]), .token = tickets[k].token};
    Report report = report_of(wanted[places[k]], leases[k], now);
    if (report.record) report.logs = wanted[places[k]].logs;
    reports.push_back(std::move(report));
    sent.push_back(places[k]);
  }
  if (reports.empty()) return answers;
  const auto stored = store_.report(reports, call());
  for (std::size_t k = 0; k < stored.size(); ++k) {
    answers[sent[k]] = stored[k];
    if (stored[k] != Reported::applied) continue;
    remember(wanted[sent[k]].token);
    const Task& task = reports[k].lease->task;
    stats_.add(task, reports[k].tally, now, task.started_at ? now - *task.started_at : Duration::zero());
  }
  return answers;
}

bool RemoteLeases::was_applied(const std::string& token) {
  const std::lock_guard lock{mutex_};
  return applied_.contains(token);
}

void RemoteLeases::remember(const std::string& token) {
  const std::lock_guard lock{mutex_};
  std::erase_if(suspects_, [&](const auto& each) { return each.second.token == token; });
  if (!applied_.insert(token).second) return;
  applied_order_.push_back(token);
  if (applied_order_.size() <= applied_max) return;
  applied_.erase(applied_order_.front());
  applied_order_.pop_front();
}

void RemoteLeases::flush(const WorkerInfo& worker) {
  const auto stats = stats_.take();
  if (stats.empty()) return;
  try {
    (void)store_.renew(worker, {}, announce_every, stats, call());
  } catch (const Error&) {
    stats_.put_back(stats);
    throw;
  }
}

}  // namespace tidemill::engine
