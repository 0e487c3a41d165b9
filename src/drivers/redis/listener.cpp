#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <future>
#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "drivers/redis/client.hpp"
#include "drivers/redis/connection.hpp"
#include "drivers/redis/servers.hpp"

namespace tidemill::redis {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// So long a call waits for a server that is looked for, while there are others to be heard.
constexpr auto patience = 50ms;
/// So often a search is looked at while messages are waited for.
constexpr auto search_look = 20ms;

/// It is not the server that it was, or not the one of the key.
bool wrong_server(const Reply& reply) {
  static constexpr std::string_view codes[] = {"MOVED", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING"};
  return std::any_of(std::begin(codes), std::end(codes), [&](auto code) { return reply.refused(code); });
}

}  // namespace

struct Listener::Impl {
  struct Node {
    std::unique_ptr<Connection> connection = {};
    std::uint64_t generation = 0;
  };
  /// What came of looking for a server.
  struct Found {
    std::shared_ptr<const Layout> layout = {};
    std::unique_ptr<Connection> connection = {};
    std::string reason = {};  ///< Why there is no connection.
    bool refused = false;
  };
  struct Search {
    std::optional<Address> address = {};  ///< None: not known yet.
    std::future<Found> found = {};
  };
  using Nodes = std::map<Address, Node>;

  Impl(std::shared_ptr<Servers> all, std::vector<Command> first)
      : servers(std::move(all)), greeting(std::move(first)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake.get() < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
  }

  std::optional<Address> address_of(int slot) const;
  Nodes::iterator node_of(int slot);
  void connect(const std::vector<int>& slots, Deadline deadline);
  void search(const std::vector<int>& slots, Deadline deadline);
  Found find(int slot, std::size_t at, Deadline deadline) const;
  void greet(Connection& connection, Deadline deadline) const;
  static bool over(const Search& search);
  void collect();
  void follow(std::shared_ptr<const Layout> fresh);
  void take(Found found);
  void drop(Nodes::iterator node);
  static std::optional<Reply> next(Connection& connection);

