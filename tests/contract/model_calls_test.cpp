// The random calls of the model test, and how their answers are compared.
#include "model.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t log_max = 40;
constexpr std::size_t leases_max = 60;

std::string of(const Enqueued& answer) {
  // The words of `why` are each store's own; that there are some is not.
  const bool silent = answer.why.empty() && answer.put != Put::created && answer.put != Put::replaced;
  return fmt::format("{} {}{}", to_string(answer.put), answer.id, silent ? " (says not why)" : "");
}

}  // namespace

void Model::check(const std::string& what, const std::string& expected, const std::string& got) {
  log_.push_back(fmt::format("@{} {}\n  -> {}", describe::time(clock_.now()), what, expected));
  if (log_.size() > log_max) log_.pop_front();
  if (expected != got) {
    throw Mismatch{fmt::format("{}\n  the reference: {}\n  the subject:   {}", what, expected, got)};
  }
}

void Model::both(const std::string& what, const Ask& ask) {
  const auto answer = [&](Store& store, Side side) -> std::string {
    try {
      return ask(store, side);
    } catch (const Error& error) {
      return fmt::format("Error {}: {}", static_cast<int>(error.kind()), error.what());
    }
  };
  const std::string expected = answer(reference_, Side::reference);
  check(what, expected, answer(subject_, Side::subject));
}

std::string Model::tail() const {
  std::string text;
  for (const std::string& entry : log_) text += entry + '\n';
  return text;
}

std::size_t Model::step() {
  struct Choice {
    std::size_t weight;
    std::size_t (Model::*act)();
  };
  static constexpr std::array choices = {
      Choice{22, &Model::enqueue},    Choice{20, &Model::claim}, Choice{22, &Model::report},
      Choice{8, &Model::renew},       Choice{5, &Model::sweep},  Choice{12, &Model::change},
      Choice{1, &Model::pause},       Choice{1, &Model::signal}, Choice{3, &Model::schedules},
      Choice{3, &Model::look},        Choice{2, &Model::find},   Choice{15, &Model::advance},
      Choice{4, &Model::edit},        Choice{12, &Model::move},  Choice{5, &Model::locks},
      Choice{5, &Model::documents},   Choice{4, &Model::gather}, Choice{4, &Model::settle},
      Choice{1, &Model::erase_queue},
  };
  std::size_t total = 0;
  for (const Choice& choice : choices) total += choice.weight;
  std::size_t at = below(total);
  for (const Choice& choice : choices) {
    if (at < choice.weight) return (this->*choice.act)();
    at -= choice.weight;
  }
  return 0;
}

std::size_t Model::enqueue() {
  std::vector<Task> tasks;
  for (std::size_t i = 1 + below(6); i > 0; --i) tasks.push_back(task());
  both("enqueue" + describe::all(tasks, describe::put), [&](Store& store, Side side) {
    return describe::all(store.enqueue(tasks, call()), [&](const Enqueued& answer) {
      meet(std::string{"enqueue: "}.append(to_string(answer.put)), side);
      return of(answer);
    });
  });
  return tasks.size();
}

void Model::keep_leases(const std::vector<Lease>& reference, const std::vector<Lease>& subject,
                        const std::string& what) {
  for (std::size_t i = 0; i < reference.size(); ++i) {
    for (const std::string& token : {reference[i].token, subject[i].token}) {
      if (token.empty() || !tokens_.insert(token).second)
        throw Mismatch{what + ": a token came twice: " + token};
    }
    leases_.push_back({reference[i], subject[i]});
  }
  // The oldest are forgotten, as by a worker that dies: sweeps will find them.
  while (leases_.size() > leases_max) leases_.erase(leases_.begin());
}

