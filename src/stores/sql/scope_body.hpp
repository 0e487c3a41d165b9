#pragma once

#include <utility>

#include "stores/sql/scope.hpp"

namespace tidemill::sql_store {

template <class Database>
Scope<Database>::Scope(Connection& connection, Naming& naming, Mode mode, Batch opening)
    : db_(connection), naming_(naming), mode_(mode), opening_(std::move(opening)) {}

template <class Database>
auto Scope<Database>::ask_all(Batch batch) -> std::vector<Query> {
  Batch all;
  const bool begins = mode_ != Mode::callers && !begun_;
  if (begins) all = opening_;
  all.append(std::exchange(told_, {}));
  const std::size_t before = all.size();
  all.append(std::move(batch));
  using Travels = typename Database::Travels;
  const Travels travels = !begins ? Travels::plain : mode_ == Mode::each ? Database::whole : Travels::begins;
  auto answers = db_.send(all, travels);
  begun_ = mode_ == Mode::transaction;
  answers.erase(answers.begin(), answers.begin() + static_cast<std::ptrdiff_t>(before));
  return answers;
}

template <class Database>
void Scope<Database>::commit() {
  if (mode_ == Mode::callers) {
    if (!told_.empty()) db_.send(told_);
  } else if (begun_) {
    db_.send(told_, Database::Travels::commits);
  } else if (!told_.empty()) {
    Batch all = opening_;
    all.append(std::move(told_));
    db_.send(all, Database::whole);
  }
  told_.clear();
  begun_ = false;
}

}  // namespace tidemill::sql_store
