#pragma once

#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "drivers/redis/command.hpp"
#include "drivers/redis/failure.hpp"
#include "drivers/redis/options.hpp"
#include "drivers/redis/parser.hpp"
#include "drivers/redis/reply.hpp"
#include "drivers/redis/socket.hpp"
#include "drivers/redis/wire.hpp"

namespace tidemill::redis {

/// How to get in.
struct Login {
  std::string user = {}, password = {};
  int database = 0;
  bool master = false;  ///< The server must be a master.
  bool resp3 = false;   ///< No older protocol will do.
};

/// A connection to one server, logged in.
///
/// Thread safety: none; one thread at a time.
class Connection {
 public:
  /// Throws Refused, or Failure for what may be better next time.
  Connection(Address address, const Login& login, const TlsContext* tls, Deadline deadline);

  const Address& address() const noexcept { return address_; }
  Socket& socket() noexcept { return socket_; }
  Parser& parser() noexcept { return parser_; }
  /// What the server has sent by itself.
  std::deque<Reply>& pushes() noexcept { return pushes_; }

  /// Nothing has come since the last answer, and the server has not closed.
  bool idle() const noexcept;

  /// Whether the server has got the script's text on this connection. From now on it has.
  bool introduce(const Script* script);
  void forget_scripts() noexcept { scripts_.clear(); }

  /// Whether the next answer may come so soon that a thread should stay awake for it; then `stayed_awake`
  /// says whether it has. After answers that came too late, fewer and fewer are tried.
  bool may_answer_soon() noexcept;
  void stayed_awake(bool in_time) noexcept;

 private:
  void log_in(const Login& login, Deadline deadline);
  bool greet(const Login& login, Deadline deadline);

  Address address_;
  Socket socket_;
  Parser parser_;
  std::deque<Reply> pushes_;
  std::vector<const Script*> scripts_;
  int passed_over_ = 0;   ///< How many answers are slept for before the next try.
  int left_to_pass_ = 0;  ///< Of them.
};

/// Some commands on their way over one connection, and what has come back. The connection may be used again
/// only if all has been answered.
///
/// Thread safety: none; one thread at a time.
class Pipeline {
 public:
  /// The connection must outlive this.
  explicit Pipeline(Connection& connection) : connection_(&connection) {}

  /// The command must outlive this.
  void add(const Command& command);
  std::size_t size() const noexcept { return requests_.size(); }

  /// Writes what is possible now.
  void start() noexcept;
  /// Writes and reads what is possible now.
  void progress() noexcept;
  bool broken() const noexcept { return broken_; }
  bool complete() const noexcept { return answered_ == requests_.size(); }
  bool over() const noexcept { return broken_ || complete(); }
  bool writes() const noexcept { return !output_.done(); }
  Connection& connection() const noexcept { return *connection_; }
  const Socket& socket() const noexcept { return connection_->socket(); }

  /// Ends it as it is.
  void give_up(std::string reason);
  /// Why it is broken.
  const std::string& reason() const noexcept { return reason_; }
  bool answered(std::size_t request) const noexcept { return request < answered_; }
  /// Whether it has left this process as a whole.
  bool sent(std::size_t request) const noexcept { return requests_[request].end <= output_.written(); }
  bool with_text(std::size_t request) const noexcept { return requests_[request].text; }
  Reply& reply(std::size_t request) noexcept { return requests_[request].reply; }

 private:
  struct Request {
    std::size_t end;      ///< Its last byte in the output.
    std::size_t missing;  ///< Messages that still come.
    bool subscribes;      ///< Its answers are messages that the server sends by itself.
    bool text;            ///< It is a script with its text.
    Reply reply = {};
  };

  void write();
  void read();
  void take(Parser::Message message);

  Connection* connection_;
  Output output_;
  std::vector<Request> requests_;
  std::size_t answered_ = 0;
  bool broken_ = false;
  std::string reason_;
};

/// Until all are over, or the deadline: then the others are broken.
void run(std::span<Pipeline> pipelines, Deadline deadline);

/// One round trip. Throws Failure when there is no answer.
Reply ask(Connection& connection, const Command& command, Deadline deadline);

}  // namespace tidemill::redis
