#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "drivers/http/client.hpp"
#include "drivers/http/server.hpp"
#include "http_receiver.hpp"

namespace tidemill::http::tests {

/// What comes back of one call.
class Reply {
 public:
  Client::Done done() {
    return [state = state_](CallResult result) {
      const std::lock_guard lock{state->mutex};
      ++state->count;
      state->result = std::move(result);
      state->changed.notify_all();
    };
  }
  bool is_there() const {
    const std::lock_guard lock{state_->mutex};
    return state_->count > 0;
  }
  int count() const {
    const std::lock_guard lock{state_->mutex};
    return state_->count;
  }
  CallResult get() const {
    std::unique_lock lock{state_->mutex};
    if (!state_->changed.wait_for(lock, std::chrono::seconds{30}, [&] { return state_->count > 0; }))
      throw std::runtime_error{"the call was never answered"};
    return state_->result;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    CallResult result = {};
    int count = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// A client that may call this machine, and a well-behaved receiver that answers with what it was asked;
/// what asks for /late waits for the test.
class HttpClient : public ::testing::Test {
 protected:
  static ClientOptions local() { return {.allow_networks = {"127.0.0.0/8", "::1"}}; }

  void start(ClientOptions options = local()) { client.emplace(std::move(options)); }
  Reply send(Call call) {
    if (!client) start();
    Reply reply;
    client->send(std::move(call), reply.done());
    return reply;
  }
  CallResult ask(Call call) { return send(std::move(call)).get(); }

  static std::string url_of(std::uint16_t port, std::string_view path = "/") {
    return fmt::format("http://127.0.0.1:{}{}", port, path);
  }
  std::string url(std::string_view path = "/") const { return url_of(server.port(), path); }
  /// The same receiver, by a name that makes it another host.
  std::string other_host() const { return fmt::format("http://localhost:{}/", server.port()); }
  std::vector<Request> requests() {
    const std::lock_guard lock{mutex};
    return seen;
  }
  /// Answers all that wait for it.
  std::size_t answer_late() {
    std::vector<Answer> answers;
    {
      const std::lock_guard lock{mutex};
      answers.swap(late);
    }
    for (const Answer& answer : answers) answer({.body = "late"});
    return answers.size();
  }

  std::mutex mutex;
  std::vector<Request> seen;
  std::vector<Answer> late;
  Server server{{}, [this](Request&& request, Answer answer) {
                  const std::lock_guard lock{mutex};
                  seen.push_back(request);
                  if (request.path == "/late") {
                    late.push_back(std::move(answer));
                  } else if (request.path == "/redirect") {
                    answer({.status = 302, .headers = {{"Location", request.query}}});
                  } else {
                    answer({.status = request.path == "/teapot" ? 418 : 200,
                            .headers = {{"X-Name", " a value "}},
                            .body = fmt::format("{} {} {}", request.method, request.path, request.body)});
                  }
                }};
  std::optional<Client> client;
};

}  // namespace tidemill::http::tests
