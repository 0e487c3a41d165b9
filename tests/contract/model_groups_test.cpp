// The random calls of the model test that are about groups.
#include "model.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t sets_max = 10;

std::string text_of(const TaskSet& set) {
  return fmt::format("{} {} length={}{}", set.queue, set.group, set.length.count(),
                     describe::all(set.tasks, describe::task));
}

/// In which order groups come is open.
void sort(Gathered& gathered) {
  std::ranges::sort(gathered.sets, {}, [](const TaskSet& set) { return std::pair{set.queue, set.group}; });
}

}  // namespace

std::size_t Model::gather() {
  std::vector<std::string> names;
  for (int i = 0; i < 4; ++i) {
    if (chance(60)) names.push_back("q" + std::to_string(i));
  }
  const std::vector<std::string_view> queues{names.begin(), names.end()};
  const std::string worker = name("w", 4);
  const Gather gather{.worker = worker,
                      .queues = queues,
                      .rule = {.size_max = 1 + below(5), .delay_max = duration(10s), .grace = duration(10s)},
                      .count_max = 1000,
                      .bytes_max = chance(30) ? 1 + below(100) : 0,
                      .lease = 1s + duration(20s)};
  const std::string what = fmt::format("gather from {} size_max={} delay_max={} grace={} bytes_max={}", names,
                                       gather.rule.size_max, gather.rule.delay_max.count(),
                                       gather.rule.grace.count(), gather.bytes_max);
  Gathered expected = reference_.groups()->gather(gather, call());
  Gathered got = subject_.groups()->gather(gather, call());
  sort(expected);
  sort(got);
  const auto text = [](const Gathered& gathered) {
    return fmt::format("next_due={} now={}{}", describe::time(gathered.next_due),
                       describe::time(gathered.now), describe::all(gathered.sets, text_of));
  };
  check(what, text(expected), text(got));
  for (std::size_t i = 0; i < expected.sets.size(); ++i) {
    for (const std::string& token : {expected.sets[i].token, got.sets[i].token}) {
      if (token.empty() || !tokens_.insert(token).second)
        throw Mismatch{what + ": a token came twice: " + token};
    }
    sets_.push_back({expected.sets[i], got.sets[i]});
  }
  while (sets_.size() > sets_max) sets_.erase(sets_.begin());
  met_["gather: sets"] += expected.sets.size();
  return 1 + expected.sets.size();
}

std::size_t Model::settle() {
  if (sets_.empty()) return 0;
  const std::size_t at = below(sets_.size());
  Settle end;
  if (chance(60)) {
    end.merged = task();
    if (chance(80)) end.merged->ref.queue = sets_[at].reference.queue;
    end.merged->firing.reset();
    end.merged->delay = duration(10s);
  } else if (chance(50)) {
    end.delay = duration(10s);
  }
  const std::string what =
      fmt::format("settle {} {} delay={} {}", sets_[at].reference.queue, sets_[at].reference.group,
                  end.delay.count(), end.merged ? describe::put(*end.merged) : "");
  both(what, [&](Store& store, Side side) {
    Settle own = end;
    own.set = side == Side::reference ? &sets_[at].reference : &sets_[at].subject;
    const Reported answer = store.groups()->settle({&own, 1}, call()).at(0);
    meet(std::string{"settle: "}.append(to_string(answer)), side);
    return std::string{to_string(answer)};
  });
  // Some are confused and use it again.
  if (chance(70)) sets_.erase(sets_.begin() + static_cast<std::ptrdiff_t>(at));
  return 1;
}

}  // namespace tidemill::contract
