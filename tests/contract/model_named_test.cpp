// The random calls of the model test that are about locks and documents.
#include "model.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

/// So many acquired locks are remembered, most of which have run out or passed to others.
constexpr std::size_t locks_max = 12;

}  // namespace

std::size_t Model::locks() {
  if (locks_.empty() || chance(40)) {
    const std::string lock = name("l", 4);
    const std::string owner = name("o", 3);
    const Duration length = 1us + duration(20s);
    LockInfo got;
    both(fmt::format("acquire {} by {} for {}", lock, owner, length.count()), [&](Store& store, Side side) {
      const LockInfo answer = store.locks()->acquire(lock, owner, length, call());
      meet(answer.owner == owner ? "lock: acquired" : "lock: refused", side);
      if (side == Side::reference) got = answer;
      return describe::lock(answer);
    });
    locks_.push_back(got);
    if (locks_.size() > locks_max) locks_.erase(locks_.begin());
    return 1;
  }
  // The last one is the most likely to be held still.
  LockInfo lock = chance(50) ? locks_.back() : locks_[below(locks_.size())];
  if (chance(10)) lock.owner = name("o", 3);
  if (chance(10)) ++lock.fence;
  const bool releases = chance(40);
  const Duration length = 1us + duration(20s);
  both(fmt::format("{} {} by {}", releases ? "release" : "extend", describe::lock(lock), length.count()),
       [&](Store& store, Side side) {
         const bool done = releases
                               ? store.locks()->release(lock.name, lock.owner, lock.fence, call())
                               : store.locks()->extend(lock.name, lock.owner, lock.fence, length, call());
         meet(!done ? "lock: lost" : releases ? "lock: released" : "lock: extended", side);
         return std::string{done ? "true" : "false"};
       });
  return 1;
}

std::size_t Model::documents() {
  std::vector<Document> some;
  for (std::size_t i = 1 + below(4); i > 0; --i) {
    Document one{.folder = name("f", 2), .name = name("d", 6), .text = name("text", 100)};
    const DocumentName key{one.folder, one.name};
    const auto stored = reference_.documents()->get({&key, 1}, call()).at(0);
    if (stored && chance(80)) one.version = stored->version;
    if (chance(5)) ++one.version;
    if (chance(50)) one.expires_at = clock_.now() + duration(20s);
    some.push_back(std::move(one));
  }
  if (chance(70)) {
    both("put" + describe::all(some, describe::document), [&](Store& store, Side side) {
      return describe::all(store.documents()->put(some, call()), [&](const auto& version) {
        meet(version ? "document: put" : "document: stale", side);
        return std::to_string(version.value_or(0));
      });
    });
    return some.size();
  }
  std::vector<EraseDocument> erased;
  for (const Document& each : some) {
    erased.push_back({each.folder, each.name, chance(30) ? std::nullopt : std::optional{each.version}});
  }
  both("erase" + describe::all(some, describe::document), [&](Store& store, Side side) {
    const std::vector<bool> answers = store.documents()->erase(erased, call());
    for (const bool answer : answers) meet(answer ? "document: erased" : "document: kept", side);
    return fmt::format("{}", answers);
  });
  return some.size();
}

}  // namespace tidemill::contract