std::size_t Model::claim() {
  std::vector<std::string> queues;
  std::vector<Want> wants;
  for (std::size_t i = 0; i < 3; ++i) {
    if (chance(60)) queues.push_back("q" + std::to_string((i + below(2)) % 4));
  }
  std::string what;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    if (std::find(queues.begin(), queues.begin() + static_cast<std::ptrdiff_t>(i), queues[i]) !=
        queues.begin() + static_cast<std::ptrdiff_t>(i)) {
      continue;
    }
    wants.push_back({queues[i], below(6)});
    what += fmt::format(" {}:{}", queues[i], wants.back().count_max);
  }
  const std::string worker = name("w", 4);
  const Claim claim{.worker = worker,
                    .wants = wants,
                    .count_max = below(9),
                    .bytes_max = chance(30) ? below(100) : 0,
                    .lease = 1s + duration(20s)};
  what = fmt::format("claim by {} of{}, {} in all, {} bytes", worker, what, claim.count_max, claim.bytes_max);
  const Claimed expected = reference_.claim(claim, call());
  const Claimed got = subject_.claim(claim, call());
  const auto text = [](const Claimed& claimed) {
    return fmt::format("next_due={} now={}{}", describe::time(claimed.next_due), describe::time(claimed.now),
                       describe::all(claimed.leases, describe::lease));
  };
  check(what, text(expected), text(got));
  keep_leases(expected.leases, got.leases, what);
  met_["claim: leases"] += expected.leases.size();
  next_due_ = expected.next_due;
  return 1 + expected.leases.size();
}

std::size_t Model::report() {
  if (leases_.empty()) return 0;
  std::vector<std::size_t> pairs;
  std::vector<Report> reports;
  std::string what = "report";
  for (std::size_t i = 1 + below(5); i > 0; --i) {
    pairs.push_back(below(leases_.size()));
    reports.push_back(report_of(pairs.back()));
    const Report& one = reports.back();
    if (chance(2)) pairs.back() = leases_.size();  // None.
    const Ref ref =
        pairs.back() < leases_.size() ? leases_[pairs.back()].reference.task.ref : Ref{"no", "lease"};
    what += fmt::format("\n    {}/{} to {} delay={} keep={} front={} record={} release={} error={}{}",
                        ref.queue, ref.id, to_string(one.to), one.delay.count(),
                        one.keep ? one.keep->count() : -1, one.front, one.record, one.release_key,
                        describe::text(one.error), describe::all(one.then, describe::put));
  }
  both(what, [&](Store& store, Side side) {
    std::vector<Report> own = reports;
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i].lease = pairs[i] < leases_.size() ? &side_of(leases_[pairs[i]], side) : nullptr;
    }
    return describe::all(store.report(own, call()), [&](Reported reported) {
      meet(std::string{"report: "}.append(to_string(reported)), side);
      return to_string(reported);
    });
  });
  // Most holders forget a lease that they have reported; some are confused and use it again.
  for (const std::size_t pair : pairs) {
    if (pair < leases_.size() && chance(70))
      leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(pair));
  }
  return reports.size();
}

