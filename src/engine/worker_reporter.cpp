#include "engine/worker_reporter.hpp"

#include <utility>

#include <tidemill/error.hpp>

#include "engine/worker_core.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t batch_max = 512;
constexpr std::size_t batch_bytes_max = 1U << 20U;
/// How often one item may fail by itself, while its neighbours are taken, before it is dropped.
constexpr int tries_max = 8;

Steady steady_now() { return std::chrono::steady_clock::now(); }

std::size_t bytes_of(const Report& report) {
  std::size_t bytes = 200 + report.result.size() + report.error.size() + report.reason.size();
  for (const LogLine& line : report.logs) bytes += line.text.size();
  for (const Task& task : report.then) bytes += task.payload.size();
  return bytes;
}

}  // namespace

void WorkerReporter::Batch::add(AttemptPtr attempt, Report report, int tried) {
  attempts.push_back(std::move(attempt));
  reports.push_back(std::move(report));
  tries.push_back(tried);
}

WorkerReporter::WorkerReporter(WorkerCore& core)
    : core_(core), lane_(core.clock), trouble_(core.options.log, "report outcomes") {}

void WorkerReporter::start() {
  thread_ = std::thread{[this] {
    name_thread("tm-report");
    loop();
  }};
}

void WorkerReporter::finish(Steady until) {
  {
    const std::lock_guard lock{mutex_};
    finishing_ = true;
    until_ = until;
  }
  more_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void WorkerReporter::add(const AttemptPtr& attempt, Report report) {
  waiting_.fetch_add(1, std::memory_order_relaxed);
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    gathered_.add(attempt, std::move(report), 0);
    wake = std::exchange(asleep_, false);
  }
  if (wake) more_.notify_one();
}

std::vector<AttemptPtr> WorkerReporter::held() {
  const std::lock_guard lock{mutex_};
  std::vector<AttemptPtr> all = gathered_.attempts;
  all.insert(all.end(), sending_.attempts.begin(), sending_.attempts.end());
  return all;
}

void WorkerReporter::loop() {
  while (gather()) send_all();
}

bool WorkerReporter::gather() {
  std::unique_lock lock{mutex_};
  while (gathered_.empty() && !finishing_) {
    asleep_ = true;
    more_.wait(lock);
  }
  asleep_ = false;
  std::swap(gathered_, sending_);
  return !sending_.empty();
}

void WorkerReporter::send_all() {
  std::size_t done = 0;
  while (done < sending_.size() && !given_up()) done = send(done);
  if (done < sending_.size()) {
    core_.options.log.error("stopped without having reported all outcomes: these tasks will run again",
                            {{"outcomes", std::to_string(sending_.size() - done)}});
  }
  Batch over;
  const bool was_behind = is_behind();
  {
    const std::lock_guard lock{mutex_};
    std::swap(over, sending_);
    for (std::size_t i = 0; i < failed_.size(); ++i) {
      gathered_.add(std::move(failed_.attempts[i]), std::move(failed_.reports[i]), failed_.tries[i]);
    }
  }
  waiting_.fetch_sub(over.size() - failed_.size(), std::memory_order_relaxed);
  if (was_behind && !is_behind()) core_.bell.ring();
  const bool some_failed = !failed_.empty();
  failed_ = {};
  over.attempts.clear();
  over.reports.clear();
  over.tries.clear();
  if (some_failed) {
    pause(trouble_.failed("the store answered that it could not write some of them"));
    return;
  }
  trouble_.over();
  // Its memory serves the next round.
  const std::lock_guard lock{mutex_};
  if (sending_.attempts.capacity() < over.attempts.capacity()) std::swap(sending_, over);
}

std::size_t WorkerReporter::send(std::size_t begin) {
  std::size_t end = begin;
  std::size_t bytes = 0;
  const std::size_t most = std::min(batch_max, core_.store.capabilities().batch_max);
  while (end < sending_.size() && end - begin < most) {
    Report& report = sending_.reports[end];
    // Only what is recorded keeps its lines. A beat that failed may have put some back since the last try.
    if (report.record) {
      for (LogLine& line : sending_.attempts[end]->last_logs()) report.logs.push_back(std::move(line));
    }
    bytes += bytes_of(report);
    if (end > begin && bytes > batch_bytes_max) break;
    ++end;
  }
  const std::vector<Reported> answers = call({sending_.reports.data() + begin, end - begin});
  if (answers.empty()) return begin;
  for (std::size_t i = 0; i < answers.size(); ++i) settle(begin + i, answers[i]);
  return end;
}

/// Empty if it could not be sent before the worker gave up.
std::vector<Reported> WorkerReporter::call(std::span<const Report> reports) {
  std::optional<Call> in_doubt;
  while (true) {
    try {
      // After an unknown outcome the very same call is repeated: the store then gives the answer that got
      // lost.
      const Call call = in_doubt ? *in_doubt : lane_.next(core_.hold);
      in_doubt = call;
      return core_.store.report(reports, call);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unknown_outcome) in_doubt.reset();
      pause(trouble_.failed(error.what()));
    } catch (const std::exception& error) {
      in_doubt.reset();
      pause(trouble_.failed(error.what()));
    }
    if (in_doubt) in_doubt->deadline = steady_now() + core_.hold;
    if (given_up()) return {};
  }
}

void WorkerReporter::settle(std::size_t at, Reported answer) {
  const detail::Attempt& attempt = *sending_.attempts[at];
  const Ref& ref = attempt.task().ref;
  switch (answer) {
    case Reported::applied:
      count(attempt, sending_.reports[at]);
      return;
    case Reported::lost:
      core_.lost(attempt.task(), "before its outcome was reported; another worker runs the task, or will");
      return;
    case Reported::ended:
      core_.options.log.info("an outcome came too late: the task has ended",
                             {{"queue", ref.queue}, {"id", ref.id}, {"kind", attempt.task().kind}});
      return;
    case Reported::failed:
    case Reported::unknown:
      break;
  }
  const int tried = sending_.tries[at] + 1;
  if (tried < tries_max) {
    failed_.add(sending_.attempts[at], sending_.reports[at], tried);
    return;
  }
  core_.options.log.error("the store does not take an outcome: the task will run again",
                          {{"queue", ref.queue}, {"id", ref.id}, {"kind", attempt.task().kind}});
}

void WorkerReporter::count(const detail::Attempt& attempt, const Report& report) {
  const Duration busy = attempt.begun() ? attempt.ran() : Duration::zero();
  core_.stats.add(attempt.task(), report.tally, core_.now(), busy);
}

bool WorkerReporter::given_up() {
  const std::lock_guard lock{mutex_};
  return finishing_ && trouble_.lasts() && steady_now() >= until_;
}

void WorkerReporter::pause(Duration length) {
  std::unique_lock lock{mutex_};
  // Not past the moment of giving up, and not so long either when the worker stops meanwhile.
  more_.wait_for(lock, length, [this] { return finishing_ && steady_now() >= until_; });
}

}  // namespace tidemill::engine