  std::shared_ptr<Servers> servers;
  std::vector<Command> greeting;
  Fd wake;
  std::shared_ptr<const Layout> layout = {};
  Nodes nodes = {};
  Backoff backoff = {};
  std::string reason = {};  ///< Of the last search that found nothing.
  bool refused = false;
  std::size_t turn = 0;
  std::uint64_t connections = 0;
  std::vector<Search> searches = {};  ///< Last: they use the others.
};

std::optional<Address> Listener::Impl::address_of(int slot) const {
  if (!layout) return {};
  if (slot == Wire::any_slot && !nodes.empty()) return nodes.begin()->first;
  const Address* const master = layout->master_of(slot, turn);
  return master == nullptr ? std::nullopt : std::optional{*master};
}

Listener::Impl::Nodes::iterator Listener::Impl::node_of(int slot) {
  const auto address = address_of(slot);
  return address ? nodes.find(*address) : nodes.end();
}

/// Looks for the servers that are missing, as long as `exec` says. What is found later is there next time.
void Listener::Impl::connect(const std::vector<int>& slots, Deadline deadline) {
  refused = false;
  const auto limit = [&, begun = Clock::now()] {
    return nodes.empty() ? deadline : std::min(deadline, begun + patience);
  };
  follow(servers->known());
  collect();
  while (true) {
    search(slots, deadline);
    if (searches.empty()) {
      if (!nodes.empty()) return;
      std::this_thread::sleep_until(std::min(backoff.ready_at(), deadline));
    }
    for (const Search& each : searches) each.found.wait_until(limit());
    collect();
    if (refused || Clock::now() >= limit()) return;
  }
}

void Listener::Impl::search(const std::vector<int>& slots, Deadline deadline) {
  for (const int slot : slots) {
    const auto address = address_of(slot);
    if (address && nodes.contains(*address)) continue;
    const auto same = [&](const Search& each) { return each.address == address; };
    if (std::any_of(searches.begin(), searches.end(), same) || !backoff.ready()) continue;
    searches.push_back({address, std::async(std::launch::async, [this, slot, at = turn, deadline] {
                          return find(slot, at, deadline);
                        })});
  }
}

/// On a thread of its own: uses only what doesn't change.
Listener::Impl::Found Listener::Impl::find(int slot, std::size_t at, Deadline deadline) const {
  Found found;
  found.reason = "the deadline has passed";
  try {
    found.layout = servers->layout(deadline);
    const Address* const address = found.layout->master_of(slot, at);
    if (address == nullptr) throw Failure{fmt::format("no server has the slot {}", slot)};
    found.reason = shown(*address);
    auto connection = servers->connect(*address, deadline);
    greet(*connection, deadline);
    found.connection = std::move(connection);
  } catch (const Refused& failure) {
    found.reason = failure.what();
    found.refused = true;
  } catch (const std::exception& failure) {
    found.reason = fmt::format("{}: {}", found.reason, failure.what());
    if (found.layout) servers->doubt(found.layout);
  }
  return found;
}

void Listener::Impl::greet(Connection& connection, Deadline deadline) const {
  if (greeting.empty()) return;
  Pipeline pipeline{connection};
  for (const Command& command : greeting) pipeline.add(command);
  run({&pipeline, 1}, std::min(deadline, Clock::now() + servers->options().connect_timeout));
  if (pipeline.broken()) throw Failure{pipeline.reason()};
  for (std::size_t i = 0; i < greeting.size(); ++i) {
    if (pipeline.reply(i).kind == Reply::Kind::error) throw Failure{pipeline.reply(i).text};
  }
}

bool Listener::Impl::over(const Search& search) {
  return search.found.wait_for(0s) == std::future_status::ready;
}

void Listener::Impl::collect() {
  std::vector<Search> ready;
  for (auto each = searches.begin(); each != searches.end();) {
    const bool ended = over(*each);
    if (ended) ready.push_back(std::move(*each));
    each = ended ? searches.erase(each) : each + 1;
  }
  for (Search& each : ready) take(each.found.get());
}

void Listener::Impl::follow(std::shared_ptr<const Layout> fresh) {
  if (!fresh || fresh == layout) return;
  layout = std::move(fresh);
  std::erase_if(nodes, [&](const auto& node) {
    return std::find(layout->masters.begin(), layout->masters.end(), node.first) == layout->masters.end();
  });
}

void Listener::Impl::take(Found found) {
  follow(std::move(found.layout));
  if (found.connection) {
    const Address address = found.connection->address();
    nodes.insert_or_assign(address, Node{std::move(found.connection), ++connections});
    backoff.reset();
    return;
  }
  reason = std::move(found.reason);
  refused = refused || found.refused;
  backoff.failed();
  ++turn;
}

void Listener::Impl::drop(Nodes::iterator node) {
  nodes.erase(node);
  servers->doubt(layout);
  ++turn;
}

/// What has come; none: nothing yet. Throws Failure when the connection is lost.
std::optional<Reply> Listener::Impl::next(Connection& connection) {
  auto& pushes = connection.pushes();
  while (pushes.empty()) {
    if (auto message = connection.parser().next()) {
      if (!message->push) throw Failure{"an answer to nothing"};
      pushes.push_back(std::move(message->reply));
      break;
    }
    const std::size_t count = connection.socket().read(connection.parser().room());
    if (count == 0) return {};
    connection.parser().filled(count);
  }
  Reply first = std::move(pushes.front());
  pushes.pop_front();
  return first;
}

Listener::Listener(Client& client, std::vector<Command> greeting)
    : impl_(std::make_unique<Impl>(client.servers_, std::move(greeting))) {}

Listener::~Listener() = default;

std::vector<Reply> Listener::exec(std::span<const Command> commands, Deadline deadline) {
  std::vector<int> slots;
  for (const Command& command : commands) slots.push_back(Wire::slot(command));
  impl_->connect(slots, deadline);

  struct Part {
    Impl::Nodes::iterator node;
    std::vector<std::size_t> commands = {};
  };
  std::vector<Reply> replies(commands.size());
  std::map<Address, Part> parts;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const auto node = impl_->node_of(slots[i]);
    if (node == impl_->nodes.end()) {
      replies[i] = {.kind = impl_->refused ? Reply::Kind::error : Reply::Kind::unsent, .text = impl_->reason};
      continue;
    }
    parts.try_emplace(node->first, Part{node}).first->second.commands.push_back(i);
  }
  std::vector<Pipeline> pipelines;
  pipelines.reserve(parts.size());
  for (const auto& [address, part] : parts) {
    Pipeline& pipeline = pipelines.emplace_back(*part.node->second.connection);
    for (const std::size_t i : part.commands) pipeline.add(commands[i]);
  }
  run(pipelines, deadline);
  std::size_t at = 0;
  for (const auto& [address, part] : parts) {
    Pipeline& pipeline = pipelines[at++];
    bool wrong = pipeline.broken();
    for (std::size_t n = 0; n < part.commands.size(); ++n) {
      Reply& reply = replies[part.commands[n]];
      reply = pipeline.answered(n) ? std::move(pipeline.reply(n))
                                   : Reply{.kind = pipeline.sent(n) ? Reply::Kind::lost : Reply::Kind::unsent,
                                           .text = pipeline.reason()};
      wrong = wrong || wrong_server(reply);
    }
    if (!wrong) continue;
    impl_->backoff.failed();
    impl_->drop(part.node);
  }
  return replies;
}

std::optional<Reply> Listener::receive(Deadline deadline) {
  while (true) {
    std::vector<pollfd> entries{pollfd{.fd = impl_->wake.get(), .events = POLLIN, .revents = 0}};
    for (auto node = impl_->nodes.begin(); node != impl_->nodes.end(); ++node) {
      Connection& connection = *node->second.connection;
      try {
        if (auto message = Impl::next(connection)) return message;
      } catch (const Failure&) {
        impl_->drop(node);
        return {};
      }
      entries.push_back(
          {.fd = connection.socket().fd(), .events = connection.socket().events(false), .revents = 0});
    }
    const auto limit = impl_->searches.empty() ? deadline : std::min(deadline, Clock::now() + search_look);
    ::poll(entries.data(), entries.size(), milliseconds_until(limit));
    std::uint64_t times = 0;
    if (::read(impl_->wake.get(), &times, sizeof times) > 0) return {};
    if (std::any_of(impl_->searches.begin(), impl_->searches.end(), Impl::over)) return {};
    const auto quiet = [](const pollfd& entry) { return entry.revents == 0; };
    if (std::all_of(entries.begin(), entries.end(), quiet) && Clock::now() >= deadline) return {};
  }
}

void Listener::interrupt() noexcept {
  const std::uint64_t once = 1;
  (void)!::write(impl_->wake.get(), &once, sizeof once);
}

std::uint64_t Listener::generation(std::string_view key) const noexcept {
  const auto node = impl_->node_of(slot_of(key));
  return node == impl_->nodes.end() ? 0 : node->second.generation;
}

}  // namespace tidemill::redis