std::size_t Model::renew() {
  WorkerInfo info;
  info.id = name("w", 4);
  info.host = name("host", 2);
  info.state = chance(5) ? "gone" : name("state", 2);
  info.queues = {{name("q", 3), 1}};
  info.pid = static_cast<std::int64_t>(draw() >> 2U);
  info.slots = static_cast<std::int32_t>(below(100));
  info.started_at = clock_.now() - duration(1h);
  std::vector<Stat> stats;
  for (std::size_t i = below(3); i > 0; --i) {
    stats.push_back({.queue = name("q", 3),
                     .kind = name("kind", 2),
                     .at = clock_.now() - duration(1h),
                     .success = below(5),
                     .failure = below(5),
                     .crash = below(5),
                     .busy = duration(10s)});
  }
  std::vector<std::size_t> pairs;
  std::vector<Beat> beats;
  std::string what;
  for (std::size_t i = below(5); i > 0 && !leases_.empty(); --i) {
    pairs.push_back(below(leases_.size()));
    Beat beat{.started = chance(30), .logs = lines()};
    if (chance(30)) beat.progress = name("progress", 100);
    const Ref& ref = leases_[pairs.back()].reference.task.ref;
    what += fmt::format("\n    {}/{}{} {} {} lines", ref.queue, ref.id, beat.started ? " started" : "",
                        beat.progress.value_or("-"), beat.logs.size());
    beats.push_back(std::move(beat));
  }
  const Duration length = 1s + duration(20s);
  both("renew " + describe::worker(info) + what, [&](Store& store, Side side) {
    for (std::size_t i = 0; i < beats.size(); ++i) beats[i].lease = &side_of(leases_[pairs[i]], side);
    const Renewed renewed = store.renew(info, beats, length, stats, call());
    const auto met_signal = [&](Signal each) {
      meet(std::string{"beat: "}.append(to_string(each)), side);
      return to_string(each);
    };
    meet(std::string{"worker: "}.append(to_string(renewed.worker)), side);
    return fmt::format("{}{} now={}", to_string(renewed.worker), describe::all(renewed.leases, met_signal),
                       describe::time(renewed.now));
  });
  return 1 + beats.size();
}

std::size_t Model::sweep() {
  const std::size_t limit = chance(30) ? 1 + below(5) : 100;
  const std::string worker = name("w", 4);
  const std::string what = fmt::format("sweep by {}, {} at most", worker, limit);
  const Duration length = 1s + duration(20s);
  const Swept expected = reference_.sweep(worker, length, limit, call());
  const Swept got = subject_.sweep(worker, length, limit, call());
  // `more` may also speak of locks and documents. Which of those that have run out go first is open, so later
  // on one store may have one left under a name that the other has given out anew.
  const auto all_seen = [limit](const Swept& swept) {
    return swept.taken.size() < limit && swept.promoted < limit && swept.purged < limit;
  };
  EXPECT_TRUE(all_seen(got) || got.more) << what;
  const auto text = [](const Swept& swept) {
    const auto taken = [](const Lease& lease) {
      return fmt::format("{} from {}, started {}", describe::lease(lease), lease.task.worker,
                         describe::time(lease.task.started_at));
    };
    return fmt::format("promoted={} purged={}{}", swept.promoted, swept.purged,
                       describe::all(swept.taken, taken));
  };
  check(what, text(expected), text(got));
  keep_leases(expected.taken, got.taken, what);
  met_["sweep: taken"] += expected.taken.size();
  met_["sweep: promoted"] += expected.promoted;
  met_["sweep: purged"] += expected.purged;
  return 1 + expected.taken.size() + expected.promoted + expected.purged;
}

std::size_t Model::change() {
  const std::vector<Ref> which = refs();
  Change change;
  change.from = chance(50) ? States::all() : states();
  using enum State;
  // Erasing comes often, or all ids are soon taken by tasks that have ended.
  change.to = one_of(std::array{gone, gone, gone, pending, pending, held, archived, scheduled});
  if (chance(10)) change.to = static_cast<State>(below(state_count));
  if (chance(50)) change.keep = duration(100s);
  change.reason = name("reason", 3);
  change.fresh = chance(30);
  change.release_key = chance(80);
  if (chance(50)) change.run_at = clock_.now() + duration(60s) - 20s;
  change.signal = one_of(std::array{Signal::none, Signal::cancel, Signal::hold});
  const auto name_of_ref = [](const Ref& each) { return each.queue + "/" + each.id; };
  both(fmt::format("change from {:x} to {} at {} keep={} fresh={} release={} signal={}{}", change.from.bits,
                   to_string(change.to), describe::time(change.run_at),
                   change.keep ? change.keep->count() : -1, change.fresh, change.release_key,
                   to_string(change.signal), describe::all(which, name_of_ref)),
       [&](Store& store, Side side) {
         return describe::all(store.catalog()->change(which, change, call()), [&](Changed changed) {
           meet(std::string{"change: "}.append(to_string(changed)), side);
           return to_string(changed);
         });
       });
  return which.size();
}

