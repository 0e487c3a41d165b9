#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/redis/command.hpp"
#include "drivers/redis/options.hpp"
#include "drivers/redis/reply.hpp"

/// Redis over RESP3, or RESP2 where a server has no other: pipelines, one server or those that Sentinel or a
/// cluster name, and messages that the server sends by itself. Knows nothing of tasks.
namespace tidemill::redis {

using Deadline = std::chrono::steady_clock::time_point;

class Call;
class Servers;

/// A pool of connections to the servers of one URL.
///
/// Connections are made when needed, kept while they work, and made anew with back-off after trouble. A
/// failover is followed: a server that has become a replica, or that is loading or gone, is asked for again
/// from Sentinel, from the cluster, or by its name; MOVED and ASK are obeyed.
///
/// Thread safety: all members may be called from any thread; each call has a connection of its own.
class Client {
 public:
  /// Connects to nothing yet. Throws Failure when a file of TLS can't be read.
  explicit Client(Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends all commands, those for one server as one pipeline, all servers at once, and answers each, in
  /// order. A server carries them out in that order, but for those that are sent again.
  ///
  /// A server that refuses the login (WRONGPASS, NOAUTH, NOPERM and the like) has refused each command.
  /// Never throws for trouble with a server: what could not be sent by the deadline is `unsent`, what was
  /// sent and not answered is `lost`, unless it is repeatable: then it is sent again until the deadline.
  /// Refusals that end by themselves (LOADING, READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, and NOREPLICAS)
  /// are tried again until the deadline too, then they are the answer. With `Options::replicas`, a write that
  /// too few replicas have by the deadline is `lost`; so is one that is to be `replicated` and that no
  /// replica has, unless the server has been without one for some seconds and is the master still.
  std::vector<Reply> exec(std::span<const Command> commands, Deadline deadline);
  std::vector<Reply> exec(std::span<const Command> commands);  ///< With `Options::timeout`.
  Reply exec(const Command& command);

  /// Sends the command to each master of the cluster, or to the one server: for commands without a key.
  std::vector<Reply> exec_everywhere(const Command& command, Deadline deadline);

  const Options& options() const noexcept;

 private:
  friend class Listener;
  friend class Sending;
  std::shared_ptr<Servers> servers_;
};

/// A call as `Client::exec` makes it, whose commands travel while later ones are still being made: to the
/// server of the first at once, to others with `finish`.
///
/// Thread safety: none; one thread at a time.
class Sending {
 public:
  Sending(Client& client, Deadline deadline);
  ~Sending();
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;

  /// The command must outlive this. Never waits for the server, but for the first connection to it.
  void add(const Command& command);
  /// Sends what is left, and answers all, in order, as `Client::exec` says. Once.
  std::vector<Reply> finish();

 private:
  std::unique_ptr<Call> call_;
};

/// Connections to the servers of some keys, for what these send by themselves: invalidations of keys that
/// were read on them (`CLIENT TRACKING`), and messages of channels. Speaks RESP3.
///
/// A key's server is followed as `Client` does it. Where there are several, those that answer are heard while
/// another is looked for.
///
/// Thread safety: one thread at a time, but `interrupt` from any.
class Listener {
 public:
  /// Connects to nothing yet. Each connection begins with the greeting; one on which a server refuses it is
  /// none.
  explicit Listener(Client& client, std::vector<Command> greeting = {});
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Sends each on the listener's own connection to the server of its key, and connects where there is none:
  /// until the deadline, or for a moment where there is one to another server. After a lost connection all
  /// that was tracked or subscribed on it is gone, and `generation` has changed.
  std::vector<Reply> exec(std::span<const Command> commands, Deadline deadline);
  /// The next message, a list, as `["invalidate", ["key", …]]` or `["message", channel, text]`; none at the
  /// deadline, after `interrupt`, when a connection is lost, or when one that was looked for is there.
  std::optional<Reply> receive(Deadline deadline);
  /// Ends a `receive` that waits, or the next one.
  void interrupt() noexcept;
  /// Of the connection to the key's server, as far as is known: new with every connection; zero: there is
  /// none.
  std::uint64_t generation(std::string_view key) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::redis
