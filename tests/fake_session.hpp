#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "drivers/sql/session.hpp"

namespace tidemill::testing {

/// Another library's connection that a test plays. What it was told outlives it.
class FakeSession : public sql::Session {
 public:
  struct Play {
    std::vector<std::string> texts = {};
    std::function<std::vector<Row>(const std::string& text)> answer = {};  ///< May throw Refusal.
    bool alive = true;
  };
  explicit FakeSession(std::shared_ptr<Play> play) : play_(std::move(play)) {}

  std::int64_t execute(const std::string& text) override {
    play_->texts.push_back(text);
    play_->answer(text);
    return 1;
  }
  std::vector<Row> query(const std::string& text) override {
    play_->texts.push_back(text);
    return play_->answer(text);
  }
  bool alive() noexcept override { return play_->alive; }

 private:
  std::shared_ptr<Play> play_;
};

}  // namespace tidemill::testing
