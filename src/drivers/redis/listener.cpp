#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "drivers/redis/client.hpp"
#include "drivers/redis/connection.hpp"
#include "drivers/redis/servers.hpp"

namespace tidemill::redis {

namespace {

using Clock = std::chrono::steady_clock;

/// It is not the server that it was, or not the one of the key.
bool wrong_server(const Reply& reply) {
  static constexpr std::string_view codes[] = {"MOVED", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING"};
  return std::any_of(std::begin(codes), std::end(codes), [&](auto code) { return reply.refused(code); });
}

}  // namespace

struct Listener::Impl {
  explicit Impl(std::shared_ptr<Servers> all, int key_slot)
      : servers(std::move(all)), slot(key_slot), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake.get() < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
  }

  void connect(Deadline deadline);
  void drop() {
    connection.reset();
    generation = 0;
    servers->doubt(layout);
  }
  std::optional<Reply> next();

  std::shared_ptr<Servers> servers;
  int slot;
  Fd wake;
  std::unique_ptr<Connection> connection = {};
  std::shared_ptr<const Layout> layout = {};
  Backoff backoff = {};
  std::size_t turn = 0;
  std::uint64_t connections = 0;
  std::uint64_t generation = 0;
};

/// Throws Refused, or at the deadline Failure.
void Listener::Impl::connect(Deadline deadline) {
  while (true) {
    std::this_thread::sleep_until(std::min(backoff.ready_at(), deadline));
    std::string reason = "the deadline has passed";
    try {
      layout = servers->layout(deadline);
      const Address* const address = layout->master_of(slot, turn++);
      if (address == nullptr) throw Failure{fmt::format("no server has the slot {}", slot)};
      reason = shown(*address);
      connection = servers->connect(*address, deadline);
      generation = ++connections;
      return;
    } catch (const Refused&) {
      throw;
    } catch (const Failure& failure) {
      if (Clock::now() >= deadline) throw Failure{fmt::format("{}: {}", reason, failure.what())};
      backoff.failed();
      servers->doubt(layout);
    }
  }
}

/// What has come; none: nothing yet. Throws Failure when the connection is lost.
std::optional<Reply> Listener::Impl::next() {
  auto& pushes = connection->pushes();
  while (pushes.empty()) {
    if (auto message = connection->parser().next()) {
      if (!message->push) throw Failure{"an answer to nothing"};
      pushes.push_back(std::move(message->reply));
      break;
    }
    const std::size_t count = connection->socket().read(connection->parser().room());
    if (count == 0) return {};
    connection->parser().filled(count);
  }
  Reply first = std::move(pushes.front());
  pushes.pop_front();
  return first;
}

Listener::Listener(Client& client, std::optional<std::string> key)
    : impl_(std::make_unique<Impl>(client.servers_, key ? slot_of(*key) : Wire::any_slot)) {}

Listener::~Listener() = default;

std::vector<Reply> Listener::exec(std::span<const Command> commands, Deadline deadline) {
  std::vector<Reply> replies(commands.size());
  const auto all = [&](Reply::Kind kind, const std::string& text) {
    for (Reply& reply : replies) reply = {.kind = kind, .text = text};
    return std::move(replies);
  };
  try {
    if (!impl_->connection) impl_->connect(deadline);
  } catch (const Refused& failure) {
    return all(Reply::Kind::error, failure.what());
  } catch (const Failure& failure) {
    return all(Reply::Kind::unsent, failure.what());
  }
  Pipeline pipeline{*impl_->connection};
  for (const Command& command : commands) pipeline.add(command);
  run({&pipeline, 1}, deadline);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    replies[i] = pipeline.answered(i)
                     ? std::move(pipeline.reply(i))
                     : Reply{.kind = pipeline.sent(i) ? Reply::Kind::lost : Reply::Kind::unsent,
                             .text = pipeline.reason()};
  }
  if (pipeline.broken() || std::any_of(replies.begin(), replies.end(), wrong_server)) {
    impl_->backoff.failed();
    impl_->drop();
  } else {
    impl_->backoff.reset();
  }
  return replies;
}

std::optional<Reply> Listener::receive(Deadline deadline) {
  while (impl_->connection) {
    try {
      if (auto message = impl_->next()) return message;
    } catch (const Failure&) {
      impl_->drop();
      return {};
    }
    std::array<pollfd, 2> entries{pollfd{.fd = impl_->connection->socket().fd(),
                                         .events = impl_->connection->socket().events(false),
                                         .revents = 0},
                                  pollfd{.fd = impl_->wake.get(), .events = POLLIN, .revents = 0}};
    ::poll(entries.data(), entries.size(), milliseconds_until(deadline));
    std::uint64_t times = 0;
    if (::read(impl_->wake.get(), &times, sizeof times) > 0) return {};
    if (entries[0].revents == 0 && Clock::now() >= deadline) return {};
  }
  return {};
}

void Listener::interrupt() noexcept {
  const std::uint64_t once = 1;
  (void)!::write(impl_->wake.get(), &once, sizeof once);
}

std::uint64_t Listener::generation() const noexcept { return impl_->generation; }

}  // namespace tidemill::redis
