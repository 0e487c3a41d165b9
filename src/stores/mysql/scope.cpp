#include "stores/mysql/scope.hpp"

#include <utility>

namespace tidemill::mysql_store {

Scope::Scope(mysql::Connection& connection, Naming& naming, Mode mode, Batch opening)
    : db_(connection), naming_(naming), mode_(mode), opening_(std::move(opening)) {}

std::vector<Query> Scope::ask_all(Batch batch) {
  Batch all;
  const bool begins = mode_ == Mode::transaction && !begun_;
  if (begins) all = opening_;
  all.append(std::exchange(told_, {}));
  const std::size_t before = all.size();
  all.append(std::move(batch));
  auto answers = db_.send(all, begins ? mysql::Scope::begins : mysql::Scope::plain);
  begun_ = mode_ == Mode::transaction;
  answers.erase(answers.begin(), answers.begin() + static_cast<std::ptrdiff_t>(before));
  return answers;
}

void Scope::commit() {
  if (mode_ == Mode::callers) {
    if (!told_.empty()) db_.send(told_);
  } else if (begun_) {
    db_.send(told_, mysql::Scope::commits);
  } else if (!told_.empty()) {
    Batch all = opening_;
    all.append(std::move(told_));
    db_.send(all);
  }
  told_.clear();
  begun_ = false;
}

}  // namespace tidemill::mysql_store
