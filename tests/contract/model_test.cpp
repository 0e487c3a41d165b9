// The random model test: the same calls to the memory store, which is simple enough to be checked by reading,
// and to another store; every answer must be the same.
//
// TIDEMILL_SEED repeats a run, TIDEMILL_OPERATIONS says how long one is, TIDEMILL_VERBOSE which answers it
// met.
#include "model.hpp"

#include <cstdlib>
#include <iostream>
#include <random>

namespace tidemill::contract {

using namespace std::chrono_literals;

Model::Model(std::uint64_t seed, Store& reference, Store& subject, TestClock& clock)
    : state_(seed), reference_(reference), subject_(subject), clock_(clock) {}

// ---- Chance: splitmix64, so that a seed means the same everywhere ----

std::uint64_t Model::draw() {
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

States Model::states() {
  States states;
  for (std::size_t i = 0; i < 4; ++i) states = states + static_cast<State>(1 + below(state_count - 1));
  return states;
}

std::vector<Ref> Model::refs() {
  std::vector<Ref> some;
  for (std::size_t i = 1 + below(12); i > 0; --i) some.push_back(ref());
  // Tasks that run are few among all ids, and what happens to them is worth trying.
  if (!leases_.empty() && chance(50)) some.push_back(leases_[below(leases_.size())].reference.task.ref);
  return some;
}

Unique Model::unique() {
  Unique unique;
  unique.key = name("key", 12);
  if (chance(40)) unique.window = 1us + duration(60s);
  unique.outlives_task = unique.window > Duration::zero() && chance(40);
  unique.on_conflict = one_of(std::array{OnConflict::keep, OnConflict::reject, OnConflict::replace});
  return unique;
}

Firing Model::firing() {
  Firing firing{.schedule = name("s", 4), .instant = clock_.now(), .only_if_created = chance(50)};
  for (const StoredSchedule& each : reference_.catalog()->schedules({}, call())) {
    if (each.id == firing.schedule && chance(80)) firing.instant = each.next;
  }
  firing.next = firing.instant + 1s + duration(60s);
  return firing;
}

std::vector<LogLine> Model::lines() {
  std::vector<LogLine> lines;
  for (std::size_t i = below(3); i > 0; --i) {
    lines.push_back({clock_.now() - duration(1s), static_cast<Level>(below(4)), name("line\n", 100)});
  }
  return lines;
}

Task Model::task() {
  using enum State;
  Task task;
  task.ref = ref();
  task.state = one_of(
      std::array{pending, pending, pending, pending, pending, scheduled, scheduled, held, aggregating});
  if (chance(2)) task.state = static_cast<State>(below(state_count));
  task.kind = name("kind", 3);
  task.payload = std::string(below(40), 'x') + name("", 10);
  if (chance(10)) task.payload += std::string("\0'\xff", 3);
  if (chance(task.state == aggregating ? 80 : 20)) task.group = name("g", 2);
  if (chance(20)) task.headers = {{name("header", 3), name("v", 3)}, {"other", ""}};
  task.priority = static_cast<std::int32_t>(below(5)) - 2;
  task.retries_max = static_cast<std::int32_t>(below(5));
  task.crashes_max = static_cast<std::int32_t>(below(4));
  if (chance(70)) task.delay = duration(30s);
  if (chance(30)) task.run_at = clock_.now() + duration(60s) - 20s;
  task.timeout = duration(60s);
  task.retention = duration(60s);
  if (chance(20)) task.deadline = clock_.now() + duration(60s);
  if (chance(20)) task.expires_at = clock_.now() + duration(60s);
  if (chance(20)) task.created_at = clock_.now() - duration(60s);
  if (chance(40)) task.unique = unique();
  if (chance(8)) task.firing = firing();
  return task;
}

Report Model::report_of(std::size_t pair) {
  using enum State;
  const Lease& lease = leases_[pair].reference;
  Report report;
  report.to = one_of(std::array{gone, gone, gone, completed, completed, archived, retry, retry, retry,
                                scheduled, pending, pending, held});
  if (chance(2)) report.to = one_of(std::array{active, aggregating, blocked});
  report.delay = duration(20s);
  if (chance(70)) report.keep = duration(60s);
  report.attempt = lease.task.attempt + static_cast<std::int32_t>(below(2));
  report.retries = lease.task.retries + static_cast<std::int32_t>(below(2));
  report.crashes = lease.task.crashes + (chance(20) ? 1 : 0);
  report.deferrals = static_cast<std::int32_t>(below(3));
  report.tally = static_cast<Tally>(below(4));
  report.front = chance(50);
  report.record = chance(50);
  const bool over = report.to == gone || report.to == completed || report.to == archived;
  report.release_key = chance(over ? 90 : 5);
  report.started_at = clock_.now() - duration(5s);
  if (chance(30)) report.result = name("result", 100);
  if (chance(50)) report.error = name("error", 100);
  if (chance(50)) report.reason = name("reason", 5);
  report.logs = lines();
  if (chance(10)) report.then = {task(), task()};
  return report;
}

// ---- Looking, and time ----

void Model::compare_list(const Filter& filter, std::size_t limit, const std::string& what) {
  both(what, [&](Store& store, Side) {
    std::vector<Task> found;
    std::string cursor;
    std::size_t pages = 0;
    do {
      const Page page = store.catalog()->find(filter, cursor, limit, 1h, call());
      if (page.tasks.size() > limit || ++pages > 2000)
        return std::string{"a page too large, or one too many"};
      found.insert(found.end(), page.tasks.begin(), page.tasks.end());
      cursor = page.next;
    } while (!cursor.empty());
    return describe::all(found, describe::task);
  });
}

std::size_t Model::find() {
  Filter filter;
  if (chance(60)) filter.queue = name("q", 4);
  if (chance(30)) filter.kind = one_of(std::array{"kind1", "kind*", "k*", "*", "kin"});
  if (chance(20)) filter.group = name("g", 2);
  if (chance(20)) filter.text = one_of(std::array{"t1", "xxx", "error", "7", "%"});
  if (chance(40)) filter.states = states();
  if (chance(10)) filter.id = one_of(std::array{"1", "2", "t", "x"});
  if (chance(20)) filter.created_from = clock_.now() - duration(60s);
  if (chance(20)) filter.created_before = clock_.now() - duration(60s);
  const std::size_t limit = 1 + below(40);
  compare_list(
      filter, limit,
      fmt::format("find queue={} kind={} id={} group={} text={} states={:x} from={} before={} by {}",
                  filter.queue, filter.kind, filter.id, filter.group, filter.text, filter.states.bits,
                  describe::time(filter.created_from), describe::time(filter.created_before), limit));
  return 1;
}

std::size_t Model::look() {
  const std::vector<Ref> which = refs();
  both("get", [&](Store& store, Side) {
    return describe::all(store.catalog()->get(which, call()),
                         [](const auto& found) { return found ? describe::task(*found) : std::string{"-"}; });
  });
  const TimePoint by = clock_.now() + duration(20s) - 10s;
  both("due schedules", [&](Store& store, Side) {
    return describe::all(store.catalog()->schedules(by, call()), describe::schedule);
  });
  const TimePoint from = clock_.now() - duration(1h);
  const std::string queue = chance(50) ? name("q", 3) : std::string{};
  const Span span = chance(50) ? Span::minute : Span::day;
  both("stats of " + queue, [&](Store& store, Side) {
    return describe::all(store.catalog()->stats(queue, span, from, from + 30min, call()), describe::stat);
  });
  return which.size() + 2;
}

std::size_t Model::advance() {
  // The instants at which something is due are where stores differ, so some steps end just there.
  if (next_due_ && *next_due_ > clock_.now() && *next_due_ < clock_.now() + 1min && chance(30)) {
    clock_.advance(*next_due_ - clock_.now());
    return 0;
  }
  if (chance(1)) {
    clock_.advance(duration(chance(10) ? 24h : 1h));
  } else {
    clock_.advance(duration(chance(10) ? 30s : 2s));
  }
  return 0;
}

void Model::compare_everything() {
  compare_list({}, 100, "everything");
  both("queues",
       [&](Store& store, Side) { return describe::all(store.catalog()->queues(call()), describe::queue); });
  both("groups", [&](Store& store, Side) {
    std::string text;
    for (const char* queue : {"q0", "q1", "q2"})
      text += describe::all(store.catalog()->groups(queue, "", 100, call()), describe::group);
    return text;
  });
  both("schedules", [&](Store& store, Side) {
    return describe::all(store.catalog()->schedules({}, call()), describe::schedule);
  });
  both("workers", [&](Store& store, Side) {
    auto workers = store.catalog()->workers(call());
    std::sort(workers.begin(), workers.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return describe::all(workers, describe::worker);
  });
  both("held locks", [&](Store& store, Side) {
    return describe::all(store.locks()->list("", 100, call()), describe::lock);
  });
  both("all documents", [&](Store& store, Side) {
    return describe::all(store.documents()->list("f0", "", 100, call()), describe::document) +
           describe::all(store.documents()->list("f1", "", 100, call()), describe::document);
  });
  for (const Span span : {Span::minute, Span::day}) {
    both("all stats", [&](Store& store, Side) {
      return describe::all(store.catalog()->stats("", span, TimePoint{}, clock_.now() + 24h, call()),
                           describe::stat);
    });
  }
  both("all attempts", [&](Store& store, Side) {
    std::string text;
    for (int queue = 0; queue < 3; ++queue) {
      for (int id = 0; id < 300; ++id) {
        const Ref ref{"q" + std::to_string(queue), "t" + std::to_string(id)};
        const auto kept = store.catalog()->attempts(ref, call());
        if (!kept.empty())
          text += fmt::format("\n  {}/{}{}", ref.queue, ref.id, describe::all(kept, describe::attempt));
      }
    }
    return text;
  });
}

namespace {

class ModelContract : public testing::TestWithParam<Backend> {};

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

std::uint64_t operations() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t usual = 10'000;  // Each step is some ten times as slow.
#else
  constexpr std::uint64_t usual = 100'000;
#endif
  return number_from_environment("TIDEMILL_OPERATIONS", usual);
}

/// What a long run must have met, or it has proved less than it says.
void expect_met_all(const std::map<std::string, std::size_t>& met) {
  for (const char* answer :
       {"enqueue: created", "enqueue: replaced", "enqueue: exists",     "enqueue: busy",
        "enqueue: fired",   "enqueue: invalid",  "report: applied",     "report: lost",
        "report: ended",    "report: failed",    "beat: none",          "beat: cancel",
        "beat: hold",       "beat: lost",        "worker: quiet",       "worker: resume",
        "worker: stop",     "change: changed",   "change: signalled",   "change: absent",
        "edit: changed",    "edit: absent",      "edit: wrong_state",   "edit: stale",
        "edit: conflict",   "move: changed",     "move: absent",        "move: wrong_state",
        "move: exists",     "move: conflict",    "change: wrong_state", "change: failed",
        "claim: leases",    "sweep: taken",      "sweep: promoted",     "sweep: purged",
        "lock: acquired",   "lock: refused",     "lock: extended",      "lock: released",
        "lock: lost",       "document: put",     "document: stale",     "document: erased",
        "document: kept",   "gather: sets",      "settle: applied",     "settle: lost",
        "settle: failed"}) {
    const auto found = met.find(answer);
    EXPECT_GE(found == met.end() ? 0 : found->second, 10U) << answer;
  }
}

// Why: the tests beside this one hold what somebody thought of. How: see the top of this file; the whole
// catalogue is compared now and then, since an error may lie in what no answer showed.
TEST_P(ModelContract, Rules_RandomCallsHaveTheSameAnswersAsInTheReference) {
  const std::uint64_t seed = number_from_environment("TIDEMILL_SEED", std::random_device{}());
  std::cout << "TIDEMILL_SEED=" << seed << std::endl;
  TestClock clock;
  const Directory directory;
  const auto reference = open("memory:", {.clock = &clock});
  const std::string url = GetParam().url(directory.path());
  const auto subject = GetParam().open ? GetParam().open(url, clock) : open(url, {.clock = &clock});
  if (subject->capabilities().limits.contains(Feature::order)) {
    GTEST_SKIP() << "it has another order than the reference: "
                 << subject->capabilities().limits.at(Feature::order).text;
  }
  Model model{seed, *reference, *subject, clock};
  std::uint64_t done = 0;
  try {
    constexpr std::uint64_t pause = 2000;
    for (std::uint64_t next = pause; done < operations(); next += pause) {
      while (done < next) done += model.step();
      model.compare_everything();
    }
  } catch (const std::exception& error) {
    FAIL() << "after " << done << " operations of TIDEMILL_SEED=" << seed << ": " << error.what()
           << "\n\nThe last calls, with the reference's answers:\n"
           << model.tail();
  }
  if (done >= 50'000) expect_met_all(model.met());
  if (std::getenv("TIDEMILL_VERBOSE") != nullptr) std::cout << fmt::format("{}", model.met()) << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Stores, ModelContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
