#include "drivers/redis/connection.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include <fmt/format.h>

namespace tidemill::redis {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t pieces_max = 128;
/// For this time a thread looks for an answer before it sleeps. To fall asleep and to be woken may take
/// longer than a server nearby needs for a short call.
constexpr auto awake_max = std::chrono::microseconds{100};
constexpr int passed_over_max = 128;

bool confirms(const Reply& message) {
  return !message.items.empty() && message.items[0].text.ends_with("subscribe");
}

/// An error for good is Refused; other errors end by themselves.
void check(const Reply& reply) {
  if (reply.kind != Reply::Kind::error) return;
  const bool busy = reply.text.find("max number of clients") != std::string::npos ||
                    reply.refused("LOADING") || reply.refused("MASTERDOWN") || reply.refused("BUSY");
  if (busy) throw Failure{reply.text};
  throw Refused{reply.text};
}

}  // namespace

Reply ask(Connection& connection, const Command& command, Deadline deadline) {
  Pipeline pipeline{connection};
  pipeline.add(command);
  run({&pipeline, 1}, deadline);
  if (!pipeline.complete()) throw Failure{pipeline.reason()};
  return std::move(pipeline.reply(0));
}

Connection::Connection(Address address, const Login& login, const TlsContext* tls, Deadline deadline)
    : address_(std::move(address)), socket_(address_, tls, deadline) {
  log_in(login, deadline);
}

bool Connection::idle() const noexcept { return parser_.empty() && socket_.quiet(); }

bool Connection::introduce(const Script* script) {
  if (std::find(scripts_.begin(), scripts_.end(), script) != scripts_.end()) return true;
  scripts_.push_back(script);
  return false;
}

bool Connection::may_answer_soon() noexcept {
  if (left_to_pass_ == 0) return true;
  --left_to_pass_;
  return false;
}

void Connection::stayed_awake(bool in_time) noexcept {
  passed_over_ = in_time ? 0 : std::clamp(2 * passed_over_, 1, passed_over_max);
  left_to_pass_ = passed_over_;
}

/// False when the server has no RESP3.
bool Connection::greet(const Login& login, Deadline deadline) {
  Command hello{"HELLO"};
  hello.add("3");
  if (!login.password.empty())
    hello.add("AUTH").add(login.user.empty() ? "default" : login.user).add(login.password);
  hello.add("SETNAME").add("tidemill");
  const Reply reply = ask(*this, hello, deadline);
  const bool unknown =
      reply.refused("NOPROTO") || (reply.refused("ERR") && reply.text.find("unknown") != std::string::npos);
  if (!unknown) check(reply);
  return !unknown;
}

void Connection::log_in(const Login& login, Deadline deadline) {
  if (!greet(login, deadline)) {
    if (login.resp3) throw Refused{"ERR the server has no RESP3; version 6 of Redis has, and later ones"};
    if (!login.password.empty()) {
      Command auth{"AUTH"};
      if (!login.user.empty()) auth.add(login.user);
      check(ask(*this, auth.add(login.password), deadline));
    }
    // A name is of use to people only, so a server may refuse it.
    (void)ask(*this, Command{"CLIENT"}.add("SETNAME").add("tidemill"), deadline);
  }
  if (login.database != 0) check(ask(*this, Command{"SELECT"}.add(login.database), deadline));
  if (!login.master) return;
  const Reply role = ask(*this, Command{"ROLE"}, deadline);
  check(role);
  if (role.items.empty() || role.items[0].text != "master") throw Failure{"the server is not a master"};
}

void Pipeline::add(const Command& command) {
  const Script* const script = Wire::script(command);
  const bool text = script != nullptr && !connection_->introduce(script);
  const std::size_t channels = Wire::channels(command);
  requests_.push_back({.end = output_.add(command, text),
                       .missing = std::max<std::size_t>(channels, 1),
                       .subscribes = channels > 0,
                       .text = text});
}

void Pipeline::start() noexcept {
  try {
    write();
  } catch (const std::exception& failure) {
    give_up(failure.what());
  }
}

void Pipeline::progress() noexcept {
  try {
    write();
    read();
  } catch (const std::exception& failure) {
    give_up(failure.what());
  }
}

void Pipeline::write() {
  std::array<iovec, pieces_max> pieces;
  while (writes()) {
    const std::size_t count = connection_->socket().write(output_.next(pieces));
    if (count == 0) return;
    output_.advance(count);
  }
}

void Pipeline::read() {
  while (!complete()) {
    if (auto message = connection_->parser().next()) {
      take(std::move(*message));
      continue;
    }
    const std::size_t count = connection_->socket().read(connection_->parser().room());
    if (count == 0) return;
    connection_->parser().filled(count);
  }
}

void Pipeline::take(Parser::Message message) {
  Request& request = requests_[answered_];
  if (message.push && !(request.subscribes && confirms(message.reply))) {
    connection_->pushes().push_back(std::move(message.reply));
    return;
  }
  if (!sent(answered_)) throw Failure{fmt::format("unasked, the server has sent: {}", message.reply.text)};
  request.reply = std::move(message.reply);
  if (--request.missing == 0 || request.reply.kind == Reply::Kind::error) ++answered_;
}

void Pipeline::give_up(std::string reason) {
  broken_ = true;
  reason_ = std::move(reason);
}

namespace {

void stay_awake(Pipeline& pipeline) {
  if (!pipeline.connection().may_answer_soon()) return;
  const auto limit = Clock::now() + awake_max;
  bool in_time = true;
  while (in_time && !pipeline.over()) {
    pipeline.progress();
    in_time = Clock::now() < limit;
  }
  pipeline.connection().stayed_awake(in_time);
}

}  // namespace

void run(std::span<Pipeline> pipelines, Deadline deadline) {
  for (Pipeline& pipeline : pipelines) pipeline.start();
  if (pipelines.size() == 1) stay_awake(pipelines.front());
  std::vector<pollfd> entries;
  while (true) {
    entries.clear();
    for (const Pipeline& pipeline : pipelines) {
      if (pipeline.over()) continue;
      const Socket& socket = pipeline.socket();
      entries.push_back({.fd = socket.fd(), .events = socket.events(pipeline.writes()), .revents = 0});
    }
    if (entries.empty()) return;
    if (Clock::now() >= deadline) break;
    ::poll(entries.data(), entries.size(), milliseconds_until(deadline));
    for (Pipeline& pipeline : pipelines) {
      if (!pipeline.over()) pipeline.progress();
    }
  }
  for (Pipeline& pipeline : pipelines) {
    if (!pipeline.over()) pipeline.give_up("the server has not answered in time");
  }
}

}  // namespace tidemill::redis