std::size_t Model::edit() {
  const std::size_t count = 1 + below(8);
  for (std::size_t i = 0; i < count; ++i) {
    const Ref which = ref();
    Edit edit{.task = task(), .from = chance(80) ? States::all() : states()};
    const auto seen = reference_.catalog()->get({&which, 1}, call()).at(0);
    if (seen && chance(90)) edit.seen = etag(*seen);
    edit.task.ref = which;
    edit.task.unique = unique();
    both(fmt::format("edit from {:x} over {} {}", edit.from.bits, edit.seen, describe::put(edit.task)),
         [&](Store& store, Side side) {
           const Changed changed = store.catalog()->edit(edit, call());
           meet(std::string{"edit: "}.append(to_string(changed)), side);
           return std::string{to_string(changed)};
         });
  }
  return count;
}

std::size_t Model::move() {
  const std::vector<Ref> which = refs();
  const States from = chance(50) ? States::all() : states();
  const std::string queue = name("q", 3);
  const auto name_of_ref = [](const Ref& each) { return each.queue + "/" + each.id; };
  both(fmt::format("move from {:x} to {}{}", from.bits, queue, describe::all(which, name_of_ref)),
       [&](Store& store, Side side) {
         return describe::all(store.catalog()->move(which, from, queue, call()), [&](Changed changed) {
           meet(std::string{"move: "}.append(to_string(changed)), side);
           return to_string(changed);
         });
       });
  return which.size();
}

std::size_t Model::pause() {
  const std::string queue = name("q", 3);
  const bool paused = chance(40);
  both(fmt::format("{} {}", paused ? "pause" : "resume", queue), [&](Store& store, Side) {
    store.catalog()->pause(queue, paused, call());
    return std::string{};
  });
  return 1;
}

std::size_t Model::erase_queue() {
  const std::string queue = name("q", 4);
  both(fmt::format("erase queue {}", queue), [&](Store& store, Side side) {
    const Changed answer = store.catalog()->erase_queue(queue, call());
    meet(std::string{"erase queue: "}.append(to_string(answer)), side);
    return std::string{to_string(answer)};
  });
  return 1;
}

std::size_t Model::signal() {
  const std::string worker = name("w", 5);
  const Signal signal = one_of(std::array{Signal::quiet, Signal::resume, Signal::stop});
  both(fmt::format("signal {} {}", worker, to_string(signal)), [&](Store& store, Side) {
    return std::string{store.catalog()->signal(worker, signal, call()) ? "true" : "false"};
  });
  return 1;
}

std::size_t Model::schedules() {
  if (chance(10)) {
    const std::vector<std::string> ids = {name("s", 4), name("s", 4)};
    both(fmt::format("erase schedules {}", ids),
         [&](Store& store, Side) { return std::to_string(store.catalog()->erase_schedules(ids, call())); });
    return 1;
  }
  std::vector<PutSchedule> puts;
  const auto stored = reference_.catalog()->schedules({}, call());
  for (std::size_t i = 1 + below(3); i > 0; --i) {
    PutSchedule put;
    put.schedule = {.id = name("s", 4),
                    .owner = name("o", 2),
                    .rule = name("rule", 9),
                    .paused = chance(20),
                    .next = clock_.now() + duration(60s) - 20s};
    for (const StoredSchedule& each : stored) {
      if (each.id == put.schedule.id && chance(80)) put.expected_next = each.next;
    }
    puts.push_back(std::move(put));
  }
  const auto text = [](const PutSchedule& put) {
    return describe::schedule(put.schedule) + " over " + describe::time(put.expected_next);
  };
  both("put schedules" + describe::all(puts, text),
       [&](Store& store, Side) { return fmt::format("{}", store.catalog()->put_schedules(puts, call())); });
  return puts.size();
}

}  // namespace tidemill::contract
