#include "stores/postgres/scope.hpp"

#include <utility>

namespace tidemill::postgres_store {

const Sql plan_by_index{
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"};

Scope::Scope(postgres::Connection& connection, Naming& naming, Mode mode, Batch opening)
    : db_(connection), naming_(naming), mode_(mode), opening_(std::move(opening)) {}

std::vector<Query> Scope::ask_all(Batch batch) {
  Batch all;
  const bool begins = mode_ != Mode::callers && !begun_;
  if (begins) all = opening_;
  all.append(std::exchange(told_, {}));
  const std::size_t before = all.size();
  all.append(std::move(batch));
  const auto scope = !begins               ? postgres::Scope::plain
                     : mode_ == Mode::each ? postgres::Scope::whole
                                           : postgres::Scope::begins;
  auto answers = db_.send(all, scope);
  begun_ = mode_ == Mode::transaction;
  answers.erase(answers.begin(), answers.begin() + static_cast<std::ptrdiff_t>(before));
  return answers;
}

void Scope::commit() {
  if (mode_ == Mode::callers) {
    if (!told_.empty()) db_.send(told_);
  } else if (begun_) {
    db_.send(told_, postgres::Scope::commits);
  } else if (!told_.empty()) {
    Batch all = opening_;
    all.append(std::move(told_));
    db_.send(all, postgres::Scope::whole);
  }
  told_.clear();
  begun_ = false;
}

}  // namespace tidemill::postgres_store
